"""What every stage shares: languages, records, shards, text, jobs, configuration, console."""
