"""A trained model, ready for images: the one way from an image to a pose in mm."""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skelift.data.cameras import Camera
from skelift.data.decoding import Limits, decode_image, decode_mask
from skelift.data.images import (
    ALPHA,
    GIVEN,
    TWO_WAYS,
    fits_two_ways,
    read_mask,
    read_masked_image,
)
from skelift.device import usable_device
from skelift.errors import InputError, RequestError, RunError
from skelift.inference.cropping import (
    BACK,
    FRONT,
    KEEP,
    OF_ONE_IMAGE,
    Box,
    Facing,
    ImageArray,
    PreparedImage,
    Query,
    check_image,
    prepare_image,
)
from skelift.inference.runtimes import (
    NAMES,
    Inputs,
    OnnxRuntime,
    Runtime,
    RuntimeName,
    TorchRuntime,
)
from skelift.models.io import load_card, load_model
from skelift.weights import SHIPPED, model_folder

SCHEMA_VERSION = 1
GRAPH = "model.onnx"
# That a body faces the camera.
_LOG_ODDS: dict[Facing | None, float] = {None: 0.0, FRONT: np.inf, BACK: -np.inf}


@dataclass(frozen=True)
class Prediction:
    """The pose of one image.

    Attributes:
        joints_3d_mm: (J, 3) root-relative, camera frame (x right, y down, z forward).
        joints_2d_px: (J, 2) pixels of the original image.
        spread_px: (J,) standard deviation in the same pixels of the map that each joint is read
            from: wide where the model is undecided. Not calibrated.
        front_log_odds: that the body faces the camera, by the image alone; NaN where the model
            does not tell. Above 0 the pose is one of a front, unless ``prepared.facing`` says.
        prepared: how the image was cropped, and its focal length.
    """

    joints_3d_mm: NDArray[np.float32]
    joints_2d_px: NDArray[np.float32]
    spread_px: NDArray[np.float32]
    front_log_odds: float
    prepared: PreparedImage

    @property
    def facing(self) -> dict[str, Any] | None:
        """Which side of the body the camera sees, and what tells so; None: the model does not."""
        if np.isnan(self.front_log_odds):
            return None
        known, odds = self.prepared.facing, float(self.front_log_odds)
        value = known or (FRONT if odds > 0 else BACK)
        return {
            "value": value,
            "from": "given" if known else "image",
            "front_log_odds": round(odds, 2),
        }

    def as_json(self) -> dict[str, Any]:
        """An entry of an answer's ``predictions``; RunError where numbers are not finite."""
        numbers = self.joints_3d_mm, self.joints_2d_px, self.spread_px
        if not all(np.isfinite(array).all() for array in numbers):
            raise RunError("the model gives no finite pose for an image; retrain it")
        p = self.prepared
        return {
            "image_size": list(p.size),
            "mask": p.mask_from,
            "crop": {"x": p.crop.x, "y": p.crop.y, "side": p.crop.side, "from": p.crop_from},
            "focal_px": {"value": p.focal_px, "from": p.focal_from},
            "facing": self.facing,
            "joints_3d_mm": _rounded(self.joints_3d_mm),
            "joints_2d_px": _rounded(self.joints_2d_px),
            "joints_2d_spread_px": _rounded(self.spread_px),
            "warnings": p.doubts,
        }


