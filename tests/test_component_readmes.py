"""The components' README files follow from their code."""

from pathlib import Path

import pytest

from scripts.component_readmes import COMPONENTS, readmes

READMES = readmes()


def test_every_component_has_one() -> None:
    folders = {file.parent for file in COMPONENTS.glob("*/component.py")}
    assert {path.parent for path in READMES} == {*folders, COMPONENTS}
    overview = READMES[COMPONENTS / "README.md"]
    assert all(f"({folder.name}/README.md)" in overview for folder in folders)


@pytest.mark.parametrize("path", READMES, ids=lambda path: path.parent.name)
def test_committed_one_is_fresh(path: Path) -> None:
    assert path.read_text() == READMES[path], "stale; run `make manifests`"


def test_type_default_and_image_are_named() -> None:
    text = READMES[COMPONENTS / "train" / "README.md"]
    assert "| `data` | Dataset | required | Folder of the data set. |" in text
    assert "| `checkpoints` | String | `''` | s3://... or a mounted folder" in text
    assert "| `model` | Model | Folder of the model. |" in text
    assert "Image: `gpu`. Cached. Retried 3 times." in text
