"""Training on fairseq2: recipe, trainer units, validation, checkpoints, curves."""
