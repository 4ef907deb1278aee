"""What the loop stands on: the step plan, the clock, state, checkpoints and the hook table.

Each file holds one of these ideas; none of them knows a training technique by name, and none of
them imports a hook. Techniques arrive as objects from the layer above.
"""
