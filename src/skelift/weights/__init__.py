"""The weights that ship with the package; ``person/README.md`` is their model card."""

from pathlib import Path

SHIPPED = Path(__file__).parent / "person"
