"""What the outputs of a network mean, from plain arrays: decoded, and told as plain values.

Numpy alone, so that an artefact is read where torch is not installed. The tasks describe through
this room; they decode in torch, as a part of exported graphs, and tests hold both to one result.
"""
