"""Scoring: spBLEU, chrF++ and what surrounds them. Import modules by name, never `eval` bare."""
