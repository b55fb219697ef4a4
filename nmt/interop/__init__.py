"""Checkpoints of others: from and to transformers' layout, on to CTranslate2."""
