"""What keys must be together, where the configuration alone decides it."""

from collections.abc import Iterator
from dataclasses import asdict
from operator import attrgetter
from pathlib import Path, PurePath

from skelift.config.schema import BodyConfig, Config, DataConfig, FolderConfig, TrainConfig
from skelift.errors import InputError

ASSETS = "assets"  # of ``data.synth``: in the package
# Sections of ``data``, and their keys that name files or folders.
SOURCES = {
    "synth": ("bodies", "motion"),
    "folder": ("images", "masks", "poses", "cameras", "truth", "body.region_masks"),
    "h36m": ("root",),
    "mpi_inf_3dhp": ("root",),
    "handdb": ("root",),
    "mix": ("train", "prior", "test"),
}
OF_IMAGES = ("gan", "omega", "render", "silhouette", "mirror", "painted", "moments", "heading")
WEIGHTS = (*OF_IMAGES, "l2d", "l3d", "deformation", "flow", "bones")

Relations = tuple[tuple[object, str], ...]  # whether each holds, and what to say where it does not


def check_relations(c: Config) -> None:
    """InputError with the first relation between keys that does not hold."""
    for holds, message in (
        *_of_data(c),
        *_of_body(c.data.folder or FolderConfig()),
        *_of_flow(c),
        *_of_train(c.train),
        *_of_terms(c),
        *_of_paths(c),
        *_of_sides(c),
        *_of_lifting(c),
    ):
        if not holds:
            raise InputError(message)


def _of_data(c: Config) -> Relations:
    smallest = 24 * 2 ** (c.model.disc_scales - 1)  # where the coarsest PatchGAN has room
    sources = [name for name in SOURCES if getattr(c.data, name) is not None]
    return (
        (
            c.data.size % 8 == 0 and c.data.size >= smallest,
            f"data.size={c.data.size}: must be a multiple of 8, and {smallest} or more with "
            f"model.disc_scales={c.model.disc_scales}",
        ),
        (
            len(sources) < 2,
            f"data: has {' and '.join(sources)}; keep one, and set the others to null",
        ),
    )


def _of_body(folder: FolderConfig) -> Relations:
    body, section = folder.body, "data.folder.body"
    given = [key for key, value in asdict(body).items() if value != getattr(BodyConfig(), key)]
    odd = [name for name, corners in body.regions.items() if len(corners) < 4 or len(corners) % 2]
    low, high = body.colours
    return (
        (
            not given or body.contrast != "any",
            f"{section}.{'.'.join(given[:1])} has no effect with {section}.contrast=any; set "
            "contrast to darker or brighter",
        ),
        (
            not given or folder.background == "median",
            f"{section}.{'.'.join(given[:1])} has no effect with data.folder.background="
            f"{folder.background}; set data.folder.background=median",
        ),
        (
            not (body.regions and body.region_masks),
            f"{section}.regions and {section}.region_masks are both set; keep one",
        ),
        (
            not odd,
            f"{section}.regions: of {', '.join(odd)} are no corners; give x, y, x, y, ... of two "
            "or more",
        ),
        (
            all(a <= b for a, b in zip(low, high, strict=True)),
            f"{section}.colours={body.colours}: must be the lowest, then the highest R, G and B",
        ),
    )


def _of_flow(c: Config) -> Relations:
    coordinates = 2 * len(c.body) - 2  # of root-relative 2D poses
    return (
        (
            c.flow.pca is None or c.flow.pca <= coordinates,
            f"flow.pca={c.flow.pca}: must be {coordinates} or less, the coordinates of skeleton "
            f"{c.body.name} that vary",
        ),
    )


def _of_train(train: TrainConfig) -> Relations:
    return (
        (
            train.steps or train.start,
            "train.steps=0 keeps the core of a finished model and fits its heads; set train.start",
        ),
        (
            train.snapshot_every % train.interval == 0,
            f"train.snapshot_every={train.snapshot_every}: must be a multiple of "
            f"train.interval={train.interval}",
        ),
        (
            not train.patience or train.snapshot_every,
            f"train.patience={train.patience}: counts snapshots; set train.snapshot_every too",
        ),
        (
            not train.patience or train.snapshot_every <= train.steps,
            f"train.patience={train.patience}: counts snapshots, and train.snapshot_every="
            f"{train.snapshot_every} gives none in train.steps={train.steps}; lower it",
        ),
    )


