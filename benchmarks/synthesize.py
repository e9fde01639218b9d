"""Images per second that one core renders, stage by stage and whole.

``python -m benchmarks.synthesize``: half a minute on one core. Clothed people and motion capture
from the folder of ``data=benchmark`` (``--data``, SKELIFT_DATA) if it has them, else what ships
with the package. Times are CPU seconds of one process, so that a busy machine disturbs them little.
"""

import argparse
import os
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from time import process_time

import numpy as np
from numpy.typing import NDArray

from benchmarks import children
from benchmarks.measure import best_seconds, report
from skelift.config import Config, compose
from skelift.data.format import DatasetWriter
from skelift.synth import kernels
from skelift.synth.body import Body, load_bodies
from skelift.synth.generate import make_rows, open_studio
from skelift.synth.parts import PARTS
from skelift.synth.people import FIRST_BONE
from skelift.synth.rig import Rig
from skelift.synth.scene import Scenes, Studio
from skelift.synth.splits import PRIOR, TRAIN

SOURCES = Path(os.environ.get("SKELIFT_DATA", "data/sources"))
GOALS = {"images_per_second": ("at least", 250.0)}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=SOURCES, help="folder of both files")
    parser.add_argument("--name", default="benchmark", help="data set: benchmark, full ...")
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--rows", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args()

    config = configured(args.name, args.data, args.size)
    assert config.data.synth is not None
    studio, info = open_studio(config, config.data.synth)
    bodies = load_bodies(config.data.synth.bodies)
    rows = range(args.rows)
    scenes = studio.cast.scenes(TRAIN, rows)
    with tempfile.TemporaryDirectory() as folder:
        writer = DatasetWriter(Path(folder), info)
        writer.allocate_split(TRAIN, args.rows, with_2d=True, with_3d=True, with_motion=True)
        calls: dict[str, Callable[[], object]] = {
            "draw": lambda: studio.cast.scenes(TRAIN, rows),
            "pose_and_skin": lambda: studio.label(scenes),
            "render": lambda: studio.photograph(scenes),
            "whole": lambda: make_rows(studio, writer.folder, (TRAIN, rows)),
            "prior": lambda: make_rows(studio, writer.folder, (PRIOR, rows)),
        }
        seconds = best_seconds(calls, args.rounds, process_time)
    few = studio.cast.scenes(TRAIN, range(8))
    rigs = studio.cast.crew.rigs
    plain = best_seconds({"plain": lambda: plain_skins(bodies, rigs, few)}, 2, process_time)[
        "plain"
    ]
    apart = difference(studio, few, plain_skins(bodies, rigs, few))
    milliseconds = {name: 1000 * spent / args.rows for name, spent in seconds.items()}
    milliseconds["render"] -= milliseconds["pose_and_skin"]  # a photograph poses first
    report(
        {
            "benchmark": "synthesize: CPU time of one process",
            "bodies": config.data.synth.bodies,
            "size": args.size,
            "vertices": int(np.mean([len(body.vertices) for body in bodies])),
            "triangles": int(np.mean([len(body.faces) for body in bodies])),
            "milliseconds": milliseconds,
            "images_per_second": 1000 / milliseconds["whole"],
            "prior_poses_per_second": 1000 / milliseconds["prior"],
            "ratio_plain_pose_and_skin": plain / len(few) * 1000 / milliseconds["pose_and_skin"],
            "largest_difference_to_plain_mm": apart,
        },
        GOALS,
        "synthesize",
    )


def configured(name: str, folder: Path, size: int) -> Config:
    """People with the sources in ``folder``, or the quickstart set if it lacks them."""
    paths = [folder / file for file in ("people_clothed.npz", "cmu_mocap_12fps.npz")]
    if not all(path.exists() for path in paths):
        return compose(["data=quickstart", f"data.size={size}"])
    named = [
        f"data.synth.{key}={path}" for key, path in zip(("bodies", "motion"), paths, strict=True)
    ]
    return compose([f"data={name}", f"data.size={size}", *named])


def plain_skins(
    bodies: list[Body], rigs: Sequence[Rig], scenes: Scenes
) -> list[NDArray[np.float64]]:
    """Posed vertices, plainly: bone by bone in Python, then NumPy over four bones per vertex."""
    return [
        plain_skin(bodies[person], rigs[person].align, pose)
        for person, pose in zip(scenes.person, scenes.rotations, strict=True)
    ]


def plain_skin(
    body: Body, align: NDArray[np.float64], pose: NDArray[np.float64]
) -> NDArray[np.float64]:
    """(V, 3) vertices of one body."""
    part_of = {bone: PARTS.index(part) for part, bone in FIRST_BONE.items()}
    rotation = np.zeros((len(body.bone_names), 3, 3))
    head = body.bone_heads.copy()
    parts: list[int] = []
    for bone, name in enumerate(body.bone_names):
        parent = body.bone_parents[bone]
        parts.append(part_of[name] if name in part_of else parts[parent])
        rotation[bone] = pose[parts[bone]] @ align[parts[bone]]
        if parent >= 0:
            offset = body.bone_heads[bone] - body.bone_heads[parent]
            head[bone] = head[parent] + rotation[parent] @ offset
    shift = head - np.einsum("bij,bj->bi", rotation, body.bone_heads)
    moved = np.einsum("vkij,vj->vki", rotation[body.skin_bone], body.vertices)
    moved += shift[body.skin_bone]
    return np.einsum("vk,vki->vi", body.skin_weight, moved)


def difference(studio: Studio, scenes: Scenes, plain: list[NDArray[np.float64]]) -> float:
    """Largest distance between the studio's vertices and the plain ones, in mm."""
    crew = studio.cast.crew
    turn, shift = crew.pose(scenes.person, scenes.rotations)
    furthest = 0.0
    for row, expected in enumerate(plain):
        mesh = crew.rigs[scenes.person[row]].mesh
        out = np.empty_like(mesh.rest)
        transforms = (turn[row].astype(np.float32), shift[row].astype(np.float32))
        kernels.skin(mesh.rest, mesh.part, mesh.weight, *transforms, out)
        furthest = max(furthest, float(np.linalg.norm(out - expected, axis=1).max()) * 1000)
    return furthest


if __name__ == "__main__":
    children.run(main)
