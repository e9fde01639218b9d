"""Every key of a run: its type, the values that it may have, its default and what it means."""

from dataclasses import dataclass, field
from typing import Annotated, Any, Literal, get_args

from pydantic import ConfigDict

from skelift.config.fields import (
    Angle,
    Count,
    Device,
    Factor,
    File,
    Flag,
    Folder,
    Fraction,
    Layout,
    Level,
    MeanStd,
    Momentum,
    Name,
    NonNegative,
    NotEmpty,
    Number,
    OnOff,
    Override,
    Pair,
    Pairs,
    Pixel,
    Positive,
    Reach,
    Rising,
    Seed,
    Share,
    Spread,
    Text,
    Tilt,
    Triple,
    Uri,
    Whole,
)
from skelift.skeleton import Skeleton

Baseline = Literal["mean_pose", "supervised_lifter", "unsupervised_lifter", "supervised_image"]


@dataclass
class Paths:
    """Folders that the stages read and write."""

    data: Folder
    flow: Folder
    checkpoints: Folder
    model: Folder
    reports: Folder


@dataclass
class CameraConfig:
    """Cameras of rendered data: around the body, aimed near its root."""

    # Distance to the root: uniform between the two.
    distance_m: Annotated[list[Positive], Pair, Rising] = field(default_factory=lambda: [4.0, 6.0])
    # Uniform between the two. At 0 the body at rest faces the camera; a hand shows its palm.
    azimuth_deg: Annotated[list[Angle], Pair, Rising] = field(default_factory=lambda: [0.0, 360.0])
    # Mean and std; positive: the camera is above the body.
    elevation_deg: Annotated[list[Tilt], Pair, MeanStd] = field(default_factory=lambda: [8.0, 6.0])
    # Uniform between the two instead; null: see elevation_deg.
    elevation_range_deg: Annotated[list[Tilt], Pair, Rising] | None = None
    # Std of the angle, across and down, between the aim and the root.
    aim_deg: Spread = 3.0
    # Focal length, in pixels of the source image.
    focal_px: Positive = 1145.0
    # Instead one per image, the logarithm uniform between the two; null: see focal_px.
    focal_range_px: Annotated[list[Positive], Pair, Rising] | None = None
    # Share of images whose border cuts the body; the crop, still around the whole of it, is black
    # outside.
    cut: Fraction = 0.0
    # Side of the square source image, in pixels.
    source_size: Count = 1000


@dataclass
class PosesConfig:
    """Poses of rendered people beyond the captured ones, of images and prior alike."""

    # Share of draws that are spread evenly over kinds of poses; the rest over all frames alike.
    evenly: Fraction = 0.0
    # Chance that an arm is raised at random, that both knees are straight and, half of it, that a
    # leg is raised.
    limbs: Fraction = 0.0
    # Greatest lean of the whole body, to any side.
    lean_deg: Spread = 0.0
    # Share of bodies that lie.
    lying: Fraction = 0.0


@dataclass
class SynthConfig:
    """A rendered data set."""

    kind: Literal["people", "hands"] = "people"
    # A file of bodies, or `assets` for those in the package.
    bodies: Folder = "assets"
    # A file of motion, a folder of BVH files, or `assets` for the motion in the package.
    motion: Folder = "assets"
    # Number of training images, test images and unpaired 2D poses.
    train: Count = 12000
    test: Count = 2000
    prior: Count = 20000
    # Share of the bodies kept for the test split.
    test_persons: Share = 0.25
    # Relative shares of the motion clips: train, test, prior.
    clips: Annotated[list[Positive], Triple] = field(default_factory=lambda: [0.45, 0.15, 0.4])
    # Chance that the upper body of a pose comes from another frame of the same split.
    mix: Fraction = 0.0
    # Chance that a pose is mirrored.
    mirror: Fraction = 0.0
    # Std of a random rotation of each joint.
    wobble_deg: Spread = 0.0
    # Frames per second kept of BVH files.
    fps: Positive = 12.0
    poses: PosesConfig = field(default_factory=PosesConfig)
    # varied: heads with and without hair, caps, hoods and masks; bare skin, gloves, socks,
    # patterns. For people; see skelift.synth.looks.
    looks: Literal["plain", "varied"] = "plain"
    # varied: several coloured lights, more or less diffuse, and exposure.
    light: Literal["plain", "varied"] = "plain"
    camera: CameraConfig = field(default_factory=CameraConfig)
    # Processes; 0: one per core.
    workers: Whole = 0


Contrast = Literal["any", "darker", "brighter"]


