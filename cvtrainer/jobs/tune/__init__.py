"""Finding settings: learning rate, batch size, any values of a config."""
