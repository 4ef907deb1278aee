"""Tests of cvtrainer; folders mirror the package."""
