"""Typed configuration, composed by Hydra from the groups in ``skelift/conf``.

One ``Config`` is the whole record of a run; every stage takes it and reads its own part.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, fields, is_dataclass, replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any, get_args, get_type_hints

from skelift.errors import InputError
from skelift.skeleton import Skeleton

GROUPS = (
    "experiment",
    "skeleton",
    "data",
    "flow",
    "model",
    "loss",
    "train",
    "evaluate",
    "sweep",
    "storage",
)
VARIED = ("model", "loss", "train")  # groups that a variant may choose


@dataclass
class Paths:
    """Folders that the stages read and write."""

    data: str
    flow: str
    checkpoints: str
    model: str
    reports: str


@dataclass
class CameraConfig:
    """Cameras of rendered data: around the body, aimed near its root."""

    distance_m: list[float] = field(default_factory=lambda: [4.0, 6.0])  # uniform
    # Uniform; at 0 the body at rest looks into the camera, or shows it the palm.
    azimuth_deg: list[float] = field(default_factory=lambda: [0.0, 360.0])
    elevation_deg: list[float] = field(default_factory=lambda: [8.0, 6.0])  # mean, std; + is above
    aim_deg: float = 3.0  # std of the angle, across and down, by which the aim misses the root
    focal_px: float = 1145.0
    source_size: int = 1000


@dataclass
class SynthConfig:
    """What ``skelift prepare`` renders.

    ``bodies`` and ``motion`` name a file, or ``assets`` for those inside the package; ``motion``
    may also be a folder of BVH files.
    """

    kind: str = "people"  # people | hands
    bodies: str = "assets"
    motion: str = "assets"
    train: int = 12000
    test: int = 2000
    prior: int = 20000
    test_persons: float = 0.25  # fraction of the bodies kept for the test split
    # Shares of the clips: train, test, prior.
    clips: list[float] = field(default_factory=lambda: [0.45, 0.15, 0.4])
    # New poses from the captured ones of the same split: the chance of another frame's upper body
    # on a frame's legs, the chance of mirroring, and the std by which each joint is bent.
    mix: float = 0.0
    mirror: float = 0.0
    wobble_deg: float = 0.0
    fps: float = 12.0  # frames a second that are kept of BVH files
    camera: CameraConfig = field(default_factory=CameraConfig)
    workers: int = 0  # 0: one a core


@dataclass
class FolderConfig:
    """Images that ``skelift prepare`` turns into a data set, and the unpaired 2D poses."""

    images: str = ""  # folder of images or videos (sub-folders too), or a video file
    # What sub-folders, and a video's own name, stand for, from the outermost in: any of
    # person, clip, camera, activity, as in person/clip/camera.
    layout: str = "clip"
    masks: str = ""  # folder of masks in the same tree, same stems; empty: see background
    # keep: it is black already; median, subtractor: the camera is static, the body moves.
    background: str = "keep"
    # COCO keypoints .json, DeepLabCut .csv or .h5, .npz (poses_2d [, joints, clip]), or the folder
    # of another data set.
    poses: str = ""
    # Joints of an .npz without names: coco17 | openpose25 | h36m17 | mpi17 | mpi28; empty: those of
    # the skeleton.
    joints: str = ""
    focal_px: float = 0.0  # in pixels of the source images; 0: unknown
    test_fraction: float = 0.1  # by person where known, else by clip; of a single clip, its end
    every: int = 1  # keep every n-th frame
    provenance: str = ""
    licence: str = ""


@dataclass
class SourceConfig:
    """A public data set on disk, as docs/datasets.md lays it out."""

    root: str = ""  # the folder with the unpacked archives
    workers: int = 0  # processes; 0: one a core
    prior: float = 0.5  # share of each training clip, its end, that gives 2D poses and no image


@dataclass
class H36mConfig(SourceConfig):
    """Human3.6M; its official archives, or KeypointGAN's simplified copy, whichever root holds."""

    every: int = 1  # keep every n-th training frame ...
    test_every: int = 1  # ... and test frame
    boxes: str = "masks"  # masks: the data set's bounding boxes | joints: around the 2D joints


