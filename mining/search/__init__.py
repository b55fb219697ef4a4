"""Nearest neighbors and margins: from embeddings to scored pairs."""
