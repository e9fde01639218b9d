"""Build the two source files of ``data=benchmark`` and ``data=people``.

docs/datasets.md says where the inputs come from and how the results compare with the files that
the project's figures were made with::

    python scripts/build_sources.py bodies MAKEHUMAN_ASSETS/base   # needs torch, anny==0.6.2, numpy
    python scripts/build_sources.py motion BVH_FOLDER              # needs skelift

Both write to ``data/sources`` (``--out``) and print the checksum of what they wrote.
"""

import argparse
import hashlib
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

PERSONS, SAMPLED, SEED = 32, 40, 0  # 40 shapes are sampled, of which 32 are used
# What each person wears: suit, shoes, hair.
WARDROBE = """
    female_sportsuit01 shoes01 bob01
    female_sportsuit01 shoes06 ponytail01
    female_casualsuit02 shoes03 bob02
    male_casualsuit02 shoes05 short02
    male_casualsuit04 shoes03 long01
    male_casualsuit04 shoes04 ponytail01
    male_elegantsuit01 shoes06 braid01
    male_casualsuit06 shoes04 short01
    male_worksuit01 shoes01
    female_sportsuit01 shoes02 afro01
    female_sportsuit01 shoes04 ponytail01
    female_casualsuit01 shoes05 bob02
    female_elegantsuit01 shoes04 braid01
    female_elegantsuit01 shoes04
    female_sportsuit01 shoes02 bob02
    female_casualsuit02 shoes03 short02
    female_elegantsuit01 shoes02 short03
    female_elegantsuit01 shoes01 short01
    female_sportsuit01 shoes03 braid01
    female_sportsuit01 shoes03 bob01
    male_casualsuit06 shoes03 braid01
    female_casualsuit01 shoes02 short01
    female_elegantsuit01 shoes06 ponytail01
    male_casualsuit05 shoes03 braid01
    male_worksuit01 shoes02 afro01
    female_elegantsuit01 shoes02 short02
    female_sportsuit01 shoes06 bob02
    male_elegantsuit01 shoes04
    female_casualsuit01 shoes06 short01
    female_elegantsuit01 shoes06 braid01
    female_sportsuit01 shoes06 afro01
    male_casualsuit01 shoes01 short02
"""
SUIT, SHOES, HAIR = 1, 2, 3  # materials; 0 is skin
KEPT_BONES = 4  # per vertex

FPS_OUT = 12
# Clip:frames at 12 fps.
CLIPS = """
    01_01:276 02_01:35 02_02:30 02_03:18 02_04:49 02_06:224 02_07:226 02_08:150 02_09:104 03_02:37
    05_01:60 05_03:44 05_04:120 05_05:92 05_06:89 05_08:73 05_09:115 05_10:82 05_11:60 05_12:136
    05_13:110 05_14:65 05_15:54 05_16:53 05_18:183 05_19:86 05_20:110 06_01:50 06_02:73 06_03:53
    06_04:40 06_05:39 06_06:41 06_07:58 06_08:35 06_09:31 06_11:115 06_12:123 06_15:55 07_01:32
    07_02:33 07_03:42 07_04:45 07_05:52 07_06:42 07_07:38 07_09:31 07_10:31 08_01:28 08_03:36
    08_05:30 08_06:30 08_07:31 08_08:29 08_09:30 08_10:28 09_01:15 09_02:13 09_03:13 09_04:14
    09_05:15 09_07:14 09_08:13 09_09:16 09_10:14 09_11:17 09_12:192 10_01:81 10_03:37 10_04:55
    11_01:60 12_01:53 12_02:68 12_03:57 13_01:232 13_07:146 13_08:161 13_09:111 13_10:240 13_11:42
    13_13:44 13_14:243 13_15:239 13_16:228 13_18:300 13_19:43 13_26:303 13_30:247 13_31:302
    13_32:34 13_33:150 13_34:142 13_36:138 13_37:148 13_38:125 13_40:32 13_41:37 13_42:40 14_05:85
    14_07:222 14_08:263 14_12:276 14_17:250 14_21:122 14_22:122 14_23:133 14_27:216 14_30:258
    14_31:210 14_32:264 14_33:139 14_34:144 14_35:162 14_37:52
"""
JOINTS = [
    "hip",
    "abdomen",
    "chest",
    "neck",
    "head",
    "rCollar",
    "rShldr",
    "rForeArm",
    "rHand",
    "lCollar",
    "lShldr",
    "lForeArm",
    "lHand",
    "rButtock",
    "rThigh",
    "rShin",
    "rFoot",
    "lButtock",
    "lThigh",
    "lShin",
    "lFoot",
    "rFoot_end",
    "lFoot_end",
]


