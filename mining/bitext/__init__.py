"""Scored pairs: filtering, scoring, measuring, reporting."""
