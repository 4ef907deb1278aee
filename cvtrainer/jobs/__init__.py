"""What each verb of the command line does, one file each; the Python API calls the same."""
