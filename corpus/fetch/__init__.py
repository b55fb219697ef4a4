"""Public data sets and models: catalog, download, unpacking."""
