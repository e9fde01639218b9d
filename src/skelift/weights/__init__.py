"""The weights that ship with the package; the README.md beside each says where it comes from."""

from os import PathLike
from pathlib import Path

_HERE = Path(__file__).parent
SHIPPED = _HERE / "person"
SEGMENTER = _HERE / "segmenter" / "selfie_segmentation.tflite"
SHIPPED_NAME = "shipped"  # in place of a model's folder; so are shipped/person and shipped/mouse
BODIES = ("person", "mouse")  # likewise, where no folder has that name


def model_folder(name: str | PathLike[str]) -> Path:
    """The folder of a model: the package's for ``SHIPPED_NAME`` and ``BODIES``, else that path.

    A folder ``mouse`` where the command runs comes before the weights of that name.
    """
    if name == SHIPPED_NAME:
        return SHIPPED
    path = Path(name)
    if str(path.parent) == SHIPPED_NAME and path.name in BODIES:
        return _HERE / path.name
    return _HERE / path if str(name) in BODIES and not path.exists() else path
