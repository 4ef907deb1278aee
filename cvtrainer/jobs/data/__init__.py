"""What `cvtrainer data` does: look at data, draw it, find its defects, divide it."""
