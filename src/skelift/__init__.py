"""3D pose from one image, learned from unlabelled images and unpaired 2D poses."""

__version__ = "0.1.0"