@dataclass(frozen=True)
class Garment:
    """One MakeHuman item (.mhclo and its .obj), bound to the vertices of MakeHuman's base mesh.

    Attributes:
        anchors: (V, 3) vertices of the base mesh that each vertex hangs on.
        weights: (V, 3) their weights.
        offsets: (V, 3) what is added, MakeHuman's axes (Y up, facing Z), to be scaled.
        scales: per axis x, y, z: two base vertices and the distance that stands for 1.
        hidden: base vertices under the item, which are removed.
        faces: (F, 3) triangles.
    """

    anchors: NDArray[np.int64]
    weights: NDArray[np.float64]
    offsets: NDArray[np.float64]
    scales: tuple[tuple[int, int, float], ...]
    hidden: NDArray[np.int64]
    faces: NDArray[np.int64]

    def fit(self, base: NDArray[np.float64]) -> NDArray[np.float64]:
        """(V, 3) vertices on a body with (19158, 3) base vertices in metres, Z up, facing -Y."""
        x, y, z = (
            abs(base[first, axis] - base[second, axis]) / distance
            for axis, (first, second, distance) in zip((0, 2, 1), self.scales, strict=True)
        )
        right, up, forward = (self.offsets * (x, y, z)).T
        hung = (self.weights[:, :, None] * base[self.anchors]).sum(axis=1)
        fitted: NDArray[np.float64] = hung + np.stack([right, -forward, up], axis=1)
        return fitted


def read_garment(path: Path) -> Garment:
    """Read an .mhclo file and the .obj file beside it."""
    text = path.read_text(encoding="utf-8")
    body, _, deleted = text.partition("delete_verts")
    rows = [line.split() for line in body.partition("verts 0")[2].splitlines() if line.strip()]
    # A line with a single number is a vertex that coincides with one of the base mesh.
    full = [row if len(row) == 9 else [*row[:1] * 3, "1", "0", "0", "0", "0", "0"] for row in rows]
    numbers = np.array(full, dtype=np.float64)
    scales = []
    for axis in "xyz":
        found = re.search(rf"^{axis}_scale (\d+) (\d+) (\S+)", text, re.MULTILINE)
        if found is None:
            sys.exit(f"{path}: has no {axis}_scale; take the files of makehuman-assets/base")
        scales.append((int(found[1]), int(found[2]), float(found[3])))
    ranges = re.findall(r"(\d+)(?:\s*-\s*(\d+))?", deleted)
    hidden = [np.arange(int(first), int(last or first) + 1) for first, last in ranges]
    return Garment(
        anchors=numbers[:, :3].astype(np.int64),
        weights=numbers[:, 3:6],
        offsets=numbers[:, 6:],
        scales=tuple(scales),
        hidden=np.concatenate([np.zeros(0, np.int64), *hidden]),
        faces=np.array(list(_triangles(path.with_suffix(".obj")))),
    )


def _triangles(path: Path) -> Iterator[tuple[int, int, int]]:
    for line in path.read_text(encoding="utf-8").splitlines():
        if line.startswith("f "):
            first, *rest = (int(word.split("/")[0]) - 1 for word in line.split()[1:])
            for second, third in pairwise(rest):
                yield first, second, third


