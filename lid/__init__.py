"""Language identification: train, calibrate, identify and measure with fastText."""
