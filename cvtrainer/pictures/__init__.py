"""Pictures as arrays, by numpy alone: what an input spec asks for, wherever torch is not.

The training pipeline does the same with faster libraries; tests hold the two together.
"""
