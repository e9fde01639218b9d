"""Loaders of public data sets: each knows one layout on disk and yields shots of its recordings."""
