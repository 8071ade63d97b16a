"""One file a format: a dataset in, files out, the same bytes for the same dataset."""