@dataclass
class BodyConfig:
    """What is known of a body that `background=median` searches for; `contrast` turns it on."""

    # What the body is against its background. With darker or brighter it may rest, is followed over
    # time, and is outlined at full resolution; the other keys need it.
    contrast: Contrast = "any"
    # From the background (0) to the body (1, its darkest or brightest quarter): what is below is
    # shadow or reflection.
    opacity: Share = 0.8
    # Colours of the body: the lowest and the highest R, G and B of its pixels.
    colours: Annotated[list[Annotated[list[Level], Triple]], Pair] = field(
        default_factory=lambda: [[0, 0, 0], [255, 255, 255]]
    )
    # Where the body can be: camera (`*`: any) -> x, y, x, y, ... in pixels, the corners of a
    # polygon, or two opposite ones of a box. A camera that is not named: anywhere.
    regions: dict[Name, list[Pixel]] = field(default_factory=dict)
    # Instead a mask image (white where the body can be), or a folder of them, CAMERA.png.
    region_masks: File = ""


@dataclass
class FolderConfig:
    """A data set made of your own images and unpaired 2D poses."""

    # Folder of images or videos (sub-folders included), or a video file.
    images: File = ""
    # What sub-folders, and a video's own name, stand for, outermost first: person/clip/camera.
    layout: Layout = "clip"
    # Folder of masks with the same tree and stems; empty: see `background`.
    masks: File = ""
    # keep: already black; person: a small network cuts the person out, together with the background
    # where the camera is static; median, subtractor: the camera is static and the body moves.
    background: Literal["keep", "person", "median", "subtractor"] = "keep"
    body: BodyConfig = field(default_factory=BodyConfig)
    # Share of the images that may lack a usable mask (empty, inverted, over most of the border, or
    # none and no black background): they are left out and counted. More stop `prepare`.
    bad_masks: Fraction = 0.1
    # COCO keypoints .json, DeepLabCut .csv or .h5, .npz (poses_2d [, joints, clip]), or the folder
    # of another data set. Empty with truth: a test set alone, to evaluate models on.
    poses: File = ""
    # Joint order of an .npz without joint names; empty: that of the skeleton.
    joints: Literal["", "coco17", "openpose25", "h36m17", "mpi17", "mpi28"] = ""
    # Category of a COCO file whose poses are taken; empty: all that fit the skeleton.
    category: Text = ""
    # Joints of poses below this likelihood or score count as not seen.
    min_confidence: Fraction = 0.6
    # Joints of a pose that are filled in where it lacks them, from a Gaussian over all poses; those
    # that lack more are left out.
    complete: Whole = 0
    # Focal length, in pixels of the source images; 0: unknown.
    focal_px: NonNegative = 0.0
    # Calibration of the cameras (docs/datasets.md), in place of focal_px: crops are what an ideal
    # camera sees that looks straight at the body. Empty: unknown.
    cameras: File = ""
    # plain: crops are squares of the image as it is; images have the focal lengths in `cameras`,
    # and all else there only turns true poses into the body's line of sight.
    crops: Literal["views", "plain"] = "views"
    # True poses of some frames (docs/datasets.md): those are the test images. Never trained on.
    truth: File = ""
    # Frames before and after a labelled one, or one of `test`, that are not trained on, in any
    # camera.
    exclude: Reach = 0
    # Clips, or times of clips, that are for testing alone: CLIP or CLIP:FIRST-LAST (frames); `*`
    # stands for any text. Empty: chosen by test_fraction, or by truth.
    test: list[Name] = field(default_factory=list)
    # Test share: by person where known, else by clip; of a single clip, its end. Without effect
    # where truth or test chooses.
    test_fraction: Share = 0.1
    # Keep every n-th frame.
    every: Count = 1
    # Where the images come from, and their licence; both go to dataset.json.
    provenance: Text = ""
    licence: Text = ""


@dataclass
class SourceConfig:
    """A public data set on disk, laid out as docs/datasets.md says."""

    # Folder with the unpacked archives.
    root: File = ""
    # Processes; 0: one per core.
    workers: Whole = 0
    # Share of each training clip, its end, that gives 2D poses and no images.
    prior: Share = 0.5


@dataclass
class H36mConfig(SourceConfig):
    """Human3.6M: root holds its official archives or KeypointGAN's simplified copy."""

    # Keep every n-th training frame.
    every: Count = 1
    # Keep every n-th test frame.
    test_every: Count = 1
    # masks: the data set's bounding boxes; joints: boxes around the 2D joints.
    boxes: Literal["masks", "joints"] = "masks"


