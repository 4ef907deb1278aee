"""Running artefacts whose own runtimes are given tensors: these need torch."""
