"""Pure functions of tensors: no state, torch alone; for losses, meters and exported graphs."""