@dataclass
class Mpi3dhpConfig(SourceConfig):
    """MPI-INF-3DHP: root holds S1 to S8 and mpi_inf_3dhp_test_set."""

    # Keep every n-th training frame.
    every: Count = 1
    # Keep every n-th valid test frame.
    test_every: Count = 1
    # 3D poses at the size of the data set's universal skeleton.
    universal: Flag = True
    # Leave the chair in the image.
    chair: Flag = False
    # Training sequences without masks: skip them, or cut the body out by a median over time (as
    # is always done for the test sequences).
    unmasked: Literal["skip", "median"] = "skip"


@dataclass
class HandDbConfig(SourceConfig):
    """HandDB's synthetic hands: root holds hand_labels_synth."""

    sequences: Annotated[list[Name], NotEmpty] = field(default_factory=lambda: ["synth2", "synth3"])
    # Test share of each sequence, its end.
    test: Share = 0.2
    # Angles by which each training image is also rotated.
    rotations_deg: list[Angle] = field(default_factory=lambda: [45.0, 90.0])
    # black: already black.
    background: Literal["grabcut", "black"] = "grabcut"


@dataclass
class MixConfig:
    """A data set put together from finished ones (folders)."""

    # Whose training images are taken.
    train: list[Folder] = field(default_factory=list)
    # Whose unpaired 2D poses are taken.
    prior: File = ""
    # Whose test images are taken.
    test: File = ""


@dataclass
class DataConfig:
    """A data set: its form, and where it comes from (one of the sections)."""

    name: Name
    # Side of the square crops, in pixels.
    size: Count = 128
    # Free border around the body, as a fraction of its larger side.
    margin: NonNegative = 0.13
    seed: Seed = 0
    synth: SynthConfig | None = None
    folder: FolderConfig | None = None
    h36m: H36mConfig | None = None
    mpi_inf_3dhp: Mpi3dhpConfig | None = None
    handdb: HandDbConfig | None = None
    mix: MixConfig | None = None


@dataclass
class FlowConfig:
    """Normalising flow over 2D poses (Eq. 7-8): RealNVP on PCA coefficients."""

    # PCA coefficients; null: 26, or all that vary of a skeleton with fewer: 2 (J - 1).
    pca: Count | None = None
    # Coupling blocks, and units of each block's hidden layers.
    blocks: Count = 8
    hidden: Count = 1024
    steps: Count = 2500
    batch: Count = 256
    learning_rate: NonNegative = 1e-4
    weight_decay: NonNegative = 1e-5
    # Std of Gaussian noise on the input, in units of the root-to-head length.
    noise: NonNegative = 0.0
    # Also train on mirrored poses.
    mirror: Flag = True
    # Share of the prior's clips that validates the flow.
    held_out: Share = 0.1
    seed: Seed = 0


@dataclass
class ModelConfig:
    """Phi, Omega, D and Lambda."""

    # Channels of the first stage of Phi and Omega.
    width: Count = 32
    # Channels of D's first layer, and number of image scales that D sees.
    disc_width: Count = 64
    disc_scales: Count = 3
    # Units of Lambda's hidden layers.
    lifter_width: Count = 1024
    # Flip test-time augmentation: also predict the mirrored image; doubles the time.
    flip_test: Flag = False
    # Skeleton image: a single channel, or one per body side.
    channels: Literal["single", "sides"] = "single"
    # Departure: the elevation that Lambda starts from; positive: the camera looks down. At 0,
    # chance decides between the body and its mirror image in depth.
    elevation_deg: Tilt = 0.0
    # Units of the 2D coordinates that Lambda and the flow see.
    units: Literal["camera", "crop"] = "camera"
    # How weights are written: fp16 halves the file.
    storage: Literal["fp32", "fp16"] = "fp32"
    # Fall-off of kappa: exp(-gamma d).
    gamma: Positive = 25.0
    # kappa: exp(-gamma d^2) instead.
    squared: Flag = False


