"""From a trained model to the file a device runs: planned before, proven after.

Everything here is given modules and tensors; who builds them from a config is the jobs' business.
"""
