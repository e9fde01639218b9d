"""End-to-end training of Phi, Omega, Lambda and D (Section 3.1)."""

import hashlib
import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from skelift.config import Config, LossConfig
from skelift.data.format import Dataset
from skelift.data.loading import (
    EpochSampler,
    ImageBatch,
    ImageLoader,
    PoseLoader,
    name_canonical_sides,
)
from skelift.errors import InputError
from skelift.files import sha256
from skelift.geometry import normalise
from skelift.models.discriminator import Discriminator
from skelift.models.layers import sum_in_shares
from skelift.models.posenet import PoseNet, kappa_for
from skelift.models.tensors import group, load_tensors, nest, save_tensors
from skelift.training.augment import Augmentation, augments
from skelift.training.distributed import World
from skelift.training.flow import WEIGHTS as FLOW_WEIGHTS
from skelift.training.flow import load_flow
from skelift.training.loop import Terms
from skelift.training.objective import Discrimination, SelfSupervised, StepNoise, cycle_weight
from skelift.training.optim import Average, Optimisers, Recipe, freeze
from skelift.training.start import start_file, start_from

CHECKPOINT = "last.safetensors"
_GENERATOR = ("phi", "omega", "lifter")


class Trainer:
    """All that a run moves, and one step of it.

    A step is a function of the state and the step's number alone: row order, prior poses and random
    rotations are derived from (seed, step). So a resumed run repeats the killed one bit by bit.

    Args:
        config: the run.
        data: the data set of ``config.paths.data``.
        world: this process and its device.
    """

    def __init__(self, config: Config, data: Dataset, world: World) -> None:
        self.config, self.data, self.world = config, data, world
        train, device = config.train, world.device
        check_size(data.info.size, config.model.disc_scales)
        if train.batch < 2:
            raise InputError("train.batch=1: elevation statistics and pairs need at least 2")
        torch.manual_seed(train.seed)
        split = data.split("train")
        self.images = ImageLoader(split, device)
        if config.model.units == "camera" and not self.images.focal_known:
            raise InputError(
                f"{split.folder}: images without a focal length; set data.folder.focal_px and "
                "prepare them anew, or model.units=crop"
            )
        self.prior = PoseLoader(data.prior, data.info.size, device)
        self.drawn = self.prior.u
        if config.loss.canonical_sides:
            self.drawn = name_canonical_sides(self.prior.u, data.skeleton)
        self.image_order = EpochSampler(len(self.images), train.batch, train.seed)
        self.pose_order = EpochSampler(len(self.prior), train.batch, train.seed + 1)
        self.share = world.share(train.batch)
        self.augments = augments(train.augment)

        trained = load_flow(Path(config.paths.flow), len(data.skeleton), config.flow, device)
        if trained.units != config.model.units:
            raise InputError(
                f"{config.paths.flow}: the flow was trained in {trained.units} units, "
                f"model.units={config.model.units}; run `skelift pretrain-flow` with the same"
            )
        self.flow = trained.flow
        kappa = kappa_for(config.model, data.skeleton, data.info.size)
        memory = torch.channels_last
        model = replace(config.model, facing=False, refine=False)  # taught when these are trained
        self.pose = PoseNet(model, data.skeleton, trained.scale)
        if train.start:
            start_from(config, self.pose)
        self.pose = self.pose.to(device, memory_format=memory)  # type: ignore[call-overload]
        m = config.model
        self.disc = Discriminator(kappa.channels, m.disc_width, m.disc_scales)
        self.disc = self.disc.to(device, memory_format=memory)  # type: ignore[call-overload]
        shares = world.shares(train.shares, train.batch)
        for network in (self.pose, self.disc):
            sum_in_shares(network, shares)
        self.objective = world.parallel(SelfSupervised(config.loss, self.pose, kappa, shares))
        self.discrimination = world.parallel(
            Discrimination(config.loss.gan_form, self.disc, shares)
        )
        self.average = Average(self.pose, train.ema)
        if not 0 < train.lifter_epoch_decay <= 1 or train.lifter_weight_decay < 0:
            raise InputError(
                f"train.lifter_epoch_decay={train.lifter_epoch_decay}, train.lifter_weight_decay="
                f"{train.lifter_weight_decay}: a factor above 0 and up to 1, and no negative decay"
            )
        epochs_a_step = train.batch / len(self.images)
        self.optimisers = Optimisers(
            {
                "phi": self.pose.phi,
                "omega": self.pose.omega,
                "lifter": self.pose.lifter,
                "disc": self.disc,
            },
            {
                "phi": Recipe(train.learning_rate),
                "omega": Recipe(train.learning_rate),
                "lifter": Recipe(
                    train.lifter_learning_rate,
                    train.lifter_weight_decay,
                    train.lifter_epoch_decay**epochs_a_step,
                ),
                "disc": Recipe(train.disc_learning_rate),
            },
            train,
        )
        relative = self.prior.root_relative(data.skeleton.root_index, self.pose.units)
        self.lifted = normalise(relative, self.pose.scale)
        self.lifted_order = EpochSampler(len(self.prior), config.loss.lifted_prior, train.seed + 2)
        self.bf16 = uses_bf16(train.precision, device)
        if train.compile == "on" or (train.compile == "auto" and device.type == "cuda"):
            for network in (self.pose.phi, self.pose.omega, *self.disc.patch_gans):
                network.compile()

    def step(self, step: int) -> Terms:
        """One step of Phi, Omega and Lambda, then one of D; returns the weighted loss terms."""
        config, device = self.config, self.world.device
        images = self._take(step)
        u = self.drawn[torch.from_numpy(self.pose_order[step][self.share]).to(device)]
        reach = lifting_reach(step, config.loss)
        lifted_prior = self.lifted[torch.from_numpy(self.lifted_order[step]).to(device)]
        count = len(lifted_prior) + (config.train.batch if reach is not None else 0)
        draws = StepNoise.at(config.train.seed, step, count, device)

        freeze(self.disc.parameters(), True)
        with self._autocast():
            terms, w, s = self.objective(
                images,
                u,
                lifted_prior,
                draws,
                self.disc,
                self.flow,
                reach,
                cycle_weight(step, config.loss),
            )
        self.optimisers.step(torch.stack(list(terms.values())).sum(), step, _GENERATOR)
        freeze(self.disc.parameters(), False)
        if config.loss.gan:
            with self._autocast():
                judged: Terms = self.discrimination(w, s)
            self.optimisers.step(judged["discriminator"], step, ["disc"])
            terms |= judged
        self.average.update(step)
        return terms

    def state(self) -> dict[str, Tensor]:
        """Everything that the next step depends on."""
        return nest(
            pose=self.pose.state_dict(),
            disc=self.disc.state_dict(),
            average=self.average.weights,
            optimisers=self.optimisers.state(),
        )

    def restore(self, state: dict[str, Tensor]) -> None:
        """Take back what ``state`` gave."""
        self.pose.load_state_dict(group(state, "pose"))
        self.disc.load_state_dict(group(state, "disc"))
        for name, tensor in group(state, "average").items():
            self.average.weights[name].copy_(tensor)
        self.optimisers.restore(group(state, "optimisers"))

    def _take(self, step: int) -> ImageBatch:
        """This process's share of a step's images."""
        train = self.config.train
        images = self.images.take(self.image_order[step][self.share])
        if not self.augments:
            return images
        change = Augmentation.at(train.augment, train.seed, step, train.batch)[self.share]
        return change(images)

    def _autocast(self) -> torch.autocast:
        return torch.autocast(self.world.device.type, torch.bfloat16, enabled=self.bf16)


