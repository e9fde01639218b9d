"""Predicted poses as a rerun recording: what goes in is in it."""

import json
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import cv2
import numpy as np
import pytest
from tiny import load_skeleton, random_pose

from skelift.errors import InputError
from skelift.inference.viewer import view

SKELETON = load_skeleton("h36m17")
JOINTS = np.stack([random_pose(SKELETON, np.random.default_rng(n)) for n in range(5)])


@pytest.fixture
def poses(tmp_path: Path) -> Path:
    """Poses of two images, and of a video that is gone."""
    for name in "ab":
        cv2.imwrite(str(tmp_path / f"{name}.png"), np.zeros((40, 30, 3), np.uint8))
    places = [{"image": str(tmp_path / f"{name}.png")} for name in "ab"]
    places += [{"image": str(tmp_path / "v.mp4"), "frame": n, "time_s": n / 10} for n in range(3)]
    entries = [
        {**place, "joints_3d_mm": joints.tolist(), "joints_2d_px": joints[:, :2].tolist()}
        for place, joints in zip(places, JOINTS, strict=True)
    ]
    file = tmp_path / "poses.json"
    file.write_text(json.dumps({"skeleton": SKELETON.to_mapping(), "predictions": entries}))
    return file


def test_recording_holds_every_pose_and_names_what_is_gone(
    poses: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("rerun", reason="pip install 'skelift[view]'")
    out = tmp_path / "poses.rrd"
    assert view(poses, out) == str(out)
    assert out.read_bytes()[:3] == b"RRF"
    assert "v.mp4: not found" in capsys.readouterr().err
    rows = rows_of(out)
    for track, count in {tmp_path.name: 2, "v": 3}.items():
        for entity in ("body/bones", "body/joints", "image/bones", "image/joints"):
            assert rows[f"/{track}/{entity}"] == count
    assert rows[f"/{tmp_path.name}/image"] == 2
    assert rows["/v/image"] == 0


def rows_of(recording: Path) -> Counter[str]:
    """How often each entity was logged, as rerun's own reader sees it."""
    command = [sys.executable, "-m", "rerun_cli", "rrd", "print", "-v", str(recording)]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    rows: Counter[str] = Counter()
    for count, entity in re.findall(r"with (\d+) rows \(.*?\) - (\S+) - ", printed):
        rows[entity] += int(count)
    return rows


def test_no_display_names_the_way_out(poses: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("rerun", reason="pip install 'skelift[view]'")
    monkeypatch.setattr("sys.platform", "linux")
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(InputError, match=r"--save FILE\.rrd"):
        view(poses)


def test_other_files_are_refused(poses: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"end the name in \.rrd"):
        view(poses, tmp_path / "poses.txt")
    with pytest.raises(InputError, match="skelift predict"):
        view(tmp_path / "nothing.json", tmp_path / "poses.rrd")
