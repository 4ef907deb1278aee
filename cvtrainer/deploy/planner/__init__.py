"""What a network needs on a device, from its exported graph alone: memory, weights, operations."""