@dataclass
class Mpi3dhpConfig(SourceConfig):
    """MPI-INF-3DHP: root holds S1 to S8 and mpi_inf_3dhp_test_set."""

    every: int = 1  # keep every n-th training frame ...
    test_every: int = 1  # ... and valid test frame
    universal: bool = True  # 3D poses at the size of the data set's universal skeleton
    chair: bool = False  # leave the chair in the image
    # Training sequences for which the data set has no masks: skip them, or cut the body out by a
    # median over time, as is always done for the test sequences.
    unmasked: str = "skip"  # skip | median


@dataclass
class HandDbConfig(SourceConfig):
    """HandDB's synthetic hands: root holds hand_labels_synth."""

    sequences: list[str] = field(default_factory=lambda: ["synth2", "synth3"])
    test: float = 0.2  # share of each sequence, its end, for testing
    rotations_deg: list[float] = field(default_factory=lambda: [45.0, 90.0])  # training copies
    background: str = "grabcut"  # grabcut | black: it is black already


@dataclass
class MixConfig:
    """Finished data sets (folders) that one is put together from."""

    train: list[str] = field(default_factory=list)
    prior: str = ""
    test: str = ""


@dataclass
class DataConfig:
    """A data set: its form, and where it comes from."""

    name: str
    size: int = 128
    margin: float = 0.13
    seed: int = 0
    synth: SynthConfig | None = None
    folder: FolderConfig | None = None
    h36m: H36mConfig | None = None
    mpi_inf_3dhp: Mpi3dhpConfig | None = None
    handdb: HandDbConfig | None = None
    mix: MixConfig | None = None


@dataclass
class FlowConfig:
    """Normalising flow over 2D poses (Eq. 7-8): RealNVP on PCA coefficients."""

    pca: int = 26
    blocks: int = 8
    hidden: int = 1024
    steps: int = 2500
    batch: int = 256
    learning_rate: float = 1e-4
    weight_decay: float = 1e-5
    noise: float = 0.0  # std of Gaussian noise on the input, in units of the root-to-head length
    mirror: bool = True  # also train on mirrored poses
    held_out: float = 0.1  # fraction of the prior's clips that judge the flow
    seed: int = 0


@dataclass
class ModelConfig:
    """Phi, Omega, D and Lambda."""

    width: int = 32  # channels of the first stage of Phi and Omega
    disc_width: int = 64
    disc_scales: int = 3
    lifter_width: int = 1024
    # A network that tells front from back by the head, when all else is trained; a departure. Its
    # teacher is who comes nearer in films, and Omega has to name sides from behind.
    facing: bool = False
    # A network that gives the likely pose near Omega's, taught by the unpaired poses when all else
    # is trained; a departure.
    refine: bool = False
    flip_test: bool = False  # read the mirrored image, too, when not training; twice the time
    channels: str = "single"  # single | sides: one skeleton channel, or one a body side
    # Where Lambda's elevation starts; positive: the camera is above and looks down. A departure: at
    # 0 chance decides between the body and its mirror image in depth.
    elevation_deg: float = 0.0
    units: str = "camera"  # camera | crop: coordinates that Lambda and the flow see
    gamma: float = 25.0  # kappa's fall-off
    squared: bool = False  # kappa: exp(-gamma d^2) instead of exp(-gamma d)


