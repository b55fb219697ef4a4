"""`mining run`: crawl shards to filtered bitext of all wanted language pairs, as one job."""
