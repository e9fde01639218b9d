"""Pipelines made of the components."""
