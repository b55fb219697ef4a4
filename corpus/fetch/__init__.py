"""Public data sets and models: what there is, downloading, unpacking."""
