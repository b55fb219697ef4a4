"""Translation over HTTP: a queue that batches across requests, limits, a page to try it."""
