"""HandDB's synthetic hands: ``hand_labels_synth/synth*/%04d.jpg`` with a ``.json`` beside each.

Each sequence is cut in the order of its files: images, then annotations that become the prior
(their images are left out), then images to test on. Training images and prior also come
turned about the hand. There is no 3D, no camera and no mask: GrabCut cuts the hand out.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from skelift.config import Config, HandDbConfig
from skelift.data.background import cut_out
from skelift.data.images import ImageArray, mask_of_black_background, read_image
from skelift.data.sources.build import Description, build
from skelift.data.sources.recordings import (
    Crop,
    Floats,
    Recording,
    Shot,
    Skipped,
    open_root,
    reading,
    swap_channels,
)
from skelift.errors import InputError

JOINTS = 21
BLOCK = 64  # images that one task cuts out


def prepare(config: Config) -> Path:
    """Make the data set of ``config.data.handdb``; InputError where a file is missing or broken."""
    source = config.data.handdb
    assert source is not None
    root, crop = open_root(config, "handdb", "hand21", JOINTS)
    recordings = find_recordings(root, source, crop)
    turned = ", ".join(f"{angle:g}" for angle in source.rotations_deg)
    about = Description(
        provenance=f"HandDB synthetic hands (Simon et al. 2017), {', '.join(source.sequences)}. "
        f"{source.prior:.0%} of the training annotations are the prior, without their images; "
        f"training images and prior also turned by {turned or 'no'} degrees. No 3D poses.",
        licence="HandDB: research only; http://domedb.perception.cs.cmu.edu/handdb.html",
        skeleton=config.body,
        # Test images come after the training images of their sequence.
        details={"split_by": "time"},
    )
    return build(config, source, recordings, about)


def find_recordings(root: Path, source: HandDbConfig, crop: Crop) -> list[Recording]:
    """Blocks of images of each sequence, in the order of files; InputError where it has none."""
    base = root / "hand_labels_synth" if (root / "hand_labels_synth").is_dir() else root
    recordings: list[Recording] = []
    for sequence in source.sequences:
        files = sorted((base / sequence).glob("*.jpg"))
        if not files:
            raise InputError(f"{base / sequence}: no .jpg; unpack hand_labels_synth.zip there")
        test = round(len(files) * (1 - source.test))
        poses = round(test * (1 - source.prior))
        uses = {"images": range(poses), "poses": range(poses, test)}
        uses["test"] = range(test, len(files))
        for use, rows in uses.items():
            recordings += [
                HandBlock(
                    split="test" if use == "test" else "train",
                    clip=sequence,
                    crop=crop,
                    images=tuple(files[first : min(first + BLOCK, rows.stop)]),
                    first=first,
                    poses_only=use == "poses",
                    angles=(0.0,) if use == "test" else (0.0, *source.rotations_deg),
                    background=source.background,
                )
                for first in rows[::BLOCK]
            ]
    return recordings


@dataclass(frozen=True, kw_only=True)
class HandBlock(Recording):
    """Images of a sequence that follow one another."""

    images: tuple[Path, ...]
    first: int  # number of the first of them in its sequence
    poses_only: bool  # their annotations go to the prior, their images are left out
    angles: tuple[float, ...]  # degrees by which each image is turned about its hand
    background: str  # grabcut or black

    @property
    def name(self) -> str:
        """Sequence and images."""
        return f"{self.clip} {self.images[0].stem} to {self.images[-1].stem}"

    @property
    def files(self) -> tuple[Path, ...]:
        """Images and annotations."""
        return (*self.images, *(image.with_suffix(".json") for image in self.images))

    def shots(self) -> Iterator[Shot | Skipped]:
        """See ``Recording``."""
        for number, file in enumerate(self.images, self.first):
            joints = read_hand(file.with_suffix(".json"))
            if joints is None:
                yield Skipped(1, "a joint is not annotated, or NaN")
                continue
            image = read_image(file)
            mask = None if self.poses_only else self._mask(image, joints)
            for angle in self.angles:
                yield self._turned(number, image, mask, joints, angle)

    def _mask(self, image: ImageArray, joints: Floats) -> ImageArray:
        if self.background == "black":
            return mask_of_black_background(image)
        box = self.crop.around_joints(joints)
        half = box.side / 2
        low, high = (box.x - half, box.y - half), (box.x + half, box.y + half)
        return cut_out(image, low, high)

    def _turned(
        self, number: int, image: ImageArray, mask: ImageArray | None, joints: Floats, angle: float
    ) -> Shot:
        """A shot of the image turned about the middle of the hand, anticlockwise as seen.

        Joints and crop are those in the turned image, which keeps the image's pixels' size.
        """
        height, width = image.shape[:2]
        centre = (joints.min(axis=0) + joints.max(axis=0)) / 2
        # cv2 counts from pixel centres, the project from edges: hence the halves.
        matrix = np.asarray(
            cv2.getRotationMatrix2D((centre - 0.5).tolist(), angle, 1.0), dtype=np.float64
        )
        turned = (joints - 0.5) @ matrix[:, :2].T + matrix[:, 2] + 0.5
        box = self.crop.around_joints(turned)
        if mask is None:
            return Shot(number, box, turned, (width, height))
        if angle:
            image, mask = (
                np.asarray(cv2.warpAffine(source, matrix, (width, height)), dtype=np.uint8)
                for source in (image, mask)
            )
        return Shot(number, box, turned, (width, height), image=swap_channels(image), mask=mask)


def read_hand(path: Path) -> NDArray[np.float64] | None:
    """(21, 2) pixels, wrist then each finger from base to tip; None where a joint is unknown."""
    with reading(path, "hand_pts (21 x [x, y, valid])"):
        points = np.asarray(json.loads(path.read_text())["hand_pts"], dtype=np.float64)
        points = points.reshape(JOINTS, 3)
    known = np.isfinite(points).all() and (points[:, 2] > 0).all()
    return points[:, :2] if known else None
