"""What training an identifier needs besides fastText: data, noise, thresholds, its report."""
