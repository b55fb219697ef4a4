"""`tongues new-language`: a recipe becomes a model that speaks a language more, and a page."""
