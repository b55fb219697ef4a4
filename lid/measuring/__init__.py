"""Scores of an identifier on labeled lines, and the page that shows them."""
