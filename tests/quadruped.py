"""A dog that walks, for tests of bodies that lie: 3D poses, seen by a camera that looks down."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from skelift.data.crop import CropBox
from skelift.skeleton import Skeleton

Array = NDArray[np.float64]

# Named as people are where they have the same joints: no rule about people may take it for one.
DOG: dict[str, Any] = {
    "name": "dog",
    "root": "loin",
    "head": "nose",
    "joints": [
        *("loin", "tail_base", "withers", "nose"),
        *(f"{s}_{joint}" for s in "lr" for joint in ("shoulder", "paw", "hip", "knee", "ankle")),
    ],
    "bones": [
        *(["loin", "tail_base"], ["loin", "withers"], ["withers", "nose"]),
        *(
            bone
            for s in "lr"
            for bone in (
                *(["withers", f"{s}_shoulder"], [f"{s}_shoulder", f"{s}_paw"]),
                *(["tail_base", f"{s}_hip"], [f"{s}_hip", f"{s}_knee"]),
                [f"{s}_knee", f"{s}_ankle"],
            )
        ),
    ],
    "bone_lengths_mm": [300, 300, 350, *(2 * [80, 450, 80, 230, 260])],
    "pairs": [[f"l_{j}", f"r_{j}"] for j in ("shoulder", "paw", "hip", "knee", "ankle")],
    "axis": ["tail_base", "withers"],
}
PARTS = [
    {"joints": DOG["joints"][:4], "radius_mm": 30},
    {"joints": DOG["joints"][2:], "radius_mm": 10},
]
FLESHY_DOG = DOG | {"parts": PARTS}
BODY = Skeleton.from_mapping(DOG)
FOCAL = 1000.0


def stance(phase: float, *, stride: float = 250.0, half_width: float = 60.0) -> Array:
    """(J, 3) mm: ahead, to its left, up from the floor below the loin; legs at a phase, radians."""
    places = {
        "loin": (0, 0, 520),
        "tail_base": (-300, 0, 500),
        "withers": (300, 0, 500),
        "nose": (600, 0, 620),
    }
    for side, left in (("l", half_width), ("r", -half_width)):
        # Left and right are half a stride apart, fore and hind legs too: a trot.
        fore = stride * np.sin(phase + (side == "r") * np.pi)
        places |= {
            f"{side}_shoulder": (300, left, 450),
            f"{side}_paw": (300 + fore, left, 0),
            f"{side}_hip": (-300, left, 450),
            f"{side}_knee": (-250 - fore / 2, left, 230),
            f"{side}_ankle": (-320 - fore, left, 0),
        }
    return np.array([places[joint] for joint in BODY.joints], dtype=np.float64)


def seen(body: Array, heading_deg: float, at: tuple[float, float], down_deg: float = 15) -> Array:
    """(J, 3) mm in the camera frame of a ``stance`` that stands ``at`` (right, away) mm.

    Headings are about the vertical: 0 is away from the camera, 90 to its right. The camera hangs at
    a height from which it sees the floor 4 m away in its middle.
    """
    turn, tilt = np.radians(heading_deg), np.radians(down_deg)
    ahead, left, up = body.T
    right = ahead * np.sin(turn) - left * np.cos(turn) + at[0]
    away = ahead * np.cos(turn) + left * np.sin(turn) + at[1]
    below = 4000 * np.tan(tilt) - up
    c, s = np.cos(tilt), np.sin(tilt)
    return np.stack([right, c * below - s * away, s * below + c * away], -1)


def pixels(pose: Array) -> Array:
    """(J, 2) pixels of a (J, 3) pose in the camera frame."""
    image: Array = FOCAL * pose[:, :2] / pose[:, 2:] + 500
    return image


def crop(pose: Array, margin: float = 0.13) -> NDArray[np.float32]:
    """(3,) crop box around a pose in the image."""
    points = pixels(pose)
    return CropBox.around(points.min(0), points.max(0), margin).as_array()
