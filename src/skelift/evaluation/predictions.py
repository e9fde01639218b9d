"""Predictions of a pipeline for every image of a split."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from skelift.data.format import Split
from skelift.data.takes import TAKE, films, takes
from skelift.errors import InputError
from skelift.film import Sight, agreed_front, steady_pose, windows
from skelift.models.pipeline import PosePipeline, Poses


@dataclass(frozen=True)
class Predicted:
    """What a pipeline predicts for N images."""

    joints_2d: NDArray[np.float32]  # (N, J, 2) pixels of the crop
    joints_3d_mm: NDArray[np.float32]  # (N, J, 3) root-relative, camera frame, of a typical size
    front_log_odds: NDArray[np.float32] | None = None  # (N,) that bodies face the camera


def predict_split(
    pipeline: PosePipeline, split: Split, device: torch.device, batch: int
) -> Predicted:
    """Predict every image of a split; ``pipeline`` in evaluation mode."""
    joints_2d, joints_3d, front = [], [], []
    for start in range(0, len(split), batch):
        rows = np.arange(start, min(start + batch, len(split)))
        poses = predict_rows(pipeline, split, rows, device)
        joints_2d.append(_in_crop(poses.joints_2d_px.cpu(), split, rows))
        joints_3d.append(poses.joints_3d_mm.cpu())
        front.append(poses.front_log_odds.cpu())
    return Predicted(
        np.concatenate(joints_2d).astype(np.float32),
        torch.cat(joints_3d).numpy(),
        torch.cat(front).numpy(),
    )


def steadied(
    pipeline: PosePipeline, split: Split, predicted: Predicted, device: torch.device, fps: float
) -> Predicted:
    """The same, steadied over time as ``predict`` does in videos (``skelift.film``).

    ``fps`` is the number of frames per second by which the samples number theirs. Images of
    calibrated cameras are steadied in the views that they were cut from, which follow the body.

    Raises:
        InputError: the model does not tell front from back, or no images are those of a film.
    """
    if not films(split.samples).any():
        raise InputError(
            f"evaluate.film_fps: the images of {split.folder} are photos, not frames of a film "
            "(fewer than 8 of a clip and camera, or the body is anywhere from one to the next); "
            "leave it out"
        )
    odds = predicted.front_log_odds
    if odds is None or np.isnan(odds).any():
        raise InputError(
            "evaluate.film_fps: the model does not tell front from back, so its poses are not "
            "steadied over time; leave it out"
        )
    front = odds > 0
    for row, now, near in _films(split, predicted, front, fps):
        front[row] = agreed_front(now, near)
    joints_2d, joints_3d = predicted.joints_2d.copy(), predicted.joints_3d_mm.copy()
    changed = np.flatnonzero(front != (odds > 0))
    if len(changed):
        facing = np.where(front[changed], np.inf, -np.inf)
        poses = predict_rows(pipeline, split, changed, device, facing)
        joints_2d[changed] = _in_crop(poses.joints_2d_px.cpu(), split, changed)
        joints_3d[changed] = poses.joints_3d_mm.cpu()
    predicted = Predicted(joints_2d, joints_3d, odds)
    steady_2d, steady_3d = joints_2d.copy(), joints_3d.copy()
    for row, now, near in _films(split, predicted, front, fps):
        y, steady_3d[row] = steady_pose(now, near)
        steady_2d[row] = _in_crop(y[None], split, np.array([row]))[0]
    return Predicted(steady_2d, steady_3d, odds)


@torch.no_grad()
def predict_rows(
    pipeline: PosePipeline,
    split: Split,
    rows: NDArray[np.int64],
    device: torch.device,
    facing_prior: ArrayLike | None = None,
) -> Poses:
    """Poses of some images of a split, 2D joints in pixels of the source image.

    ``facing_prior`` (n,): see ``PosePipeline``.
    """
    samples = split.samples[rows]
    given = split.images[rows], samples["crop"], samples["focal"][:, :1]
    crop_rgb, crop_box, focal = (torch.from_numpy(np.array(a)).to(device) for a in given)
    known = None if facing_prior is None else torch.as_tensor(facing_prior).to(focal)
    return pipeline(crop_rgb, crop_box, focal, known)


def skeleton_images(
    pipeline: PosePipeline, split: Split, rows: NDArray[np.int64], device: torch.device
) -> NDArray[np.float32]:
    """(n, C, S, S) skeleton images Phi(x) of the given rows, clipped to [0, 1]."""
    s = predict_rows(pipeline, split, rows, device).skeleton_image
    return s.clamp(0, 1).float().cpu().numpy()


def _films(
    split: Split, predicted: Predicted, front: NDArray[np.bool_], fps: float
) -> Iterator[tuple[int, Sight, list[Sight]]]:
    """Each row that is of a film, what it shows, and what the rows around show."""
    assert predicted.front_log_odds is not None
    samples = split.samples
    crop = samples["crop"].astype(np.float64)
    in_image = (predicted.joints_2d / split.images.shape[1] - 0.5) * crop[:, None, 2:]
    columns = zip(
        samples["frame"] / fps,
        crop,
        predicted.front_log_odds,
        front.copy(),
        in_image + crop[:, None, :2],
        predicted.joints_3d_mm,
        strict=True,
    )
    sights, of_film = [Sight(*of) for of in columns], films(samples)
    for rows in takes(samples, (*TAKE, "person")):
        film = windows(
            [(row, sights[row]) for row in rows if of_film[row]], lambda each: each[1].time_s
        )
        for (row, now), near in film:
            yield row, now, [sight for _, sight in near]


def _in_crop(joints_px: ArrayLike, split: Split, rows: NDArray[np.int64]) -> NDArray[np.float64]:
    """2D joints (n, J, 2) in pixels of the source image -> in pixels of the crops of rows."""
    crop = split.samples["crop"][rows].astype(np.float64)[:, None]
    in_crop: NDArray[np.float64] = (np.asarray(joints_px) - crop[..., :2]) / crop[..., 2:] + 0.5
    return in_crop * split.images.shape[1]
