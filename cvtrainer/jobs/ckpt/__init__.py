"""Jobs on checkpoint files: show, compare, average and strip them; nothing is trained."""
