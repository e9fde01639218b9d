"""What keys must be together, where the configuration alone decides it."""

from itertools import pairwise

from skelift.config.schema import Config
from skelift.errors import InputError

SOURCES = ("synth", "folder", "h36m", "mpi_inf_3dhp", "handdb", "mix")


def check_relations(config: Config) -> None:
    """InputError with the first relation between keys that does not hold."""
    for holds, message in (*_of_data(config), *_of_training(config)):
        if not holds:
            raise InputError(message)


def _of_data(c: Config) -> list[tuple[bool, str]]:
    smallest = 24 * 2 ** (c.model.disc_scales - 1)  # where the coarsest PatchGAN has room
    sources = [name for name in SOURCES if getattr(c.data, name) is not None]
    coordinates = 2 * len(c.body) - 2  # of root-relative 2D poses
    relations = [
        (
            c.data.size % 8 == 0 and c.data.size >= smallest,
            f"data.size={c.data.size}: must be a multiple of 8, and {smallest} or more with "
            f"model.disc_scales={c.model.disc_scales}",
        ),
        (
            len(sources) < 2,
            f"data: has {' and '.join(sources)}; keep one, and set the others to null",
        ),
        (
            c.flow.pca <= coordinates,
            f"flow.pca={c.flow.pca}: must be {coordinates} or less, the coordinates of skeleton "
            f"{c.body.name} that vary",
        ),
    ]
    if c.data.synth:
        camera = c.data.synth.camera
        relations += [
            (_rises(camera.distance_m), "data.synth.camera.distance_m: the smaller must be first"),
            (
                _rises(camera.azimuth_deg),
                "data.synth.camera.azimuth_deg: the smaller must be first",
            ),
            (
                camera.elevation_deg[1] >= 0,
                "data.synth.camera.elevation_deg: its std must be 0 or more",
            ),
        ]
    return relations


def _of_training(c: Config) -> list[tuple[bool, str]]:
    train = c.train
    return [
        (
            train.snapshot_every % train.interval == 0,
            f"train.snapshot_every={train.snapshot_every}: must be a multiple of "
            f"train.interval={train.interval}",
        ),
        (
            not train.patience or bool(train.snapshot_every),
            f"train.patience={train.patience}: counts snapshots; set train.snapshot_every too",
        ),
        (
            not c.heads.front_back.enabled or c.loss.canonical_sides,
            "heads.front_back.enabled=true needs loss.canonical_sides=true: it swaps them",
        ),
    ]


def _rises(values: list[float]) -> bool:
    return all(low <= high for low, high in pairwise(values))
