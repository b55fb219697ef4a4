"""Crawl shards to sentences per language."""
