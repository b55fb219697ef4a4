"""From a line to its label: preparation, n-grams, weights, familiarity, compiled and in NumPy."""
