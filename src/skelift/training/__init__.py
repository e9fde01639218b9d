"""Training: objectives, the loop around them, and its state on disk."""
