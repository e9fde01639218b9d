"""From the sections of a configuration to the objects of a training run."""

from pathlib import Path

import torch

from skelift.config import Config, FlowConfig, LossConfig, ModelConfig, TrainConfig
from skelift.data.format import Dataset
from skelift.data.loading import ImageLoader, PoseLoader, name_canonical_sides
from skelift.errors import InputError
from skelift.geometry import normalise
from skelift.models.discriminator import Discriminator
from skelift.models.io import WEIGHTS, load_model
from skelift.models.pipeline import PosePipeline
from skelift.models.posenet import PoseNet, kappa_for
from skelift.skeleton import Skeleton
from skelift.training.distributed import World
from skelift.training.flow import TrainedFlow, load_flow
from skelift.training.objective import Discrimination, SelfSupervised
from skelift.training.optim import Optimisers, Recipe
from skelift.training.paint import Painter
from skelift.training.trainer import Trainer, TrainingData
from skelift.weights import model_folder

# What has to be equal for weights to mean the same.
SAME_NETWORKS = ("width", "lifter_width", "channels", "units", "gamma", "squared")


def build_trainer(
    config: Config, data: Dataset, world: World, start: PosePipeline | None = None
) -> Trainer:
    """A trainer before its first step, with the weights of ``start`` where there is one.

    Raises:
        InputError: data, flow and configuration do not fit each other.
    """
    train, model = config.train, config.model
    check_size(data.info.size, model.disc_scales)
    torch.manual_seed(train.seed)
    flow = matching_flow(config.paths.flow, config.flow, model, data, world.device)
    kappa = kappa_for(model, data.skeleton, data.info.size)
    core = PoseNet(model, data.skeleton, flow.scale)
    if start:
        core.load_state_dict(start.core.state_dict())
    disc = Discriminator(kappa.channels, model.disc_width, model.disc_scales)
    for network in (core, disc):
        network.to(world.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    painter = None
    if config.loss.painted:
        painter = Painter(data.skeleton, data.info.size).to(world.device)
    read = training_data(data, core, config.loss, world.device)
    trainer = Trainer(
        train,
        config.loss,
        core,
        disc,
        flow.flow,
        read,
        objective=world.parallel(SelfSupervised(config.loss, core, kappa, painter)),
        discrimination=world.parallel(Discrimination(config.loss.gan_form, disc)),
        painter=painter,
        optimisers=optimisers(train, core, disc, len(read.images)),
        world=world,
        bf16=uses_bf16(train.precision, world.device),
    )
    if train.compile == "on" or (train.compile == "auto" and world.device.type == "cuda"):
        for network in (core.phi, core.omega, *disc.patch_gans):
            network.compile(dynamic=False)
    return trainer


def training_data(
    data: Dataset, core: PoseNet, loss: LossConfig, device: torch.device
) -> TrainingData:
    """Images and unpaired poses of a data set, as the networks see them."""
    split = data.split("train")
    images = ImageLoader(split, device, motion=bool(loss.heading))
    if loss.heading and not images.shows_motion:
        raise InputError(
            f"{split.folder}: no images before and after (of the same person, clip and camera) "
            "show the body move (photos, or fewer than 8 images, are no film); prepare the "
            "frames of videos, or set loss.heading=0"
        )
    if core.units == "camera" and not images.focal_known:
        raise InputError(
            f"{split.folder}: images without a focal length; set data.folder.focal_px and prepare "
            "them again, or model.units=crop"
        )
    prior = PoseLoader(data.prior, data.info.size, device)
    u = name_canonical_sides(prior.u, data.skeleton) if loss.canonical_sides else prior.u
    relative = prior.root_relative(data.skeleton.root_index, core.units)
    return TrainingData(images, u, normalise(relative, core.scale))


def matching_flow(
    folder: str, flow: FlowConfig, model: ModelConfig, data: Dataset, device: torch.device
) -> TrainedFlow:
    """The pretrained flow; InputError where it saw poses in other units."""
    trained = load_flow(Path(folder), len(data.skeleton), flow, device)
    if trained.units != model.units:
        raise InputError(
            f"{folder}: the flow was trained in {trained.units} units, model.units={model.units}; "
            "run `skelift pretrain-flow` with the same"
        )
    return trained


def optimisers(train: TrainConfig, core: PoseNet, disc: Discriminator, images: int) -> Optimisers:
    """One Adam per network, for a training set of so many images."""
    images_per_step = train.batch / images
    lifter = Recipe(
        train.lifter_learning_rate,
        train.lifter_weight_decay,
        train.lifter_epoch_decay**images_per_step,
    )
    rate = Recipe(train.learning_rate)
    return Optimisers(
        {"phi": core.phi, "omega": core.omega, "lifter": core.lifter, "disc": disc},
        {"phi": rate, "omega": rate, "lifter": lifter, "disc": Recipe(train.disc_learning_rate)},
        train,
    )


def start_file(start: str) -> Path:
    """The weights that ``train.start`` names."""
    return model_folder(start) / WEIGHTS


def load_start(
    start: str, model: ModelConfig, skeleton: Skeleton, *, canonical_sides: bool
) -> PosePipeline:
    """The finished model that a run starts from; its images may be of another size.

    Raises:
        InputError: it is of another body, or its networks are others.
    """
    folder = start_file(start).parent
    pipeline, card = load_model(folder, torch.device("cpu"))
    theirs = ModelConfig(**card["model"])
    for key in SAME_NETWORKS:
        has, needs = getattr(theirs, key), getattr(model, key)
        if has != needs:
            raise InputError(f"{folder}: its model.{key} is {has}, not {needs}; set the same")
    if card.get("loss", {}).get("canonical_sides", canonical_sides) != canonical_sides:
        raise InputError(
            f"{folder}: its loss.canonical_sides is {not canonical_sides}; set the same, or sides "
            "mean something else"
        )
    if pipeline.core.skeleton.joints != skeleton.joints:
        raise InputError(
            f"{folder}: a model of the skeleton {pipeline.core.skeleton.name}, and the images are "
            f"of {skeleton.name}; set train.start to a model of the same joints"
        )
    return pipeline


def check_size(size: int, disc_scales: int) -> None:
    """InputError unless Phi can halve an image thrice and the coarsest PatchGAN has room."""
    smallest = 24 * 2 ** (disc_scales - 1)
    if size % 8 or size < smallest:
        raise InputError(
            f"images of {size} px: the networks need a multiple of 8 and at least {smallest} px; "
            "set data.size, or fewer model.disc_scales, and recreate the data set"
        )


def uses_bf16(precision: str, device: torch.device) -> bool:
    """Whether the image networks run in bf16: on GPUs, and on CPUs with AMX tiles, in ``auto``."""
    if precision == "auto":
        amx = getattr(torch.cpu, "_is_amx_tile_supported", lambda: False)
        return device.type == "cuda" or bool(amx())
    return precision == "bf16"
