"""Tiny, consistent data sets for tests: stick people made from a skeleton's bone lengths."""

from importlib.resources import files
from pathlib import Path

import cv2
import numpy as np
import yaml
from numpy.typing import NDArray

from skelift.data.crop import CropBox, to_crop
from skelift.data.format import (
    SAMPLE,
    Dataset,
    DatasetInfo,
    DatasetWriter,
    fill_rows,
    write_dataset,
)
from skelift.skeleton import Skeleton

MARGIN = 0.13
SOURCE_SIZE = 1000
FOCAL = 1145.0
ACTIVITIES = ("walk", "run", "jump")
# Rest directions (x right of the image, y down, z forward) of the bones to these joints, by
# name; other bones go on in their parent's direction.
REST = {
    "r_hip": (-1, 0, 0),
    "l_hip": (1, 0, 0),
    "r_knee": (0, 1, 0),
    "l_knee": (0, 1, 0),
    "spine": (0, -1, 0),
    "r_shoulder": (-1, 0.1, 0),
    "l_shoulder": (1, 0.1, 0),
    "r_elbow": (-0.5, 1, 0),
    "l_elbow": (0.5, 1, 0),
    "nose": (0, -0.8, -0.6),
    "head": (0, -0.9, 0.4),
    "thumb1": (1, -0.4, 0),
    "index1": (0.4, -1, 0),
    "middle1": (0.1, -1, 0),
    "ring1": (-0.15, -1, 0),
    "little1": (-0.4, -1, 0),
}


def load_skeleton(name: str) -> Skeleton:
    """A skeleton of the package, by the name of its YAML file."""
    text = (files("skelift.conf") / "skeleton" / f"{name}.yaml").read_text()
    return Skeleton.from_mapping(yaml.safe_load(text))


def tiny_dataset(
    path: Path | str,
    skeleton: str | Skeleton = "h36m17",
    train: int = 24,
    test: int = 8,
    prior: int = 64,
    size: int = 32,
    seed: int = 0,
    with_3d: bool = True,
    with_2d: bool = True,
    stride_mm: float = 0.0,
    frames: int = 4,
) -> Path:
    """Write a data set of stick people and return its folder.

    Images, masks, 2D, 3D, crop boxes and cameras agree with one another; persons and clips of
    train, test and prior are distinct; the same arguments give the same bytes. Clips have
    ``frames`` frames, from which to which bodies go ``stride_mm`` to the right.
    """
    body = load_skeleton(skeleton) if isinstance(skeleton, str) else skeleton
    info = DatasetInfo(
        name="tiny",
        skeleton=body,
        size=size,
        margin=MARGIN,
        synthetic=True,
        provenance="Stick people drawn for tests",
        licence="Apache-2.0",
    )
    rng = np.random.default_rng(seed)
    with write_dataset(Path(path), info) as writer:
        for name, count in {"train": train, "test": test}.items():
            columns = {"joints_2d": with_2d, "joints_3d_mm": with_3d}
            writer.allocate_split(name, count, with_2d=with_2d, with_3d=with_3d)
            _fill_split(writer, name, count, columns, rng, stride_mm, frames)
        drawn = [_sample(body, size, "prior", row, rng, frames) for row in range(prior)]
        writer.write_prior(
            np.stack([joints_2d for _, joints_2d, _ in drawn]),
            np.array([record for *_, record in drawn], dtype=SAMPLE),
        )
    return Path(path)


def know_motion(data: Path) -> None:
    """Write random motion beside the training images, as for rendered ones."""
    motion = np.random.default_rng(0).normal(0, 0.1, len(Dataset(data).split("train")))
    for kind in ("radial", "steady"):
        np.save(data / "train" / f"{kind}_motion.npy", motion.astype(np.float32))


