"""Human judgments (XSTS): calibration, agreement, correlation with metrics."""
