"""A small world of pictures, generated."""