def sample_phenotypes(labels: list[str]) -> NDArray[np.float32]:
    """(PERSONS, len(labels)) body shapes of adults."""
    rng = np.random.default_rng(SEED)
    shapes = {name: np.full(SAMPLED, 0.5) for name in labels}
    gender = rng.choice([0.0, 1.0], SAMPLED) + rng.normal(0, 0.05, SAMPLED)
    shapes["gender"] = gender.clip(0, 1)
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
        shapes[name] = rng.uniform(low, high, SAMPLED)
    return np.stack([shapes[name] for name in labels], axis=1)[:PERSONS].astype(np.float32)


def build_bodies(assets: Path) -> dict[str, NDArray[Any]]:
    """The arrays of people_clothed.npz."""
    import anny
    import torch

    model = anny.Anny(phenotypes="all", topology="anny-quads-full")
    shapes = sample_phenotypes(model.phenotype_labels)
    still = torch.eye(4, dtype=model.dtype).repeat(PERSONS, model.bone_count, 1, 1)
    given = {
        name: torch.tensor(shape).to(model.dtype)
        for name, shape in zip(model.phenotype_labels, shapes.T, strict=True)
    }
    with torch.no_grad():
        people = model(pose_parameters=still, phenotype_kwargs=given)
    base = people["rest_vertices"].numpy()
    skin = np.zeros((base.shape[1], model.bone_count))
    rows = np.arange(base.shape[1])[:, None]
    np.add.at(skin, (rows, model.vertex_bone_indices.numpy()), model.vertex_bone_weights.numpy())
    arrays: dict[str, NDArray[Any]] = {
        "bone_labels": np.array(model.bone_labels),
        "bone_parents": np.array([-1 if p is None else p for p in model.bone_parents], np.int16),
        "bone_heads_m": people["rest_bone_heads"].numpy().astype(np.float32),
        "phenotypes": shapes,
        "phenotype_labels": np.array(model.phenotype_labels),
    }
    wardrobe = [line.split() for line in WARDROBE.strip().splitlines()]
    for person, items in enumerate(wardrobe):
        paths = [_find(assets, item) for item in items]
        worn = [read_garment(path) for path in paths]
        dressed = dress(base[person], skin, model.faces.numpy(), worn)
        arrays |= {f"{name}_{person:02d}": array for name, array in dressed.items()}
        arrays[f"items_{person:02d}"] = np.array(items)
    return arrays


def _find(assets: Path, item: str) -> Path:
    for kind in ("clothes", "hair"):
        if (path := assets / kind / item / f"{item}.mhclo").exists():
            return path
    sys.exit(f"{assets}: has no {item}.mhclo; name the folder base of makehuman-assets")


def dress(
    base: NDArray[np.float64],
    skin: NDArray[np.float64],
    quads: NDArray[np.int64],
    garments: list[Garment],
) -> dict[str, NDArray[Any]]:
    """One person's mesh: the body where no garment hides it, then suit, shoes and hair.

    Args:
        base: (19158, 3) vertices of MakeHuman's base mesh, metres.
        skin: (19158, bones) skin weights.
        quads: (Q, 4) faces of the body.
        garments: suit, shoes and perhaps hair.
    """
    visible = np.ones(len(base), dtype=bool)
    for garment in garments:
        visible[garment.hidden] = False
    quads = quads[visible[quads].all(axis=1)]
    kept, renumbered = np.unique(quads, return_inverse=True)
    quads = renumbered.reshape(quads.shape)
    vertices, faces, weights = [base[kept]], [quads[:, :3], quads[:, [0, 2, 3]]], [skin[kept]]
    material = [np.zeros(len(kept), np.uint8)]
    for kind, garment in zip((SUIT, SHOES, HAIR), garments, strict=False):
        faces.append(garment.faces + sum(map(len, vertices)))
        vertices.append(garment.fit(base))
        weights.append((garment.weights[:, :, None] * skin[garment.anchors]).sum(axis=1))
        material.append(np.full(len(garment.anchors), kind, np.uint8))
    weight = np.concatenate(weights)
    strongest = np.argsort(-weight, axis=1)[:, :KEPT_BONES]
    strength = np.take_along_axis(weight, strongest, axis=1)
    return {
        "vertices_0p1mm": np.round(np.concatenate(vertices) * 1e4).astype(np.int16),
        "faces": np.concatenate(faces).astype(np.uint16),
        "material": np.concatenate(material),
        "skin_bone": strongest.astype(np.uint8),
        "skin_weight": np.round(255 * strength / strength.sum(axis=1, keepdims=True)).astype(
            np.uint8
        ),
    }


