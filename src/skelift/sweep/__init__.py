"""Hyperparameter search: one space, searched here by Optuna, or as trials on a cluster."""
