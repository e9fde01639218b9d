"""Typed configuration, composed by Hydra from the groups in ``skelift/conf``.

One ``Config`` is the whole record of a run; every stage takes it and reads its own part.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from skelift.errors import InputError
from skelift.skeleton import Skeleton


@dataclass
class Paths:
    """Folders that the stages read and write."""

    data: str
    flow: str
    model: str
    reports: str


@dataclass
class CameraConfig:
    """Cameras of rendered data: uniform azimuth around the body, aimed at its root."""

    distance_m: list[float] = field(default_factory=lambda: [4.0, 6.0])  # uniform
    elevation_deg: list[float] = field(default_factory=lambda: [8.0, 6.0])  # mean, std
    focal_px: float = 1145.0
    source_size: int = 1000


@dataclass
class SynthConfig:
    """What ``skelift synthesize`` renders.

    ``bodies`` and ``motion`` name a file, or ``assets`` for those inside the package; ``motion``
    may also be a folder of BVH files.
    """

    kind: str = "people"  # people | hands
    bodies: str = "assets"
    motion: str = "assets"
    train: int = 12000
    test: int = 2000
    prior: int = 20000
    camera: CameraConfig = field(default_factory=CameraConfig)
    workers: int = 0  # 0: one a core


@dataclass
class FolderConfig:
    """Pictures that ``skelift prepare`` turns into a data set, and the unpaired 2D poses."""

    images: str = ""  # folder of pictures, or a video file
    masks: str = ""  # folder of masks with the same stems; empty: see background
    poses: str = ""  # .npz (poses_2d [, names]) or COCO keypoints .json
    background: str = "keep"  # keep | median | subtractor: how a static camera's background goes
    focal_px: float = 0.0  # 0: unknown
    test_fraction: float = 0.1
    every: int = 1  # keep every n-th frame


@dataclass
class DataConfig:
    """A data set: its form, and where it comes from."""

    name: str
    size: int = 128
    margin: float = 0.13
    seed: int = 0
    synth: SynthConfig | None = None
    folder: FolderConfig | None = None


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
    patience: int = 0  # stop after so many evaluations without a better held-out NLL; 0: never
    seed: int = 0


@dataclass
class ModelConfig:
    """Phi, Omega, D and Lambda."""

    width: int = 32  # channels of the first stage of Phi and Omega
    disc_width: int = 64
    disc_scales: int = 3
    lifter_width: int = 1024
    channels: str = "single"  # single | sides: one skeleton channel, or one a body side
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
    detach_skeleton: bool = False  # Eq. 9's second term moves Omega only
    silhouette: float = 0.0  # the drawn body covers the mask, and nothing else
    mirror: float = 0.0  # a mirrored picture gives the mirrored pose
    warm_up: int = 0  # steps before the lifting losses reach Phi and Omega at all ...
    ramp: int = 0  # ... and steps over which they then grow to full weight


@dataclass
class TrainConfig:
    """The training loop."""

    steps: int = 2000
    batch: int = 16
    learning_rate: float = 2e-4
    betas: list[float] = field(default_factory=lambda: [0.5, 0.999])
    lifter_learning_rate: float = 2e-4
    decay: float = 1.0  # learning rates at the last step, as a fraction of the first
    clip: float = 1.0  # gradient norm per optimiser; 0: off
    ema: float = 0.0  # decay of the averaged weights that are saved; 0: off
    augment: bool = False  # colour, rotation and scale jitter
    precision: str = "auto"  # auto | fp32 | bf16: of the image networks
    compile: str = "auto"  # auto | on | off: torch.compile (auto: on a CUDA device)
    device: str = "auto"
    interval: int = 50  # steps a line of statistics
    checkpoint_every: int = 200
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
    lifter_steps: int = 3000
    image_steps: int = 1000
    lifter_batch: int = 256


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
    # Name -> overrides: train and evaluate make one model each (ablations, seeds, sweeps).
    variants: dict[str, list[str]] = field(default_factory=dict)

    @property
    def body(self) -> Skeleton:
        """The skeleton, checked."""
        return Skeleton.from_mapping(self.skeleton)


def compose(overrides: Sequence[str] = (), file: Path | None = None) -> Config:
    """Compose and check a configuration.

    Args:
        overrides: Hydra overrides, e.g. ``experiment=paper train.steps=100``. ``skeleton=FILE.yaml``
            takes a skeleton of one's own.
        file: a composed configuration (what ``--cfg job`` prints) to start from instead of
            the configuration groups; overrides are then plain ``key=value``.

    Raises:
        InputError: unknown key, group or file, or a value of the wrong type.
    """
    from hydra.errors import HydraException
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    try:
        raw = _from_file(file, overrides) if file else _from_groups(overrides)
        config = OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(Config), raw))
    except (HydraException, OmegaConfBaseException) as error:
        raise InputError(f"configuration: {_one_line(error)}") from None
    assert isinstance(config, Config)
    config.body  # noqa: B018 - a bad skeleton is reported here, before any stage starts
    return config


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
    return composed


def _is_own_skeleton(override: str) -> bool:
    return override.startswith("skeleton=") and override.endswith((".yaml", ".yml"))


def _from_file(file: Path, overrides: Sequence[str]) -> Any:
    from omegaconf import OmegaConf

    return OmegaConf.merge(_load_yaml(file), OmegaConf.from_dotlist(list(overrides)))


def _load_yaml(file: Path) -> Any:
    from omegaconf import OmegaConf
    from yaml import YAMLError

    try:
        return OmegaConf.load(file)
    except FileNotFoundError:
        raise InputError(f"{file}: not there; name an existing YAML file") from None
    except (YAMLError, OSError) as error:
        raise InputError(f"{file}: no readable YAML ({_one_line(error)})") from None


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())
