"""The steps of ``dvc.yaml`` and of the pipeline; each reads files and writes files."""
