"""Scores of many systems and directions: tables, averages, significance, what is kept on disk."""