class Predictor:
    """A trained model, ready for images of any size.

    Args:
        model: folder written by ``skelift train``; None takes the weights that ship.
        device: where PyTorch runs.
        runtime: ``torch``, or ``onnx`` for the exported graph (``model.onnx`` in the folder).
        threads: threads of an ONNX forward pass.
        limits: what an encoded image may cost.
        background: what a call does with an image's background unless it says otherwise.

    Attributes:
        skeleton: names and order of the joints.
        card: content of the model's ``model.json``.
        prepare: ``prepare_image`` for this model.

    Raises:
        InputError: the folder is not a model.
    """

    def __init__(
        self,
        model: str | PathLike[str] | None = None,
        device: str = "cpu",
        *,
        runtime: RuntimeName = "torch",
        threads: int = 1,
        limits: Limits | None = None,
        background: str = KEEP,
    ) -> None:
        if background not in OF_ONE_IMAGE:
            raise InputError(f"background {background}: choose one of {', '.join(OF_ONE_IMAGE)}")
        self._background = background
        if runtime not in NAMES:
            raise InputError(f"runtime {runtime}: choose one of {', '.join(NAMES)}")
        folder = SHIPPED if model is None else model_folder(model)
        self._limits = limits or Limits()
        self._run: Runtime
        if runtime == "onnx":
            self.card, self.skeleton = load_card(folder)
            self._run = OnnxRuntime(folder / GRAPH, threads)
        else:
            where = usable_device(device)
            pipeline, self.card = load_model(folder, where)
            self.skeleton = pipeline.core.skeleton
            self._run = TorchRuntime(pipeline, where)
        self.prepare = partial(prepare_image, self.card)

    def __call__(
        self,
        image: str | PathLike[str] | ImageArray,
        *,
        mask: str | PathLike[str] | NDArray[Any] | None = None,
        box: Box | None = None,
        focal_px: float | None = None,
        background: str | None = None,
        camera: Camera | None = None,
        facing: Facing | None = None,
    ) -> Prediction:
        """The pose of one body in one image; see ``prepare_image`` for how the body is found.

        Args:
            image: a file, or an (H, W, 3) uint8 RGB array.
            mask: a file, or an (H, W) array; None: the alpha channel of an image file, if any.
            box: x and y of the upper left corner, width and height, in pixels.
            focal_px: focal length in pixels of the image, where it is known.
            background: ``keep``, ``person`` to cut the person out by a small network, ``remove``
                to cut the body out by its colours; None: the predictor's own.
            camera: the calibrated camera (``skelift.data.cameras.read_cameras``), in place of
                ``focal_px``.
            facing: ``front`` or ``back`` where it is known that the body faces the camera, or
                faces away; None: the model tells.

        Warns:
            UserWarning: the mask cannot be a body's, nothing marks the body, or the focal length
                cannot be in pixels.

        Raises:
            InputError: a file is missing or broken, or an argument cannot be used.
        """
        name = f"{image}: " if isinstance(image, str | PathLike) else ""
        own: Path | None = None
        alpha: NDArray[Any] | None = None
        if isinstance(image, str | PathLike):
            own = Path(image)
            pixels, alpha = read_masked_image(own)
        else:
            pixels = image
        check_image(pixels)
        if isinstance(mask, str | PathLike):
            file = Path(mask)
            mask = read_mask(file, like=pixels)
            if own and fits_two_ways(own, file):
                warnings.warn(f"{file}: {TWO_WAYS}", stacklevel=2)
        mask, source = (alpha, ALPHA) if mask is None else (mask, GIVEN)
        background = background or self._background
        try:
            prepared = self.prepare(pixels, mask, box, focal_px, background, camera, source, facing)
        except InputError as error:
            raise InputError(f"{name}{error}") from None
        for doubt in prepared.doubts:
            warnings.warn(f"{name}{doubt}", stacklevel=2)
        return self.predict([prepared])[0]

    def prepare_query(self, query: Query) -> PreparedImage:
        """Decode and crop one image of an untrusted client; RequestError says what is wrong."""
        image, mask = decode_image(query.image, self._limits)
        source = ALPHA
        if query.mask is not None:
            mask, source = decode_mask(query.mask, image, self._limits), GIVEN
        try:
            return self.prepare(
                image,
                mask,
                query.box,
                query.focal_px,
                query.background,
                mask_from=source,
                facing=query.facing,
            )
        except RequestError:
            raise
        except InputError as error:
            raise RequestError(400, "no_body", str(error)) from None

    def predict(self, images: Sequence[PreparedImage]) -> list[Prediction]:
        """Poses of prepared images, as one batch; InputError without images."""
        if not images:
            raise InputError("no images given; prepare at least one")
        inputs = Inputs(
            np.stack([p.x for p in images]),
            np.stack([p.crop.as_array() for p in images]),
            np.array([[p.focal_px] for p in images], dtype=np.float32),
            np.array([_LOG_ODDS[p.facing] for p in images], dtype=np.float32),
        )
        poses = self._run(inputs)
        return [_in_image(Prediction(*of)) for of in zip(*poses, images, strict=True)]

    def answer(self, named: Sequence[tuple[str, Prediction]]) -> dict[str, Any]:
        """The JSON answer for named predictions, with units, frame and joint names."""
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


def _in_image(prediction: Prediction) -> Prediction:
    """A pose found in a view, in the camera frame and in pixels of the image."""
    view = prediction.prepared.view
    if view is None:
        return prediction
    return replace(
        prediction,
        joints_3d_mm=view.turn_back(prediction.joints_3d_mm).astype(np.float32),
        joints_2d_px=view.to_image(prediction.joints_2d_px).astype(np.float32),
    )


def _rounded(numbers: NDArray[np.float32]) -> Any:
    return np.round(numbers.astype(float), 2).tolist()
