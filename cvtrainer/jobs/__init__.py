"""What each verb does, one file a verb; also what the Python API calls."""
