"""The HTML pages of scores and of a whole run."""
