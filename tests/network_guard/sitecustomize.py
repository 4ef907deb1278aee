"""Python runs this at start-up in every child of the test suite; see guard.py."""

from guard import install

install()