@dataclass
class LossConfig:
    """Weights of the terms of Eq. 12, and the forms that the paper leaves open or changes."""

    gan: float = 1.0
    omega: float = 1.0  # |Omega(kappa(u)) - u|^2 of Eq. 9
    render: float = 0.1  # lambda of Eq. 9
    l2d: float = 1.0
    l3d: float = 1.0
    deformation: float = 1.0
    flow: float = 1.0
    bones: float = 1.0
    sigma_b: float = 0.1
    # Departures from the paper; all off in loss=paper.
    gan_form: str = "log"  # log | least_squares
    norms: str = "squared"  # squared | elepose
    judge_redrawn: bool = False  # D judges kappa(y) instead of s
    canonical_sides: bool = False  # D and Omega learn from prior poses named as if seen from behind
    detach_skeleton: bool = False  # Eq. 9's second term moves Omega only
    silhouette: float = 0.0  # the drawn body covers the mask, and nothing else
    mirror: float = 0.0  # a mirrored image gives the mirrored pose
    cycle_weight_init: float = 1.0  # factor on L_base at the first step, falling to 1 ...
    cycle_weight_steps: int = 0  # ... geometrically, over so many steps
    lifted_prior: int = 0  # poses of the prior that Lambda also lifts, a step
    warm_up: int = 0  # steps before the poses of images are lifted at all ...
    ramp: int = 0  # ... steps over which the lifting losses' reach to Phi and Omega then grows ...
    reach: float = 1.0  # ... to this share of their gradient


@dataclass
class AugmentConfig:
    """Random changes of the training images, drawn anew each step; all off by default."""

    flip: float = 0.0  # chance that an image is mirrored
    brightness: float = 0.0  # an image is multiplied by a number uniform in 1 -+ this ...
    colour: float = 0.0  # ... and each of its colour channels by one of 1 -+ this


@dataclass
class TrainConfig:
    """The training loop."""

    steps: int = 2000
    batch: int = 16
    shares: int = 1  # sum over the batch in so many parts, as so many processes would
    learning_rate: float = 2e-4
    betas: list[float] = field(default_factory=lambda: [0.5, 0.999])
    disc_learning_rate: float = 2e-4
    lifter_learning_rate: float = 2e-4
    lifter_weight_decay: float = 0.0
    lifter_epoch_decay: float = 1.0  # factor on Lambda's learning rate each epoch, besides decay
    decay: float = 1.0  # learning rates at the last step, as a fraction of the first
    clip: float = 1.0  # gradient norm per optimiser; 0: off
    ema: float = 0.0  # decay of the averaged weights that are saved; 0: off
    # A finished model, of images of any size, whose weights a run starts from: its folder, or
    # `shipped`, the one in the package. Empty: at random.
    start: str = ""
    # Of 64 images, for model.facing, when all else is trained; 0: as the start has it.
    facing_steps: int = 1500
    refine_steps: int = 4000  # of 256 unpaired poses, for model.refine, when all else is trained
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    precision: str = "auto"  # auto | fp32 | bf16: of the image networks
    compile: str = "auto"  # auto | on | off: torch.compile (auto: on a CUDA device)
    device: str = "auto"
    interval: int = 50  # steps a line of statistics
    dvclive: bool = True  # curves for dvc plots
    checkpoint_every: int = 200
    # Steps between the weights that are kept beside the checkpoint, for `evaluate` to score the
    # course of a run on the same machine; 0: none.
    snapshot_every: int = 0
    # Snapshots without a better label-free score (on training images) after which a run ends; the
    # best is the model. 0: it takes all its steps, and the last weights are the model.
    patience: int = 0
    seed: int = 0


@dataclass
class EvaluateConfig:
    """Rows of the score table that are trained beside the model, on the same data."""

    batch: int = 256
    baselines: list[str] = field(
        default_factory=lambda: [
            "mean_pose",
            "supervised_lifter",
            "unsupervised_lifter",
            "supervised_image",
        ]
    )
    lifter_steps: int = 1500
    lifter_batch: int = 256
    unsupervised_steps: int = 3000
    unsupervised_batch: int = 64
    image_steps: int = 1000
    image_batch: int = 32
    learning_rate: float = 1e-3
    cycle_weight_init: float = 50.0  # of the unsupervised lifter; see docs/experiments.md
    shown: int = 12  # test images in the report, and as many of the worst
    snapshot_images: int = 1000  # of a split, that snapshots are scored on


@dataclass
class StorageConfig:
    """Where stages keep their folders besides the local disk."""

    # s3://BUCKET/PREFIX: what a stage reads is pulled first, what it writes is pushed.
    uri: str = ""


