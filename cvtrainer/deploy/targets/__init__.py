"""One file per target: what it can do, how a program becomes its file."""
