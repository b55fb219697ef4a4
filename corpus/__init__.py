"""Code shared by all stages: languages, records, shards, text, jobs, configuration, console."""