def random_pose(body: Skeleton, rng: np.random.Generator) -> NDArray[np.float64]:
    """(J, 3) mm, root at the origin, upright, facing anywhere; lengths within 10 % of typical."""
    joints = np.zeros((len(body), 3))
    direction = {body.root: np.array([0.0, -1.0, 0.0])}
    stature = rng.uniform(0.9, 1.1)
    for (parent, child), length in zip(body.bones, body.bone_lengths_mm, strict=True):
        rest = np.array(REST.get(child, direction[parent]), dtype=np.float64)
        bent = rest / np.linalg.norm(rest) + rng.normal(scale=0.35, size=3)
        direction[child] = bent / np.linalg.norm(bent)
        joints[body.index(child)] = joints[body.index(parent)] + stature * length * direction[child]
    return joints @ _rotation_y(rng.uniform(-np.pi, np.pi)).T


def draw(
    body: Skeleton, joints_2d: NDArray[np.floating], size: int, colour: tuple[int, int, int]
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Thick bones through (J, 2) crop pixels: the (S, S, 3) image and its (S, S) mask."""
    image = np.zeros((size, size, 3), dtype=np.uint8)
    mask = np.zeros((size, size), dtype=np.uint8)
    # cv2 counts from pixel centres, in 1/16 pixels.
    points = np.round((joints_2d - 0.5) * 16).astype(int).tolist()
    for bone, (parent, child) in enumerate(body.bone_indices):
        shade = tuple(int(c * (0.6 + 0.4 * bone / len(body.bones))) for c in colour)
        for canvas, value in ((image, shade), (mask, 255)):
            ends = points[parent], points[child]
            cv2.line(canvas, *ends, value, max(2, size // 12), cv2.LINE_AA, shift=4)
    return image * (mask > 127)[..., None], mask


def _fill_split(
    writer: DatasetWriter,
    name: str,
    count: int,
    columns: dict[str, bool],
    rng: np.random.Generator,
    stride_mm: float,
    frames: int,
) -> None:
    body, size = writer.info.skeleton, writer.info.size
    for row in range(count):
        joints_3d, joints_2d, record = _sample(body, size, name, row, rng, frames, stride_mm)
        colour = tuple(int(c) for c in rng.integers(80, 256, size=3))
        image, mask = draw(body, joints_2d, size, colour)
        known = {"images": image, "masks": mask, "samples": record}
        known |= {"joints_2d": joints_2d, "joints_3d_mm": joints_3d}
        chosen = {key: value[None] for key, value in known.items() if columns.get(key, True)}
        fill_rows(writer.folder / name, row, **chosen)


def _sample(
    body: Skeleton,
    size: int,
    split: str,
    row: int,
    rng: np.random.Generator,
    frames: int,
    stride_mm: float = 0.0,
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.void]]:
    """(J, 3) mm in the camera frame, (J, 2) crop pixels and the SAMPLE record of one image."""
    pose = random_pose(body, rng)
    elevation = np.radians(rng.normal(8, 6))
    distance = np.ptp(pose, axis=0).max() * rng.uniform(2.5, 3.5)
    frame = row % frames
    right = stride_mm * (frame - (frames - 1) / 2)
    pose = pose @ _rotation_x(elevation).T + [right, 0, distance]
    pixels = pose[:, :2] / pose[:, 2:] * FOCAL + SOURCE_SIZE / 2
    reach = 0.04 * np.ptp(pixels, axis=0).max()
    box = CropBox.around(pixels.min(0) - reach, pixels.max(0) + reach, MARGIN)
    clip = row // frames
    record = np.zeros((), dtype=SAMPLE)
    record["person"] = f"{split}_person{clip % 3}"
    record["clip"] = f"{split}_clip{clip}"
    record["camera"] = f"camera{row % 2}"
    record["activity"] = ACTIVITIES[clip % len(ACTIVITIES)]
    record["frame"] = frame
    record["crop"] = box.as_array()
    record["source_size"] = SOURCE_SIZE
    record["focal"] = FOCAL
    record["principal"] = SOURCE_SIZE / 2
    return pose, to_crop(pixels, box.as_array(), size), record


def _rotation_x(angle: float) -> NDArray[np.float64]:
    c, s = np.cos(angle), np.sin(angle)
    return np.array([[1, 0, 0], [0, c, -s], [0, s, c]])


def _rotation_y(angle: float) -> NDArray[np.float64]:
    c, s = np.cos(angle), np.sin(angle)
    return np.array([[c, 0, s], [0, 1, 0], [-s, 0, c]])
