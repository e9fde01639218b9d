"""3D pose from one image, learned from unlabelled images and unpaired 2D poses."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from skelift.inference.predictor import Predictor
    from skelift.models.io import load_model

__version__ = "0.1.0"
__all__ = ["Predictor", "__version__", "load_model"]

_LAZY = {"Predictor": "skelift.inference.predictor", "load_model": "skelift.models.io"}


def __getattr__(name: str) -> Any:
    """Import what is public on first use: ``import skelift`` alone loads no PyTorch."""
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_LAZY[name]), name)
