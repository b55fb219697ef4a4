"""Readers of crawl shards: WARC and WET records, documents, text of HTML pages."""
