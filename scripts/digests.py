"""Digests that a change of structure leaves alone: ``python scripts/digests.py DATA FLOW``.

Trains 100 steps of ``experiment=quickstart`` on a finished data set and flow, and predicts the
sample image with the weights that ship. Run it before and after; the lines are equal, on one
machine with the same number of threads, when not a bit has changed. Names are left out, so tensors
and keys may be renamed.
"""

import hashlib
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file

# Steps of the heads, which 100 steps of the core need no 1500 of.
OVERRIDES = ("heads.front_back.steps=100", "heads.refiner.steps=100")


def train_digest(data: str, flow: str, folder: Path, overrides: list[str]) -> str:
    """Digest of all weights, and of the losses on the way."""
    paths = {"data": data, "flow": flow, "model": folder / "model", "checkpoints": folder / "last"}
    _skelift(
        "train",
        "experiment=quickstart",
        "train.steps=100",
        *(f"paths.{name}={path}" for name, path in paths.items()),
        *(overrides or OVERRIDES),
    )
    tensors = load_file(folder / "model" / "model.safetensors").values()
    weights = sorted(_digest(tensor) for tensor in tensors)
    rows = [json.loads(line) for line in (folder / "model" / "stats.jsonl").open()]
    losses = [sorted(v for k, v in row.items() if k.startswith("loss/")) for row in rows]
    return hashlib.sha256(json.dumps([weights, losses]).encode()).hexdigest()


def predict_digest(folder: Path) -> str:
    """Digest of the sample image's pose, by the weights that ship."""
    image, out = folder / "sample.png", folder / "pose.npz"
    subprocess.run(
        [sys.executable, "-m", "skelift.synth.sample", str(image)],
        check=True,
        stdout=subprocess.DEVNULL,
    )
    _skelift("predict", str(image), "--out", str(out))
    with np.load(out) as poses:
        names = ("joints_3d_mm", "joints_2d_px", "joints_2d", "joints_2d_spread_px", "spread")
        numbers = [_digest(poses[name]) for name in names if name in poses]
    return hashlib.sha256(json.dumps(sorted(numbers)).encode()).hexdigest()


def _digest(array: np.ndarray) -> str:
    return hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest()


def _skelift(*arguments: str) -> None:
    code = "import sys; from skelift.cli import main; sys.exit(main(sys.argv[1:]))"
    subprocess.run([sys.executable, "-c", code, *arguments], check=True, stdout=subprocess.DEVNULL)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as name:
        data, flow, *overrides = sys.argv[1:]
        print("train  ", train_digest(data, flow, Path(name), overrides))
        print("predict", predict_digest(Path(name)))
