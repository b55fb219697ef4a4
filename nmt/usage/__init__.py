"""Which experts the languages use: measured, compared, shown, and used to leave experts out."""
