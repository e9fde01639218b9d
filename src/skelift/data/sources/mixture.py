"""One data set out of finished ones: images of some, the prior of one, the test of one.

Images are not copied where the file system can link them.
"""

import os
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from skelift.config import Config
from skelift.data.format import Dataset, DatasetInfo, Split, recorded, write_dataset
from skelift.data.motion_cue import radial_motion_of, steady_motion_of
from skelift.errors import InputError

COLUMNS = ("samples", "joints_2d", "joints_3d_mm")


def prepare(config: Config) -> Path:
    """Make the data set of ``config.data.mix`` at ``config.paths.data``.

    The skeleton's bone lengths are the prior's, its evaluated joints the test set's.

    Raises:
        InputError: a data set is missing, or they do not fit one another.
    """
    mix, out = config.data.mix, Path(config.paths.data)
    assert mix is not None
    for option in ("train", "prior", "test"):
        if not getattr(mix, option):
            raise InputError(f"data.mix.{option}: not set; name the folder of a finished data set")
    train, prior, test = [Dataset(f) for f in mix.train], Dataset(mix.prior), Dataset(mix.test)
    roles = [("Training images", data) for data in train]
    roles += [("Prior", prior), ("Test images", test)]
    sets = [data for _, data in roles]
    _check_fit(config, sets)
    info = DatasetInfo(
        name=config.data.name,
        skeleton=replace(prior.skeleton, evaluated=test.skeleton.evaluated),
        size=config.data.size,
        margin=config.data.margin,
        synthetic=any(data.info.synthetic for data in sets),
        provenance=" ".join(f"{role}: {data.info.provenance}" for role, data in roles),
        licence="; ".join(dict.fromkeys(data.info.licence for data in sets)),
        details={"mix": recorded(mix)},
    )
    with write_dataset(out, info) as writer:
        for name, parts in (("train", train), ("test", [test])):
            splits = [data.split(name) for data in parts]
            _join(splits, writer.folder / name)
            writer.counts[name] = sum(map(len, splits))
        writer.write_prior(prior.prior.poses_2d, prior.prior.samples)
    return out


def _join(splits: Sequence[Split], folder: Path) -> None:
    """Link the images of several splits into one folder, and join their columns."""
    folder.mkdir()
    for kind in ("images", "masks"):
        shards = [path for split in splits for path in sorted(split.folder.glob(f"{kind}-*.npy"))]
        for number, path in enumerate(shards):
            _link(path, folder / f"{kind}-{number:05d}.npy")
    for name in COLUMNS:
        columns = [getattr(split, name) for split in splits]
        # Known of all, or of none: a column has a row for each image.
        if all(column is not None for column in columns):
            np.save(folder / f"{name}.npy", np.concatenate(columns))
    # Read off each by itself: two sets may have persons and clips of the same names.
    for name, motion_of in (
        ("radial_motion", radial_motion_of),
        ("steady_motion", steady_motion_of),
    ):
        np.save(folder / f"{name}.npy", np.concatenate([motion_of(split) for split in splits]))


def _link(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except OSError:  # another file system, or one without links
        shutil.copyfile(source, target)


def _check_fit(config: Config, sets: Sequence[Dataset]) -> None:
    wanted = (config.body.joints, config.data.size, config.data.margin)
    for data in sets:
        found = (data.skeleton.joints, data.info.size, data.info.margin)
        if found != wanted:
            raise InputError(
                f"{data.folder}: has {len(found[0])} joints, size {found[1]}, margin {found[2]}, "
                f"the mixture {len(wanted[0])}, {wanted[1]} and {wanted[2]}; make both alike"
            )
