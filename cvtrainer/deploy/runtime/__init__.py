"""Running artefacts without torch: arrays in, arrays out."""
