"""From bitext files to batches: tokenizing, token files, sampling, shuffling, curriculum phases."""
