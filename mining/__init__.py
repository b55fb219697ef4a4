"""From crawl shards to filtered bitext: sentences, embeddings, margin mining, filters."""
