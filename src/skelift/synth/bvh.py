"""Motion in Biovision Hierarchy (BVH) files."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from skelift.errors import InputError
from skelift.text import read_text

CHANNELS = tuple(f"{axis}{kind}" for kind in ("position", "rotation") for axis in "XYZ")
SHORTEST = 1e-6  # seconds per frame


@dataclass
class Joint:
    """A joint of a BVH hierarchy; its parent comes before it."""

    name: str  # an end site has its parent's name with ``_end``
    parent: int  # index, -1 at the root
    offset: tuple[float, ...] = (0.0, 0.0, 0.0)  # relative to the parent at rest
    channels: list[str] = field(default_factory=list)  # in the file's order, of CHANNELS


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
        still = Rotation.identity(len(self.values))
        for joint, values in self._channels():
            about = [c for c, name in enumerate(joint.channels) if name.endswith("rotation")]
            axes = "".join(joint.channels[c][0] for c in about)
            local = Rotation.from_euler(axes, values[:, about], degrees=True) if axes else still
            turned.append(turned[joint.parent] * local if joint.parent >= 0 else local)
        return np.stack([rotation.as_matrix() for rotation in turned], axis=1)

    def places(self, rotations: NDArray[np.float64]) -> NDArray[np.float64]:
        """(F, J, 3) places of the joints in the frame of the file, given their ``rotations()``.

        A joint's position channels take the place of its offset.
        """
        places = np.empty(rotations.shape[:3])
        for index, (joint, values) in enumerate(self._channels()):
            local = np.tile(np.array(joint.offset), (len(self.values), 1))
            for column, channel in enumerate(joint.channels):
                if channel.endswith("position"):
                    local[:, "XYZ".index(channel[0])] = values[:, column]
            places[:, index] = local
            if joint.parent >= 0:
                turned = np.einsum("fij,fj->fi", rotations[:, joint.parent], local)
                places[:, index] = places[:, joint.parent] + turned
        return places

    def _channels(self) -> Iterator[tuple[Joint, NDArray[np.float64]]]:
        """Yield each joint with the (F, channels) values of its own channels."""
        column = 0
        for joint in self.joints:
            yield joint, self.values[:, column : column + len(joint.channels)]
            column += len(joint.channels)

    def rest(self) -> NDArray[np.float64]:
        """(J, 3) places of the joints in the zero pose, the root at 0."""
        places = np.zeros((len(self.joints), 3))
        for index, joint in enumerate(self.joints):
            if joint.parent >= 0:
                places[index] = places[joint.parent] + joint.offset
        return places


def read_bvh(path: Path) -> Bvh:
    """Read a BVH file; keywords and channels may be in lower or upper case.

    Raises:
        InputError: missing, not BVH, cut short, or with numbers that are not finite.
    """
    try:
        text = read_text(path)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); name a BVH file") from None
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: broken BVH file ({error}); export it again") from None
    parts = re.split(r"^\s*MOTION\b", text, maxsplit=1, flags=re.MULTILINE | re.IGNORECASE)
    if len(parts) < 2 or not parts[0].lstrip().upper().startswith("HIERARCHY"):
        raise InputError(
            f"{path}: not a BVH file (HIERARCHY ... MOTION ...); export it again as BVH"
        )
    try:
        joints = _hierarchy(iter(parts[0].split()[1:]))
        frame_time, values = _motion(parts[1], sum(len(joint.channels) for joint in joints))
    except (ValueError, OverflowError) as error:
        raise InputError(f"{path}: broken BVH file ({error}); export it again") from None
    except (StopIteration, IndexError):
        raise InputError(
            f"{path}: broken BVH file (the braces of the hierarchy do not match); export it again"
        ) from None
    return Bvh(tuple(joints), frame_time, values)


def _motion(text: str, channels: int) -> tuple[float, NDArray[np.float64]]:
    """Seconds per frame and (F, channels) values of the MOTION block; ValueError if broken."""
    heading = re.match(r"\s*Frames\s*:?\s*(\d+)\s+Frame\s*Time\s*:?\s*(\S+)", text, re.IGNORECASE)
    if heading is None:
        raise ValueError("no 'Frames:' and 'Frame Time:' lines")
    frames, frame_time = int(heading[1]), float(heading[2])
    values = np.array(text[heading.end() :].split(), dtype=np.float64)
    if not frames or not channels or not SHORTEST <= frame_time < np.inf:
        raise ValueError("no frames, no channels or no frame time")
    if len(values) != frames * channels:
        raise ValueError(
            f"{len(values) / channels:g} frames of {channels} numbers, but Frames: {frames}"
        )
    if not np.isfinite(values).all():
        raise ValueError("NaN or infinity among the numbers")
    return frame_time, values.reshape(frames, channels)


def _hierarchy(words: Iterator[str]) -> list[Joint]:
    """Joints of the HIERARCHY block; StopIteration or IndexError where braces do not match."""
    joints: list[Joint] = []
    opened: list[int] = []
    for word in words:
        keyword = word.upper()
        if joints and not opened and keyword != "{":
            raise ValueError(f"{word} after the end of the hierarchy; keep one ROOT")
        if keyword in ("ROOT", "JOINT"):
            joints.append(Joint(_name(words), opened[-1] if opened else -1))
            opened.append(len(joints) - 1)
        elif keyword in ("END", "ENDSITE"):
            _name(words)  # Site
            joints.append(Joint(f"{joints[opened[-1]].name}_end", opened[-1]))
            opened.append(len(joints) - 1)
        elif keyword == "}":
            opened.pop()
        elif keyword == "OFFSET":
            joints[opened[-1]].offset = tuple([float(next(words)) for _ in range(3)])
            if not np.isfinite(joints[opened[-1]].offset).all():
                raise ValueError(f"the offset of {joints[opened[-1]].name} is not finite")
        elif keyword == "CHANNELS":
            joints[opened[-1]].channels = _channels(words)
        else:
            raise ValueError(f"unknown word {word} in the hierarchy")
    if opened or not joints:
        raise StopIteration
    return joints


def _name(words: Iterator[str]) -> str:
    """The words up to the brace that opens a joint's block."""
    name: list[str] = []
    for word in words:
        if word == "{":
            return " ".join(name)
        name.append(word)
    raise StopIteration


def _channels(words: Iterator[str]) -> list[str]:
    count = int(next(words))
    channels: list[str] = []
    while len(channels) < count:
        channel = next(words).capitalize()
        if channel not in CHANNELS:
            raise ValueError(f"unknown channel {channel}")
        if channel in channels:
            raise ValueError(f"two channels {channel} of a joint")
        channels.append(channel)
    return channels
