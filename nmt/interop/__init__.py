"""Import from and export to the layout of transformers, and export to CTranslate2."""
