"""Parameters, operations and memory of a model, from its config alone."""
