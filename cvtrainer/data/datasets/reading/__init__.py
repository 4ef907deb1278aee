"""How the files of each storage are read into columns; the storages themselves are one level up."""