@dataclass
class LossConfig:
    """Weights of the terms of Eq. 12, and forms that the paper leaves open or that depart from it.

    All departures are off in loss=paper.
    """

    gan: NonNegative = 1.0
    # |Omega(kappa(u)) - u|^2 of Eq. 9.
    omega: NonNegative = 1.0
    # lambda of Eq. 9.
    render: NonNegative = 0.1
    l2d: NonNegative = 1.0
    l3d: NonNegative = 1.0
    deformation: NonNegative = 1.0
    flow: NonNegative = 1.0
    bones: NonNegative = 1.0
    # Std of relative bone lengths (Eq. 10).
    sigma_b: Positive = 0.1
    gan_form: Literal["log", "least_squares"] = "log"
    norms: Literal["squared", "elepose"] = "squared"
    # What D sees of an image: Phi(x), or kappa(y), its pose drawn again (a departure).
    disc_input: Literal["skeleton_image", "redrawn"] = "skeleton_image"
    # D and Omega learn from prior poses whose sides are named as if seen from behind.
    canonical_sides: Flag = False
    # The drawn body covers the mask and nothing else.
    silhouette: NonNegative = 0.0
    # Images of painted bodies, which have the flesh of the prior's poses, give these poses.
    painted: NonNegative = 0.0
    # Poses of images have mean and spread of the prior's poses.
    moments: NonNegative = 0.0
    # A body that lies (a skeleton with an axis) goes where its front is; needs frames of videos.
    heading: NonNegative = 0.0
    # A mirrored image gives the mirrored pose.
    mirror: NonNegative = 0.0
    # Factor on L_base at the first step; it falls geometrically to 1 in cycle_weight_steps.
    cycle_weight_init: Positive = 1.0
    cycle_weight_steps: Whole = 0
    # Prior poses per step that Lambda also lifts.
    lifted_prior: Whole = 0
    # Step from which poses of images enter the lifting losses, so that Phi, Omega and Lambda are
    # trained end to end. null: never; Lambda then learns from prior poses alone.
    lift_images_from: Whole | None = 0
    # Factor on the lifting losses' gradient to Phi and Omega.
    lift_grad_scale: Fraction = 1.0


@dataclass
class AugmentConfig:
    """Random changes of the training images, and of the prior, at each step; off by default."""

    # Chance that an image is mirrored.
    flip: Fraction = 0.0
    # An image is multiplied by a factor uniform in 1 -+ this.
    brightness: Fraction = 0.0
    # Each colour channel is multiplied by a factor uniform in 1 -+ this.
    colour: Fraction = 0.0
    # Images, and the prior's poses before they are drawn, are turned by up to this, either way:
    # for cameras that roll and bodies that lean.
    turn_deg: Spread = 0.0
    # Both become larger or smaller by up to this factor (0.2: 20 %), and lie off the crop's middle
    # by up to half of it, where half a side is 1: crops around wrong masks.
    jitter: Fraction = 0.0
    # How bad exposure, light, focus and noise are: 1 is a phone at night.
    photo: Fraction = 0.0
    # Chance of each fault of a mask: holes, pieces of the room, a part cut off, ragged edges.
    mask: Fraction = 0.0


@dataclass
class TrainConfig:
    """The training loop."""

    # 0: keep the core that train.start has, and fit the heads alone.
    steps: Whole = 2000
    batch: Pairs = 16
    # Of Phi and Omega.
    learning_rate: NonNegative = 2e-4
    betas: Annotated[list[Momentum], Pair] = field(default_factory=lambda: [0.5, 0.999])
    disc_learning_rate: NonNegative = 2e-4
    lifter_learning_rate: NonNegative = 2e-4
    lifter_weight_decay: NonNegative = 0.0
    # Factor on Lambda's learning rate per epoch, besides `decay`.
    lifter_epoch_decay: Factor = 1.0
    # Learning rates fall linearly to this fraction of their first value.
    decay: Fraction = 1.0
    # Largest gradient norm per optimiser; 0: no clipping.
    clip: NonNegative = 1.0
    # Model to fine-tune: its folder, or `shipped` for the one in the package; empty: none. The
    # images of that model may have another size.
    start: File = ""
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    # Precision of the image networks.
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    # torch.compile; auto: on a CUDA device.
    compile: Annotated[Literal["auto", "on", "off"], OnOff] = "auto"
    device: Device = "auto"
    # Steps per line of statistics.
    interval: Count = 50
    # Write curves for `dvc plots`.
    dvclive: Flag = True
    checkpoint_every: Count = 200
    # A checkpoint of another run in paths.checkpoints: false refuses to start, true replaces it.
    # One of the same run is resumed in either case.
    restart: Flag = False
    # Steps between snapshots, which `evaluate` scores to show the course of a run; 0: none.
    snapshot_every: Whole = 0
    # Early stopping: end after this many snapshots without a better label-free score (on training
    # images) and keep the best. 0: take all steps and keep the last weights.
    patience: Whole = 0
    seed: Seed = 0


@dataclass
class HeadConfig:
    """An optional network, fitted when Phi, Omega and Lambda are trained."""

    enabled: Flag = False
    # 0: keep the weights that train.start has.
    steps: Whole = 4000


@dataclass
class FilmHeadConfig(HeadConfig):
    """A head that learns from bodies that move: ``front_back`` or ``joint_facing``."""

    steps: Whole = 1500


