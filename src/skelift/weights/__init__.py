"""The weights that ship with the package; the README.md beside each says where it comes from."""

from pathlib import Path

SHIPPED = Path(__file__).parent / "person"
SEGMENTER = Path(__file__).parent / "segmenter" / "selfie_segmentation.tflite"
SHIPPED_NAME = "shipped"  # in place of a model's folder


def model_folder(name: str) -> Path:
    """The folder of a model: the package's for ``shipped``, else the one of that path."""
    return SHIPPED if name == SHIPPED_NAME else Path(name)
