"""Scores of translations: spBLEU, chrF++, baselines, buckets, reports."""