def check_size(size: int, disc_scales: int) -> None:
    """InputError unless Phi can halve an image thrice and the coarsest PatchGAN has room."""
    smallest = 24 * 2 ** (disc_scales - 1)
    if size % 8 or size < smallest:
        raise InputError(
            f"images of {size} px: the networks need a multiple of 8 and at least {smallest} px; "
            "set data.size, or fewer model.disc_scales, and recreate the data set"
        )


def lifting_reach(step: int, loss: LossConfig) -> float | None:
    """Share of the lifting losses' gradient that reaches Phi and Omega; None while warming up."""
    if step < loss.warm_up:
        return None
    ramped = min((step - loss.warm_up + 1) / loss.ramp, 1.0) if loss.ramp else 1.0
    return loss.reach * ramped


def uses_bf16(precision: str, device: torch.device) -> bool:
    """Whether the image networks run in bf16: on GPUs, and on CPUs with AMX tiles, in ``auto``."""
    if precision == "auto":
        amx = getattr(torch.cpu, "_is_amx_tile_supported", lambda: False)
        return device.type == "cuda" or bool(amx())
    if precision not in ("fp32", "bf16"):
        raise InputError(f"train.precision={precision}: choose auto, fp32 or bf16")
    return precision == "bf16"


def fingerprint(config: Config, data: Dataset) -> str:
    """Digest of all that a run's steps depend on; a checkpoint of another run is not resumed."""
    train, model = asdict(config.train), asdict(config.model)
    for key in ("interval", "checkpoint_every", "snapshot_every", "start"):
        train.pop(key)
    for key in ("facing_steps", "refine_steps"):  # what comes after the last step
        train.pop(key)
    for key in ("facing", "refine", "flip_test"):
        model.pop(key)
    content: dict[str, Any] = {
        "train": train,
        "model": model,
        "loss": asdict(config.loss),
        "data": data.checksums,
        "flow": sha256(Path(config.paths.flow) / FLOW_WEIGHTS),
    }
    if config.train.start:
        content["start"] = sha256(start_file(config.train))
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def save_checkpoint(folder: Path, trainer: Trainer, step: int, digest: str) -> None:
    """Write the state after ``step`` steps, in the place of the previous one."""
    save_tensors(folder / CHECKPOINT, trainer.state(), {"step": str(step), "fingerprint": digest})


def resume(folder: Path, trainer: Trainer, digest: str) -> int:
    """Restore the last checkpoint of the same run; returns the number of steps done."""
    file = folder / CHECKPOINT
    if not file.exists():
        return 0
    state, about = load_tensors(file, "skelift train")
    if about["fingerprint"] != digest:
        if trainer.world.is_main:
            print(f"{file}: of a run with another configuration or data; starting afresh")
        return 0
    trainer.restore(state)
    return int(about["step"])
