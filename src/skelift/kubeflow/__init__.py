"""Stages as steps of Kubeflow Pipelines."""
