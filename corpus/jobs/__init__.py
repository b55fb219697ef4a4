"""Jobs over shards: receipts, locks, prices and where shards are worked on."""
