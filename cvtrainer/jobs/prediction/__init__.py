"""What prediction is made of: inputs, preparing them, answers, and how these are written."""
