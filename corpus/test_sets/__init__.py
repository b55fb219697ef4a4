"""Public test sets of machine translation in their published layouts."""