@dataclass
class RangeConfig:
    """Values of one key that a sweep tries: from ``low`` to ``high``, or one of ``choices``."""

    low: float | None = None
    high: float | None = None
    log: bool = False
    integer: bool = False
    choices: list[Any] = field(default_factory=list)


@dataclass
class SweepConfig:
    """Search for better weights of the losses, learning rates or widths."""

    trials: int = 20
    space: dict[str, RangeConfig] = field(default_factory=dict)  # key -> values
    overrides: list[str] = field(default_factory=list)  # of each trial; the winner drops them
    # label_free, or a metric of the held-out truth (p_mpjpe_mm, ...); lower is better.
    score: str = "label_free"
    held_out: float = 0.2  # share of the training clips that judges the trials
    reports: int = 4  # scores in the course of a trial, by which the search may stop it
    seed: int = 0
    trial: int | None = None  # run this trial alone; 0 is the configuration as it stands
    results: list[str] = field(default_factory=list)  # trials run elsewhere: name the winner


@dataclass
class Config:
    """The whole record of a run."""

    name: str
    paths: Paths
    skeleton: Any  # the skeleton's YAML mapping; see ``body``
    data: DataConfig
    flow: FlowConfig
    model: ModelConfig
    loss: LossConfig
    train: TrainConfig
    evaluate: EvaluateConfig
    storage: StorageConfig = field(default_factory=StorageConfig)
    sweep: SweepConfig = field(default_factory=SweepConfig)
    # Name -> overrides: train and evaluate make one model each (ablations, seeds, sweeps). Among
    # them a whole group of ``VARIED``: ``loss=paper``.
    variants: dict[str, list[str]] = field(default_factory=dict)

    @property
    def body(self) -> Skeleton:
        """The skeleton, checked."""
        return Skeleton.from_mapping(self.skeleton)

    def each_variant(self) -> Iterator[tuple[str, "Config"]]:
        """The run itself, or each of its variants with folders of its own."""
        if not self.variants:
            yield "", self
        for name, overrides in self.variants.items():
            yield name, _vary(self, name, overrides)


def compose(overrides: Sequence[str] = (), file: Path | None = None) -> Config:
    """Compose and check a configuration.

    Args:
        overrides: Hydra overrides, e.g. ``experiment=paper train.steps=100``. A plain word names
            a data set: ``h36m`` is ``data=h36m``.
            ``skeleton=FILE.yaml`` takes a skeleton of one's own.
        file: a composed configuration (what ``--cfg job`` prints) to start from instead of
            the configuration groups; overrides are then plain ``key=value``.

    Raises:
        InputError: unknown key, group or file, or a value of the wrong type.
    """
    from hydra.errors import HydraException
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    overrides = [f"data={word}" if word.isidentifier() else word for word in overrides]
    try:
        raw = _from_file(file, overrides) if file else _from_groups(overrides)
        config = OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(Config), raw))
        assert isinstance(config, Config)
        # A bad skeleton or variant is reported here, before any stage starts.
        _ = config.body, list(config.each_variant())
    except (HydraException, OmegaConfBaseException) as error:
        raise InputError(f"{file or 'configuration'}: {_explain(error)}") from None
    return config


def vary(config: Config, overrides: Sequence[str]) -> Config:
    """The configuration with overrides ``key=value``; InputError for a bad key or value."""
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    try:
        return _merge(config, OmegaConf.from_dotlist(list(overrides)))
    except OmegaConfBaseException as error:
        raise InputError(_explain(error)) from None


def _vary(config: Config, name: str, overrides: Sequence[str]) -> Config:
    from omegaconf import OmegaConf

    own = {
        "variants": {},
        "paths": {
            "model": f"{config.paths.model}/{name}",
            "checkpoints": f"{config.paths.checkpoints}/{name}",
        },
    }
    alone = replace(config, variants={})
    groups = {o.partition("=")[0]: o for o in overrides if o.partition("=")[0] in GROUPS}
    if fixed := sorted(set(groups) - set(VARIED)):
        raise InputError(
            f"variants.{name}: {groups[fixed[0]]}: of whole groups a variant may choose "
            f"{', '.join(VARIED)}"
        )
    keys = [o for o in overrides if o not in groups.values()]
    if groups:
        composed = _from_groups(list(groups.values()))
        own |= {group: composed[group] for group in groups}
    return _merge(alone, OmegaConf.create(own), OmegaConf.from_dotlist(keys))


