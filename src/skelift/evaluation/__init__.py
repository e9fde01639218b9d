"""Metrics, scores and the models that a score is measured against."""
