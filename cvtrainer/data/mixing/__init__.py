"""Mixing the samples of a batch with each other."""
