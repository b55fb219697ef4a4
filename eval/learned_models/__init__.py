"""Learned metrics: the models that others published, for inference."""
