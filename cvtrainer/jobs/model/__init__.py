"""Looking at models without training them."""
