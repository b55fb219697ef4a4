"""`mining pair`: two text files to calibrated bitext, in one command."""
