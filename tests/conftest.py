"""Shared test settings and fixtures."""

import os

import pytest
import torch
from s3_server import s3, s3_server

__all__ = ["s3", "s3_server"]

torch.set_num_threads(1)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Tests marked ``gpu`` run wherever there is one, and in Triton's interpreter."""
    if torch.cuda.is_available() or "TRITON_INTERPRET" in os.environ:
        return
    of_gpu = [item for item in items if item.get_closest_marker("gpu")]
    items[:] = [item for item in items if item not in of_gpu]
    config.hook.pytest_deselected(items=of_gpu)
