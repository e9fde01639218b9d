"""Data sets: the on-disk format, its writers and its readers."""
