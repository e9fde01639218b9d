"""The data set on disk, checked against the configuration that chose it."""

import sys
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from skelift.config import Config
from skelift.data.format import MADE_BY, SAMPLE, Dataset, Prior, Split
from skelift.errors import InputError


def chosen_dataset(config: Config) -> Dataset:
    """The data set of ``config.paths.data``, whose crops, cameras and unpaired poses are numbers.

    Raises:
        InputError: it is missing, another one than the configuration describes (skeleton,
            ``data.size``, ``data.name``), or a crop, a focal length or a pose cannot be.
    """
    data = Dataset(config.paths.data)
    for key, has, asked in (
        ("data.name", data.info.name, config.data.name),
        ("data.size", data.info.size, config.data.size),
        ("skeleton", data.skeleton.name, config.body.name),
    ):
        if has != asked:
            raise InputError(
                f"{data.folder}: a data set of {key}={has}, the configuration has {key}={asked}; "
                f"set {key}={has}, or name another paths.data"
            )
    if data.skeleton.joints != config.body.joints:
        raise InputError(
            f"{data.folder}: the joints of its skeleton {data.skeleton.name} are not those of the "
            "configuration's; choose the skeleton that it was made with"
        )
    for what in ("axis", "parts"):
        if getattr(data.skeleton, what) != getattr(config.body, what):
            raise InputError(
                f"{data.folder}: its skeleton {data.skeleton.name} and the configuration's differ "
                f"in {what}; choose the skeleton that it was made with, or prepare it again"
            )
    for part in _parts(data).values():
        _check_samples(part.folder / "samples.npy", part.samples)
    if data.has_prior:
        finite = np.asarray(np.isfinite(data.prior.poses_2d).all(axis=(1, 2)))
        _check_rows(data.prior.folder / "poses_2d.npy", ~finite, "a pose of NaN or infinity")
    if config.model.units == "camera" and (unknown := of_unknown_camera(data)):
        raise InputError(
            f"{data.folder}: {unknown} without a focal length; set model.units=crop, or prepare "
            "them again with one (data.folder.focal_px, `focal` of an .npz)"
        )
    return data


def note_other_truth(config: Config, data: Dataset) -> None:
    """Say on stderr that a truth file is not read, where the set was made with another one."""
    given = config.data.folder.truth if config.data.folder else ""
    asked = Path(given).name
    has = data.info.details.get("folder", {}).get("truth", "")
    if asked and asked != has:
        made = f"was prepared with {has}" if has else "was prepared without a truth file"
        print(
            f"{data.folder}: {made}, so data.folder.truth={given} is not read; "
            "prepare it again to use that",
            file=sys.stderr,
        )


def of_unknown_camera(data: Dataset) -> str:
    """What of a data set has no focal length, in words; empty if all has one."""
    unknown = {
        what: int(np.isnan(part.samples["focal"]).any(axis=1).sum())
        for what, part in _parts(data).items()
    }
    return ", ".join(f"{count} {what}" for what, count in unknown.items() if count)


def _parts(data: Dataset) -> dict[str, Split | Prior]:
    """What it has, under names for people; a set to evaluate on may have test images alone."""
    names = {"train": "training images", "test": "test images"}
    parts: dict[str, Split | Prior] = {names[name]: data.split(name) for name in data.splits}
    return parts | ({"unpaired poses": data.prior} if data.has_prior else {})


def _check_samples(file: Path, samples: NDArray[np.void]) -> None:
    if samples.dtype != SAMPLE:
        raise InputError(f"{file}: its records have other fields; recreate it with `{MADE_BY}`")
    crop, focal = samples["crop"], samples["focal"]
    no_crop = ~np.isfinite(crop).all(axis=1) | ~(crop[:, 2] > 0)
    _check_rows(file, no_crop, "a crop without a size")
    # NaN stands for an unknown camera.
    _check_rows(file, (np.isinf(focal) | (focal <= 0)).any(axis=1), "a focal length not above 0")


def _check_rows(file: Path, wrong: NDArray[np.bool_], fault: str) -> None:
    if wrong.any():
        raise InputError(
            f"{file}: {fault} in {wrong.sum()} of {len(wrong)} rows, the first is "
            f"{wrong.argmax()}; recreate it with `{MADE_BY}`"
        )
