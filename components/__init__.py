"""Steps of the Kubeflow pipeline: one folder each."""
