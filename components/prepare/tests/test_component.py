from pathlib import Path

import pytest

from components.configure.component import configure
from components.conftest import TinyRun
from components.prepare.component import prepare
from components.testing import refusal, run_component
from skelift.data.format import Dataset

RENDERED = [
    "data.size=32",
    "model.disc_scales=1",
    "data.synth.train=12",
    "data.synth.test=4",
    "data.synth.prior=16",
    "data.synth.workers=1",
]


def test_renders_what_the_configuration_says(tmp_path: Path) -> None:
    config = run_component(
        configure, tmp_path / "config", experiment="quickstart", overrides=RENDERED
    )["config"]
    data = run_component(prepare, tmp_path / "data", config=config)["data"]
    assert Dataset(data.path).counts == {"train": 12, "test": 4, "prior": 16}
    assert data.metadata["synthetic"] is True


def test_takes_a_finished_data_set_as_it_is(tiny_run: TinyRun, tmp_path: Path) -> None:
    given = tiny_run.data.path
    data = run_component(prepare, tmp_path, config=tiny_run.config, data_uri=given)["data"]
    assert Dataset(data.path).checksums == Dataset(given).checksums
    assert data.metadata["name"] == "tiny"


@pytest.mark.slow
def test_prepares_images_and_poses(tmp_path: Path) -> None:
    import cv2
    import numpy as np
    from tiny import tiny_dataset

    made = Dataset(tiny_dataset(tmp_path / "made", size=32))
    source = tmp_path / "source"
    for row, image in enumerate(made.split("train").images[:12]):
        clip = source / "images" / f"clip{row % 4}"
        clip.mkdir(parents=True, exist_ok=True)
        enlarged = cv2.resize(image, (128, 128), interpolation=cv2.INTER_NEAREST)
        cv2.imwrite(str(clip / f"{row:03d}.png"), enlarged[..., ::-1])
    np.savez(source / "poses.npz", poses_2d=made.prior.poses_2d)
    config = run_component(
        configure,
        tmp_path / "config",
        experiment="quickstart",
        overrides=[
            "data=folder",
            "data.size=32",
            "model.disc_scales=1",
            "model.units=crop",
            "data.folder.images=images",
            "data.folder.poses=poses.npz",
            "data.folder.test_fraction=0.25",
            "data.folder.provenance=drawn",
            "data.folder.licence=Apache-2.0",
        ],
    )["config"]
    data = run_component(prepare, tmp_path / "data", config=config, data_uri=str(source))["data"]
    counts = Dataset(data.path).counts
    assert counts["train"] + counts["test"] == 12


def test_images_without_a_place_end_with_one_line(tmp_path: Path, tiny_run: TinyRun) -> None:
    message = refusal(prepare, tmp_path, config=tiny_run.config, data_uri=str(tmp_path))
    assert "no dataset.json" in message
