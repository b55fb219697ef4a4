"""Pages of a crawl's columnar index: which records to read instead of all shards."""
