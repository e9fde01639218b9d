"""The one way from an image of any size to a pose in mm, shared by all that predict."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from skelift.data.background import cut_out
from skelift.data.crop import CropBox
from skelift.data.decoding import Limits, decode_image, decode_mask
from skelift.data.images import BLACK, binary, mask_of_black_background
from skelift.errors import InputError, RequestError, RunError
from skelift.inference.runtimes import NAMES, OnnxRuntime, Runtime, TorchRuntime
from skelift.inference.runtimes import Name as RuntimeName
from skelift.models.io import load_card, load_model

ImageArray = NDArray[np.uint8]
Box = tuple[float, float, float, float]
SCHEMA_VERSION = 1
GRAPH = "model.onnx"
KEEP, REMOVE = "keep", "remove"
BACKGROUNDS = (KEEP, REMOVE)
_BLACK_BORDER = 0.95  # share of an image's border that is black where the background was removed
_INSET = 0.03  # without a box, a body leaves so much of the image free on each side


@dataclass(frozen=True)
class Query:
    """One image as bytes, and what the asker knows of it.

    Attributes:
        image: an encoded image.
        mask: an encoded mask of the image's size, above 127 on the body.
        box: x, y of the left upper corner, width and height around the body, pixels of the
            upright image.
        focal: focal length in pixels of the image.
        background: ``keep``, or ``remove`` to cut the body out by its colours.
        name: comes back in the answer.
    """

    image: bytes
    mask: bytes | None = None
    box: Box | None = None
    focal: float | None = None
    background: str = KEEP
    name: str = ""


@dataclass(frozen=True)
class PreparedImage:
    """An image as the network wants it, and how to get back.

    Attributes:
        x: (S, S, 3) uint8 RGB, background black where a mask was known.
        crop: the square of the image that ``x`` shows.
        crop_from: what the square was found by: ``mask``, ``box``, ``removed background``,
            ``black background`` or ``whole image``.
        focal: focal length in pixels of the image.
        focal_from: ``given``, or ``typical`` where the camera is unknown.
        size: (width, height) of the image.
    """

    x: ImageArray
    crop: CropBox
    crop_from: str
    focal: float
    focal_from: str
    size: tuple[int, int]


@dataclass(frozen=True)
class Prediction:
    """The pose of one image.

    Attributes:
        joints_3d_mm: (J, 3) root-relative, camera frame (x right, y down, z forward).
        joints_2d: (J, 2) pixels of the original image.
        spread: (J,) standard deviation in the same pixels of the map that each joint is read
            from: wide where the model is undecided. Not calibrated.
        prepared: how the image was cropped.
    """

    joints_3d_mm: NDArray[np.float32]
    joints_2d: NDArray[np.float32]
    spread: NDArray[np.float32]
    prepared: PreparedImage

    @property
    def finite(self) -> bool:
        """Whether every number is one."""
        numbers = self.joints_3d_mm, self.joints_2d, self.spread
        return all(bool(np.isfinite(array).all()) for array in numbers)

    def as_json(self) -> dict[str, Any]:
        """The form of an answer's ``predictions`` entry.

        Raises:
            RunError: the model gave no finite numbers.
        """
        if not self.finite:
            raise RunError("the model gives no finite pose for an image; train it anew")
        p = self.prepared
        return {
            "image_size": list(p.size),
            "crop": {"x": p.crop.x, "y": p.crop.y, "side": p.crop.side, "from": p.crop_from},
            "focal_px": {"value": p.focal, "from": p.focal_from},
            "joints_3d_mm": _rounded(self.joints_3d_mm),
            "joints_2d_px": _rounded(self.joints_2d),
            "joints_2d_spread_px": _rounded(self.spread),
        }


class Predictor:
    """A trained model, ready for images of any size.

    Args:
        model: folder written by ``skelift train``.
        device: where PyTorch runs.
        runtime: ``torch``, or ``onnx`` for the exported graph (``model.onnx`` in the folder).
        threads: threads of an ONNX forward pass.
        limits: what an encoded image may cost.

    Raises:
        InputError: the folder is no model.
    """

    def __init__(
        self,
        model: Path,
        device: str = "cpu",
        *,
        runtime: RuntimeName = "torch",
        threads: int = 1,
        limits: Limits | None = None,
    ) -> None:
        if runtime not in NAMES:
            raise InputError(f"runtime {runtime}: choose one of {', '.join(NAMES)}")
        self.limits = limits or Limits()
        self._run: Runtime
        if runtime == "onnx":
            self.card, self.skeleton = load_card(model)
            self._run = OnnxRuntime(model / GRAPH, threads)
        else:
            where = torch.device(device)
            pipeline, self.card = load_model(model, where)
            self.skeleton = pipeline.core.skeleton
            self._run = TorchRuntime(pipeline, where)

    def prepare(
        self,
        image: ImageArray,
        mask: ImageArray | None = None,
        focal: float | None = None,
        box: Box | None = None,
        background: str = KEEP,
    ) -> PreparedImage:
        """Crop as in training.

        A mask is believed first. Else, ``background="remove"`` cuts the body out of the box, or
        of the image; a box alone is cropped with its background in it, which no model is
        trained for. Without any, the body is what is not black where the border is black; else
        the whole image is taken. One image does not tell its camera: without ``focal``, the
        body is taken to be as far away as those of the training set typically are.

        Args:
            image: (H, W, 3) uint8 RGB.
            mask: (H, W) uint8, above 127 on the body.
            focal: focal length in pixels.
            box: see ``Query``.
            background: see ``Query``.

        Raises:
            InputError: the mask is empty, the box off the image, or nobody is left.
        """
        height, width = image.shape[:2]
        corners = _corners(box, width, height) if box else None
        found_by = "mask"
        if mask is None and background == REMOVE:
            mask, found_by = without_background(image, corners), "removed background"
        elif mask is None and corners is None and _has_black_border(image):
            mask, found_by = mask_of_black_background(image), "black background"
            mask = mask if mask.any() else None
        if mask is not None:
            crop = CropBox.around_mask(mask, self.card["margin"])
            image = cv2.bitwise_and(image, image, mask=binary(mask))  # type: ignore[assignment]
        elif corners is not None:
            found_by = "box"
            crop = CropBox.around(*corners, self.card["margin"])
        else:
            found_by = "whole image"
            crop = CropBox(width / 2, height / 2, float(max(width, height)))
        typical = crop.side / self.card["crop_side"]
        return PreparedImage(
            x=crop.cut(image, self.card["size"]),
            crop=crop,
            crop_from=found_by,
            focal=focal or typical,
            focal_from="given" if focal else "typical",
            size=(width, height),
        )

    def prepare_query(self, query: Query) -> PreparedImage:
        """Decode and crop one image of an untrusted asker.

        Raises:
            RequestError: what is wrong with it, see ``docs/serving.md``.
        """
        if query.background not in BACKGROUNDS:
            raise RequestError(
                400, "bad_background", f"background is one of {', '.join(BACKGROUNDS)}"
            )
        if query.focal is not None and not (math.isfinite(query.focal) and query.focal > 0):
            raise RequestError(400, "bad_focal", "the focal length is a number above 0, in pixels")
        image = decode_image(query.image, self.limits)
        mask = decode_mask(query.mask, image, self.limits) if query.mask is not None else None
        try:
            return self.prepare(image, mask, query.focal, query.box, query.background)
        except RequestError:
            raise
        except InputError as error:
            raise RequestError(400, "no_body", str(error)) from None

    def predict(self, images: Sequence[PreparedImage]) -> list[Prediction]:
        """Poses of prepared images, as one batch."""
        poses = self._run(
            np.stack([p.x for p in images]),
            np.stack([p.crop.as_array() for p in images]),
            np.array([[p.focal] for p in images], dtype=np.float32),
        )
        v, y, spread = poses
        return [Prediction(*of) for of in zip(v, y, spread, images, strict=True)]

    def answer(self, named: Sequence[tuple[str, Prediction]]) -> dict[str, Any]:
        """The JSON answer for named predictions: units, frame and joint names stand in it."""
        return {
            "schema_version": SCHEMA_VERSION,
            "model": {"name": self.card["name"], "version": self.card["skelift_version"]},
            "units": self.card["units"],
            "frame": self.card["frame"],
            "scale": "of a typical body: one image gives no scale",
            "joint_names": list(self.skeleton.joints),
            "skeleton": self.skeleton.to_mapping(),
            "predictions": [{"image": name, **p.as_json()} for name, p in named],
        }


def _rounded(numbers: NDArray[np.float32]) -> Any:
    return np.round(numbers.astype(float), 2).tolist()


def _corners(box: Box, width: int, height: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Opposite corners of the part of a box that lies on the image."""
    x, y, box_width, box_height = box
    low = np.clip([x, y], 0, [width, height])
    high = np.clip([x + box_width, y + box_height], 0, [width, height])
    if not (np.isfinite(box).all() and (high - low >= 1).all()):
        raise RequestError(
            400, "bad_box", "the box is x, y, width, height in pixels and overlaps the image"
        )
    return low, high


def without_background(
    image: ImageArray, corners: tuple[NDArray[np.float64], NDArray[np.float64]] | None = None
) -> ImageArray:
    """Mask of what stands out from its surroundings by its colours, in a box or the image.

    Args:
        image: (H, W, 3) uint8 RGB.
        corners: opposite corners of the box, (2,) pixels each.

    Raises:
        InputError: nothing does.
    """
    size = np.array(image.shape[1::-1], dtype=np.float64)
    low, high = corners or (_INSET * size, (1 - _INSET) * size)
    mask = cut_out(image, tuple(low), tuple(high))
    if not mask.any():
        raise InputError("nothing stands out from its background; give a mask or a tighter box")
    return mask


def _has_black_border(image: ImageArray) -> bool:
    # Filling the body's holes blackens no pixel, so what shows on the border alone decides.
    border = np.concatenate([image[0], image[-1], image[:, 0], image[:, -1]])
    return bool((border.max(axis=-1) <= BLACK).mean() >= _BLACK_BORDER)