def _merge(config: Config, *changes: Any) -> Config:
    from omegaconf import OmegaConf

    merged = OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(config), *changes))
    assert isinstance(merged, Config)
    return merged


def to_yaml(config: Config) -> str:
    """The composed configuration, as ``--cfg job`` prints it."""
    from omegaconf import OmegaConf

    return OmegaConf.to_yaml(OmegaConf.structured(config))


def _from_groups(overrides: Sequence[str]) -> Any:
    from hydra import compose as hydra_compose
    from hydra import initialize_config_module
    from hydra.core.config_store import ConfigStore
    from omegaconf import OmegaConf

    ConfigStore.instance().store(name="schema", node=Config)
    own = [o.removeprefix("skeleton=") for o in overrides if _is_own_skeleton(o)]
    with initialize_config_module("skelift.conf", version_base="1.3"):
        composed = hydra_compose("config", [o for o in overrides if not _is_own_skeleton(o)])
    OmegaConf.set_struct(composed, False)
    composed.pop("experiment", None)
    if own:
        composed.skeleton = _load_yaml(Path(own[-1]))
    # A plain container: with its types, a key that no dataclass knows would be dropped unnoticed.
    return OmegaConf.to_container(composed, resolve=True)


def _is_own_skeleton(override: str) -> bool:
    return override.startswith("skeleton=") and override.endswith((".yaml", ".yml"))


def _from_file(file: Path, overrides: Sequence[str]) -> Any:
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from omegaconf import OmegaConf

    raw = _load_yaml(file)
    for override in OverridesParser.create().parse_overrides(list(overrides)):
        key, value = override.key_or_group, override.value()
        if key in GROUPS and isinstance(value, str):
            raise InputError(
                f"{override.input_line}: {file} is composed already; compose another with "
                f"`skelift train --cfg job {override.input_line} > FILE`"
            )
        OmegaConf.update(raw, key, value, force_add=True)
    return raw


def _load_yaml(file: Path) -> Any:
    from omegaconf import OmegaConf
    from yaml import YAMLError

    try:
        content = OmegaConf.load(file)
    except FileNotFoundError:
        raise InputError(f"{file}: not found; name an existing YAML file") from None
    except (YAMLError, OSError) as error:
        raise InputError(f"{file}: no readable YAML ({_one_line(error)})") from None
    if not OmegaConf.is_dict(content):
        raise InputError(f"{file}: no mapping; give lines of `key: value`")
    return content


def _explain(error: Exception) -> str:
    """One line that says which key or choice is wrong, and which ones there are."""
    from hydra.errors import MissingConfigException
    from omegaconf.errors import ConfigAttributeError, ConfigKeyError, OmegaConfBaseException

    cause = error.__cause__ if isinstance(error.__cause__, OmegaConfBaseException) else error
    if isinstance(cause, MissingConfigException) and cause.options:
        return f"no {cause.missing_cfg_file}; there are {', '.join(cause.options)}"
    if isinstance(cause, ConfigAttributeError | ConfigKeyError) and cause.full_key:
        near = get_close_matches(cause.full_key, list(_keys(Config)))
        hint = f"did you mean {' or '.join(near)}?" if near else "--cfg job prints all keys"
        return f"no key {cause.full_key}; {hint}"
    if isinstance(cause, OmegaConfBaseException) and cause.full_key:
        return f"{cause.full_key}: {str(cause).splitlines()[0]}"
    return _one_line(cause).split(" See https")[0]


def _keys(kind: Any) -> Iterator[str]:
    """Dotted names of all keys of a configuration dataclass."""
    hints = get_type_hints(kind)
    for name in (item.name for item in fields(kind)):
        yield name
        for nested in filter(is_dataclass, (hints[name], *get_args(hints[name]))):
            yield from (f"{name}.{key}" for key in _keys(nested))


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())
