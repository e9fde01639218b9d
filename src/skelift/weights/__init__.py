"""The weights that ship with the package; the README.md beside each says where it comes from."""

from pathlib import Path

SHIPPED = Path(__file__).parent / "person"
SEGMENTER = Path(__file__).parent / "segmenter" / "selfie_segmentation.tflite"
