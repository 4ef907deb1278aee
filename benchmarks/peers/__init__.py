"""The same near-empty step in other frameworks, each in an environment of its own."""