def _of_terms(c: Config) -> Relations:
    """What the weights of the loss need."""
    loss = c.loss
    return (
        (
            not loss.heading or c.body.axis,
            f"loss.heading={loss.heading:g}: skeleton {c.body.name} has no axis; name its rear and "
            "front joint, or set 0",
        ),
        (
            any(getattr(loss, term) for term in WEIGHTS),
            f"loss: {', '.join(WEIGHTS)} are all 0, so nothing is trained; set one above 0",
        ),
        (
            loss.cycle_weight_init == 1 or loss.cycle_weight_steps,
            f"loss.cycle_weight_init={loss.cycle_weight_init:g}: has no effect with "
            "loss.cycle_weight_steps=0; set both, or neither",
        ),
    )


def _of_paths(c: Config) -> Relations:
    inside = _inside_data(c)
    return (
        *(
            (
                PurePath(name).name == name and "\\" not in name and name != "..",
                f"{key}={name}: becomes a folder's name, and is none; leave out / and \\",
            )
            for key, name in (("data.name", c.data.name), ("name", c.name))
        ),
        (
            not inside,
            f"paths.data={c.paths.data}: is replaced as a whole, and would take "
            f"{inside} with it; give each a folder of its own",
        ),
    )


def _of_sides(c: Config) -> Relations:
    """What left and right mean, and who may swap them."""
    return (
        (
            not c.loss.canonical_sides or not c.body.axis,
            "loss.canonical_sides=true names sides as if bodies stood and were seen from behind; "
            f"skeleton {c.body.name} has an axis: its bodies lie and show their sides; set it to "
            "false, with heads.front_back.enabled, heads.pose_facing.enabled and "
            "heads.joint_facing.enabled",
        ),
        *(
            (
                not head.enabled or c.loss.canonical_sides,
                f"heads.{name}.enabled=true needs loss.canonical_sides=true: it swaps them",
            )
            for name, head in (
                ("front_back", c.heads.front_back),
                ("pose_facing", c.heads.pose_facing),
                ("joint_facing", c.heads.joint_facing),
            )
        ),
    )


def _of_lifting(c: Config) -> Relations:
    """What Lambda learns from."""
    train, loss = c.train, c.loss
    return (
        (
            loss.lift_images_from is not None
            or bool(loss.lifted_prior)
            or not train.lifter_learning_rate,
            "loss.lift_images_from=null leaves Lambda without a loss; set loss.lifted_prior too",
        ),
        (
            not train.augment.turn_deg or loss.lift_images_from is None,
            "train.augment.turn_deg turns images that Lambda would lift upright; set "
            "loss.lift_images_from=null",
        ),
        (
            loss.lifted_prior != 1 or loss.lift_images_from == 0,
            "loss.lifted_prior=1: must be 0, or 2 or more: the losses compare poses",
        ),
    )


def _inside_data(c: Config) -> str:
    """Which of ``paths``, or of the inputs, is or lies in the folder of the data set, if one does.

    With its value where it is an input.
    """
    data = Path(c.paths.data).resolve()
    outputs = [(f"paths.{k}", path) for k, path in asdict(c.paths).items() if k != "data"]
    inputs = [(f"{key}={path}", path) for key, path in _inputs(c.data)]
    inside = (said for said, path in outputs + inputs if Path(path).resolve().is_relative_to(data))
    return next(inside, "")


def _inputs(data: DataConfig) -> Iterator[tuple[str, str]]:
    """Key and path of all that a data set is made of."""
    for section, keys in SOURCES.items():
        if not (source := getattr(data, section)):
            continue
        for key in keys:
            value = attrgetter(key)(source)
            paths = value if isinstance(value, list) else [value]
            given = (p for p in paths if p and (section, p) != ("synth", ASSETS))
            yield from ((f"data.{section}.{key}", path) for path in given)
