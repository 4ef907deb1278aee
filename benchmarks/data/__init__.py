"""How fast batches are made, and what it costs in memory."""
