"""Shared test settings and fixtures."""

import torch
from s3_server import s3, s3_server

__all__ = ["s3", "s3_server"]

torch.set_num_threads(1)
