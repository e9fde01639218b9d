"""Data sets and models in a bucket of an S3 server."""
