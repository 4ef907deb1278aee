"""Artefacts against the clock: each in a process of its own, in turns, without torch."""
