"""The hot path of a worker, one noun a file."""
