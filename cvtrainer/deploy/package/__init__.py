"""A model in one file, `model.cvt`: written from proven artefacts, read and run without torch."""
