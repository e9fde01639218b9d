"""The one way from a picture of any size to a pose in mm, shared by all that predict."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from skelift.data.crop import CropBox, to_source
from skelift.data.pictures import binary, mask_of_black_background
from skelift.geometry import View
from skelift.skeleton import Skeleton
from skelift.training.model_files import load_model

Picture = NDArray[np.uint8]
SCHEMA_VERSION = 1
_BLACK_BORDER = 0.95  # share of a picture's border that is black where the background was removed


@dataclass(frozen=True)
class PreparedPicture:
    """A picture as the network wants it, and how to get back.

    Attributes:
        x: (S, S, 3) uint8 RGB, background black where a mask was known.
        crop: the square of the picture that ``x`` shows.
        crop_from: what the square was found by: ``mask``, ``black background``, ``whole picture``.
        focal: focal length in pixels of the picture.
        focal_from: ``given``, or ``typical`` where the camera is unknown.
        size: (width, height) of the picture.
    """

    x: Picture
    crop: CropBox
    crop_from: str
    focal: float
    focal_from: str
    size: tuple[int, int]


@dataclass(frozen=True)
class Prediction:
    """The pose of one picture.

    Attributes:
        joints_3d_mm: (J, 3) root-relative, camera frame (x right, y down, z forward).
        joints_2d: (J, 2) pixels of the original picture.
        prepared: how the picture was cropped.
    """

    joints_3d_mm: NDArray[np.float32]
    joints_2d: NDArray[np.float32]
    prepared: PreparedPicture

    def as_json(self) -> dict[str, Any]:
        """The form of an answer's ``predictions`` entry."""
        p = self.prepared
        return {
            "image_size": list(p.size),
            "crop": {"x": p.crop.x, "y": p.crop.y, "side": p.crop.side, "from": p.crop_from},
            "focal_px": {"value": p.focal, "from": p.focal_from},
            "joints_3d_mm": np.round(self.joints_3d_mm.astype(float), 2).tolist(),
            "joints_2d_px": np.round(self.joints_2d.astype(float), 2).tolist(),
        }


class Predictor:
    """A trained model, ready for pictures of any size.

    Args:
        model: folder written by ``skelift train``.
        device: where to run.

    Raises:
        InputError: the folder is no model.
    """

    def __init__(self, model: Path, device: str = "cpu") -> None:
        self.device = torch.device(device)
        self.pose, self.card = load_model(model, self.device)

    @property
    def skeleton(self) -> Skeleton:
        """The skeleton of every prediction."""
        return self.pose.skeleton

    def prepare(
        self, picture: Picture, mask: Picture | None = None, focal: float | None = None
    ) -> PreparedPicture:
        """Crop as in training.

        Without a mask, the body is what is not black where the border is black; else the whole
        picture is taken. One picture does not tell its camera: without ``focal``, the body is taken
        to be as far away as those of the training set typically are.

        Args:
            picture: (H, W, 3) uint8 RGB.
            mask: (H, W) uint8, above 127 on the body.
            focal: focal length in pixels.

        Raises:
            InputError: the mask is empty.
        """
        height, width = picture.shape[:2]
        found_by = "mask"
        if mask is None and _has_black_border(picture):
            mask, found_by = mask_of_black_background(picture), "black background"
        if mask is None:
            found_by = "whole picture"
            crop = CropBox(width / 2, height / 2, float(max(width, height)))
        else:
            crop = CropBox.around_mask(mask, self.card["margin"])
            picture = cv2.bitwise_and(picture, picture, mask=binary(mask))  # type: ignore[assignment]
        typical = crop.side / self.card["crop_side"]
        return PreparedPicture(
            x=crop.cut(picture, self.card["size"]),
            crop=crop,
            crop_from=found_by,
            focal=focal or typical,
            focal_from="given" if focal else "typical",
            size=(width, height),
        )

    @torch.no_grad()
    def predict(self, pictures: Sequence[PreparedPicture]) -> list[Prediction]:
        """Poses of prepared pictures, as one batch."""
        x = torch.from_numpy(np.stack([p.x for p in pictures])).to(self.device)
        crop = torch.from_numpy(np.stack([p.crop.as_array() for p in pictures]))
        focal = torch.tensor([[p.focal, p.focal] for p in pictures], dtype=torch.float32)
        view = View(crop, focal, crop[:, :2]).to(self.device)
        poses = self.pose(x.permute(0, 3, 1, 2).float() / 255, view)
        joints_3d = self.pose.in_mm(poses.v).cpu().numpy()
        in_crop = ((poses.y + 1) / 2 * self.card["size"]).cpu().numpy()
        joints_2d = to_source(in_crop, crop.numpy(), self.card["size"])
        return [
            Prediction(v, y.astype(np.float32), p)
            for v, y, p in zip(joints_3d, joints_2d, pictures, strict=True)
        ]

    def answer(self, named: Sequence[tuple[str, Prediction]]) -> dict[str, Any]:
        """The JSON answer for named predictions: units, frame and joint names stand in it."""
        return {
            "schema_version": SCHEMA_VERSION,
            "model": {"name": self.card["name"], "version": self.card["skelift_version"]},
            "units": self.card["units"],
            "frame": self.card["frame"],
            "scale": "of a typical body: one picture gives no scale",
            "joint_names": list(self.skeleton.joints),
            "skeleton": self.skeleton.to_mapping(),
            "predictions": [{"image": name, **p.as_json()} for name, p in named],
        }


def _has_black_border(picture: Picture) -> bool:
    body = mask_of_black_background(picture)
    border = np.concatenate([body[0], body[-1], body[:, 0], body[:, -1]])
    return bool((border == 0).mean() >= _BLACK_BORDER and body.any())
