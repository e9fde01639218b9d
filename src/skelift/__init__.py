"""3D pose from one picture, learned from unlabelled pictures and unpaired 2D poses."""

__version__ = "0.1.0"
