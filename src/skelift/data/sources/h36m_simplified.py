"""Simplified Human3.6M, as KeypointGAN and IMM use it: crops of 128 px, six activities, no 3D.

Layout: ``human_images/S*/WithBackground/<Seq>/<frame>.jpg``, the same below ``BackgroudMask``
(spelt so) as ``.png`` and below ``Landmarks`` as ``.mat`` with ``keypoints_2d`` (32, 2) in [0, 1].
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from skelift.config import H36mConfig
from skelift.data.crop import CropBox
from skelift.data.images import read_mask
from skelift.data.sources.build import Description
from skelift.data.sources.h36m_protocol import JOINTS, LICENCE, SUBJECTS, H36mClip
from skelift.data.sources.recordings import Crop, Recording, Shot, Skipped, read_bgr, reading
from skelift.skeleton import Skeleton

IMAGES, MASKS, LANDMARKS = "WithBackground", "BackgroudMask", "Landmarks"
ACTIVITIES = ("directions", "discussion", "greeting", "posing", "waiting", "walking")


def is_here(root: Path) -> bool:
    """Whether a folder holds this layout."""
    return any(_base(root).glob(f"S*/{IMAGES}"))


def find_recordings(root: Path, source: H36mConfig, crop: Crop) -> list[Recording]:
    """All sequences below the root."""
    base = _base(root)
    recordings: list[Recording] = []
    for subject, split in SUBJECTS.items():
        for folder in sorted((base / subject / IMAGES).glob("*/")):
            camera = re.search(r"\d{8}", folder.name)
            clip, lower = re.sub(r"[._-]?\d{8}", "", folder.name)[:48], folder.name.lower()
            recordings.append(
                SimplifiedRecording(
                    split=split,
                    person=subject,
                    clip=f"{subject}/{clip}",
                    camera=camera[0] if camera else "",
                    activity=next((name for name in ACTIVITIES if name in lower), lower[:32]),
                    crop=crop,
                    folder=base / subject,
                    stem=folder.name,
                    source=source,
                )
            )
    return recordings


def describe(images: str, skeleton: Skeleton) -> Description:
    """The data set; ``images`` says which part of a training sequence gives images."""
    return Description(
        provenance="Simplified Human3.6M (Jakab et al., KeypointGAN): crops of six activities; "
        f"images of {images} sequence, 2D poses of the prior from the rest. No 3D poses, no "
        "cameras.",
        licence=LICENCE,
        skeleton=skeleton,
        details={"layout": "simplified"},
    )


@dataclass(frozen=True, kw_only=True)
class SimplifiedRecording(H36mClip):
    """One sequence: a folder of crops."""

    @property
    def files(self) -> tuple[Path, ...]:
        """The crops, in temporal order."""
        images = (self.folder / IMAGES / self.stem).glob("*.jpg")
        return tuple(sorted(images, key=lambda path: (_number(path), path.name)))

    def shots(self) -> Iterator[Shot | Skipped]:
        """See ``Recording``."""
        files = self.files
        images, poses = self.part_frames(len(files))
        for number in (*images, *poses):
            points = read_landmarks(self._twin(files[number], LANDMARKS, ".mat"))
            if not np.isfinite(points).all():
                yield Skipped(1, "NaN in the landmarks")
                continue
            image = mask = None
            if number in images:
                image = read_bgr(files[number])
                mask = read_mask(self._twin(files[number], MASKS, ".png"), like=image)
                size = image.shape[1], image.shape[0]
            else:
                size = _image_size(files[number])
            side = max(size)
            # The whole crop as it is: its maker has cut the body out already.
            box = CropBox(side / 2, side / 2, side).snapped(self.crop.size)
            yield Shot(number, box, points * size, size, image=image, mask=mask)

    def _twin(self, image: Path, kind: str, suffix: str) -> Path:
        return self.folder / kind / self.stem / f"{image.stem}{suffix}"


def read_landmarks(path: Path) -> NDArray[np.float64]:
    """(17, 2) joints over the crop's sides; InputError where the file is missing or broken."""
    with reading(path, "keypoints_2d (32, 2)"):
        from scipy.io import loadmat

        points = loadmat(path)["keypoints_2d"]
        return np.asarray(points, dtype=np.float64).reshape(32, 2)[list(JOINTS)]


def _base(root: Path) -> Path:
    return root / "human_images" if (root / "human_images").is_dir() else root


def _image_size(path: Path) -> tuple[int, int]:
    from PIL import Image

    with Image.open(path) as image:  # reads no more than the header
        return image.size


def _number(path: Path) -> int:
    digits = re.findall(r"\d+", path.stem)
    return int(digits[-1]) if digits else 0
