"""The weights that ship with the package; ``person/README.md`` is their model card."""

from pathlib import Path

SHIPPED = Path(__file__).parent / "person"
SHIPPED_NAME = "shipped"  # in place of a model's folder


def model_folder(name: str) -> Path:
    """The folder of a model: the package's for ``shipped``, else the one of that path."""
    return SHIPPED if name == SHIPPED_NAME else Path(name)