@dataclass
class HeadsConfig:
    """The optional networks of ``skelift.models.heads``; departures."""

    # Estimates the camera's roll, which is taken out before the other heads and Lambda see a pose
    # and put back after; learns from the unpaired poses, turned (256 per step).
    upright: HeadConfig = field(default_factory=HeadConfig)
    # Moves Omega's pose to a likely one near it; learns from the unpaired poses (256 per step).
    refiner: HeadConfig = field(default_factory=HeadConfig)
    # Tells front from back by the 2D pose; learns from the unpaired poses (256 per step), and from
    # 512 to 1023 images that they face the camera as often. Needs loss.canonical_sides; adds to
    # front_back.
    pose_facing: HeadConfig = field(default_factory=HeadConfig)
    # Tells front from back by the head; its pseudo-labels (64 images per step) come from people who
    # approach a static camera or recede from it. Needs loss.canonical_sides.
    front_back: FilmHeadConfig = field(default_factory=FilmHeadConfig)
    # Tells front from back by what Phi sees at the joints; its pseudo-labels (128 images per step)
    # come from people who steadily approach a static camera or recede from it. Needs
    # loss.canonical_sides; adds to the two above.
    joint_facing: FilmHeadConfig = field(default_factory=FilmHeadConfig)


@dataclass
class EvaluateConfig:
    """Scores of the model, and baselines trained on the same data."""

    batch: Count = 256
    baselines: list[Baseline] = field(default_factory=lambda: list(get_args(Baseline)))
    lifter_steps: Count = 1500
    lifter_batch: Count = 256
    unsupervised_steps: Count = 3000
    unsupervised_batch: Pairs = 64
    image_steps: Count = 1000
    image_batch: Count = 32
    # Of all baselines.
    learning_rate: NonNegative = 1e-3
    # Of the unsupervised lifter, see `loss`.
    cycle_weight_init: Positive = 50.0
    # Test images in the report, and as many of the worst.
    shown: Whole = 12
    # Images of a split that snapshots are scored on.
    snapshot_images: Count = 1000
    # Frames per second by which the test images' frames are numbered: poses are steadied over
    # time, as `predict` does in videos. null: each image by itself.
    film_fps: Positive | None = None


@dataclass
class StorageConfig:
    """Where stages keep their folders besides the local disk."""

    # s3://BUCKET/PREFIX: inputs of a stage are pulled first, its outputs are pushed.
    uri: Uri = ""


@dataclass
class RangeConfig:
    """Values of one key that a sweep tries: from ``low`` to ``high``, or one of ``choices``."""

    low: Number | None = None
    high: Number | None = None
    log: Flag = False
    integer: Flag = False
    choices: list[Any] = field(default_factory=list)


@dataclass
class SweepConfig:
    """Search for better loss weights, learning rates or widths."""

    trials: Count = 20
    # Key -> values.
    space: dict[str, RangeConfig] = field(default_factory=dict)
    # Overrides of each trial; the winner drops them.
    overrides: list[Override] = field(default_factory=list)
    # label_free needs no labels, the others the truth of the held-out clips; lower is better.
    score: Literal[
        "label_free", "p_mpjpe_mm", "n_mpjpe_mm", "mpjpe_mm", "error_2d_px", "error_2d_swapped_px"
    ] = "label_free"
    # Share of the training clips that trials are scored on.
    held_out: Share = 0.2
    # Intermediate scores per trial, by which the search may stop it.
    reports: Count = 4
    seed: Seed = 0
    # Run this trial alone; 0 is the configuration as it stands.
    trial: Whole | None = None
    # Results of trials that ran elsewhere: choose the winner among them.
    results: list[Folder] = field(default_factory=list)


@dataclass
class Config:
    """The whole record of a run."""

    __pydantic_config__ = ConfigDict(extra="forbid", coerce_numbers_to_str=True)

    name: Name
    paths: Paths
    # The skeleton's YAML mapping; see ``body``.
    skeleton: Any
    data: DataConfig
    flow: FlowConfig
    model: ModelConfig
    loss: LossConfig
    train: TrainConfig
    evaluate: EvaluateConfig
    heads: HeadsConfig = field(default_factory=HeadsConfig)
    storage: StorageConfig = field(default_factory=StorageConfig)
    sweep: SweepConfig = field(default_factory=SweepConfig)
    # Name -> overrides: train and evaluate make one model per variant (ablations, seeds). An
    # override may choose a whole group: loss=paper.
    variants: dict[str, list[Override]] = field(default_factory=dict)

    @property
    def body(self) -> Skeleton:
        """The skeleton, checked."""
        return Skeleton.from_mapping(self.skeleton)
