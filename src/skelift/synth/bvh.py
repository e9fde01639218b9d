"""Motion in Biovision Hierarchy (BVH) files."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from skelift.errors import InputError


@dataclass
class Joint:
    """A joint of a BVH hierarchy; its parent comes before it."""

    name: str  # an end site has its parent's name with ``_end``
    parent: int  # index, -1 at the root
    offset: tuple[float, ...] = (0.0, 0.0, 0.0)  # relative to the parent at rest
    channels: list[str] = field(default_factory=list)  # in the file's order, e.g. ``Zrotation``


@dataclass(frozen=True)
class Bvh:
    """A BVH file."""

    joints: tuple[Joint, ...]
    frame_time: float  # seconds per frame
    values: NDArray[np.float64]  # (F, channels of all joints), degrees and the file's unit

    def rotations(self) -> NDArray[np.float64]:
        """(F, J, 3, 3) rotation of each joint from the zero pose, in the frame of the file.

        A joint turns by its channels' rotations, the first one outermost, on top of its parent.
        """
        turned: list[Rotation] = []
        column = 0
        still = Rotation.identity(len(self.values))
        for joint in self.joints:
            values = self.values[:, column : column + len(joint.channels)]
            column += len(joint.channels)
            about = [c for c, name in enumerate(joint.channels) if name.endswith("rotation")]
            axes = "".join(joint.channels[c][0].upper() for c in about)
            local = Rotation.from_euler(axes, values[:, about], degrees=True) if axes else still
            turned.append(turned[joint.parent] * local if joint.parent >= 0 else local)
        return np.stack([rotation.as_matrix() for rotation in turned], axis=1)

    def root_places(self) -> NDArray[np.float64]:
        """(F, 3) places of the root joint in the frame of the file."""
        root = self.joints[0]
        places = np.tile(np.array(root.offset), (len(self.values), 1))
        for column, channel in enumerate(root.channels):
            if channel.endswith("position"):
                places[:, "XYZ".index(channel[0].upper())] = self.values[:, column]
        return places

    def rest(self) -> NDArray[np.float64]:
        """(J, 3) places of the joints in the zero pose, the root at 0."""
        places = np.zeros((len(self.joints), 3))
        for index, joint in enumerate(self.joints):
            if joint.parent >= 0:
                places[index] = places[joint.parent] + joint.offset
        return places


def read_bvh(path: Path) -> Bvh:
    """Read a BVH file.

    Raises:
        InputError: missing, not BVH, cut short, or with numbers that are not finite.
    """
    try:
        text = path.read_text(errors="replace")
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); name a BVH file") from None
    hierarchy, found, motion = text.partition("MOTION")
    if not hierarchy.lstrip().startswith("HIERARCHY") or not found:
        raise InputError(
            f"{path}: not a BVH file (HIERARCHY ... MOTION ...); export it again as BVH"
        )
    try:
        joints = _hierarchy(iter(hierarchy.split()))
        heading = re.match(r"\s*Frames:\s*(\d+)\s+Frame Time:\s*(\S+)", motion)
        if heading is None:
            raise ValueError("no 'Frames:' and 'Frame Time:' lines")
        frames, frame_time = int(heading[1]), float(heading[2])
        values = np.array(motion[heading.end() :].split(), dtype=np.float64)
        channels = sum(len(joint.channels) for joint in joints)
        if len(values) != frames * channels:
            raise ValueError(f"{len(values)} numbers, not {frames} frames of {channels} channels")
        if not frames or not channels or frame_time <= 0:
            raise ValueError("no frames, no channels or no frame time")
        if not np.isfinite(values).all():
            raise ValueError("NaN or infinity among the numbers")
    except (ValueError, StopIteration) as error:
        what = str(error) or "the hierarchy ends early"
        raise InputError(f"{path}: broken BVH file ({what}); export it again") from None
    return Bvh(tuple(joints), frame_time, values.reshape(frames, channels))


def _hierarchy(words: Iterator[str]) -> list[Joint]:
    """Joints of the HIERARCHY block; StopIteration when it ends early."""
    joints: list[Joint] = []
    opened: list[int] = []
    for word in words:
        if word in ("ROOT", "JOINT"):
            joints.append(Joint(next(words), opened[-1] if opened else -1))
        elif word == "End":
            next(words)  # Site
            joints.append(Joint(f"{joints[opened[-1]].name}_end", opened[-1]))
        elif word == "{":
            opened.append(len(joints) - 1)
        elif word == "}":
            opened.pop()
            if not opened:
                return joints
        elif word == "OFFSET":
            joints[-1].offset = tuple(float(next(words)) for _ in range(3))
        elif word == "CHANNELS":
            joints[-1].channels = [next(words) for _ in range(int(next(words)))]
            unknown = [c for c in joints[-1].channels if not _CHANNEL.fullmatch(c)]
            if unknown:
                raise ValueError(f"unknown channel {unknown[0]}")
        elif word != "HIERARCHY":
            raise ValueError(f"unknown word {word} in the hierarchy")
    raise StopIteration


_CHANNEL = re.compile(r"[XYZxyz](rotation|position)")
