"""Processes: starting them, knowing one's place among them, wrapping, and exact reductions."""
