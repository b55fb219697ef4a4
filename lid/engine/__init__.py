"""How lines become labels: preparation, n-gram hashing, weights, the compiled pass and its twin."""
