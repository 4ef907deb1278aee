"""Trainings on real data sets, each with a config beside it and its splits as lists of names."""
