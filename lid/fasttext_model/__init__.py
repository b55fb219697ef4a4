"""The files of fastText: reading, checking and training them, and the bindings."""