def build_motion(folder: Path, clips: dict[str, int]) -> dict[str, NDArray[Any]]:
    """The arrays of cmu_mocap_12fps.npz, from NN_NN.bvh files anywhere below a folder.

    Args:
        folder: the BVH files, in centimetres.
        clips: name -> number of frames at 12 fps.
    """
    paths = {path.stem: path for path in sorted(folder.rglob("*.bvh"))}
    if missing := [name for name in clips if name not in paths]:
        sys.exit(f"{folder}: has no {missing[0]}.bvh ({len(missing)} of {len(clips)} missing)")
    read = [_read_clip(paths[name], frames) for name, frames in clips.items()]
    return {
        "clip": np.array(list(clips)),
        "clip_len": np.array(list(clips.values()), np.int32),
        "joint": np.array(JOINTS),
        "rest_pos_cm": read[0][0].astype(np.float32),
        "global_quat_xyzw": np.concatenate([turned for _, turned, _ in read]).astype(np.float16),
        "pos_cm": np.concatenate([places for _, _, places in read]).astype(np.float16),
    }


def _read_clip(
    path: Path, frames: int
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Rest (J, 3) in cm, global quaternions (F, J, 4) x y z w, places (F, J, 3) in cm."""
    from scipy.spatial.transform import Rotation

    from skelift.synth.bvh import Bvh, read_bvh

    whole = read_bvh(path)
    every = max(round(1 / (FPS_OUT * whole.frame_time)), 1)
    bvh = Bvh(whole.joints, whole.frame_time * every, whole.values[::every])
    names = [joint.name for joint in bvh.joints]
    if missing := [name for name in JOINTS if name not in names]:
        sys.exit(f"{path}: has no joint {missing[0]}; take cgspeed's Daz-friendly release")
    if len(bvh.values) != frames:
        sys.exit(f"{path}: {len(bvh.values)} frames at {FPS_OUT} fps, not {frames}")
    rotations = bvh.rotations()
    places = bvh.places(rotations)
    chosen = [names.index(name) for name in JOINTS]
    turned = Rotation.from_matrix(rotations[:, chosen].reshape(-1, 3, 3)).as_quat()
    return bvh.rest()[chosen], turned.reshape(frames, len(chosen), 4), places[:, chosen]


def table_of_clips() -> dict[str, int]:
    """Clips of the motion file: name -> frames."""
    pairs = (entry.split(":") for entry in CLIPS.split())
    return {name: int(frames) for name, frames in pairs}


def write(path: Path, arrays: dict[str, NDArray[Any]]) -> None:
    """Write an .npz file whole, and print its SHA-256."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".part.npz")
    np.savez_compressed(partial, **arrays)  # type: ignore[arg-type]
    partial.replace(path)
    print(f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path}")


def main() -> None:
    """Build one of the two files."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("file", choices=("bodies", "motion"))
    parser.add_argument("folder", type=Path, help="makehuman-assets/base, or the BVH files")
    parser.add_argument("--out", type=Path, default=Path("data/sources"))
    args = parser.parse_args()
    if args.file == "bodies":
        write(args.out / "people_clothed.npz", build_bodies(args.folder))
    else:
        write(args.out / "cmu_mocap_12fps.npz", build_motion(args.folder, table_of_clips()))


if __name__ == "__main__":
    main()
