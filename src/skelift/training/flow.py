"""Pretraining of the normalising flow (Eq. 8), judged on clips that it never sees."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from skelift.config import FlowConfig
from skelift.data.format import Dataset
from skelift.data.hold_out import held_out_rows
from skelift.data.loading import EpochSampler, PoseLoader
from skelift.errors import InputError
from skelift.files import write_json
from skelift.geometry import Units, mirror_pose, normalise, pose_scale
from skelift.models.flow import PoseFlow
from skelift.models.tensors import load_tensors, load_weights, save_tensors
from skelift.training.loop import Interval, Terms, fit

WEIGHTS = "flow.safetensors"
MADE_BY = "skelift pretrain-flow"
_EVALUATED = 4096  # poses of each side that an evaluation looks at


@dataclass(frozen=True)
class TrainedFlow:
    """A pretrained flow and the constant of the data set that it was trained on."""

    flow: PoseFlow  # frozen, in evaluation mode
    scale: float  # mean root-to-head length of the prior, in ``units``
    units: str  # ``Units`` of the poses


def pretrain(
    data: Dataset, config: FlowConfig, units: Units, out: Path, device: torch.device
) -> Path:
    """Train the flow on the prior of ``data``; write ``flow.safetensors`` and ``flow.json``.

    A tenth of the prior's clips is held out: the flow fits its own poses to any density, and an
    overfitted flow misleads the lifter. The weights of the best held-out NLL are kept.

    Returns:
        ``out``, the folder.
    """
    torch.manual_seed(config.seed)
    skeleton = data.skeleton
    source = PoseLoader(data.prior, data.info.size, device)
    relative = source.root_relative(skeleton.root_index, units)
    scale = pose_scale(relative, skeleton.head_index)
    poses = normalise(relative, scale)
    held = torch.from_numpy(_held_out(data.prior.samples["clip"], config))
    train, test = poses[~held], poses[held]
    if config.mirror and skeleton.pairs:  # without partners a mirrored pose is of another body
        train = torch.cat([train, mirror_pose(train, torch.as_tensor(skeleton.swap))])
    flow = PoseFlow(len(skeleton), config.pca, config.blocks, config.hidden, config.seed).to(device)
    flow.fit_pca(train)
    history = _optimise(flow, train, test, config)
    about = {"scale": repr(scale), "units": units} | _shape(flow, config)
    save_tensors(out / WEIGHTS, flow.state_dict(), about)
    kept = min(history, key=lambda row: row["nll_held_out"])
    card = {"scale": scale, "units": units, "pca": flow.pca, **kept, "history": history}
    write_json(out / "flow.json", card)
    return out


def load_flow(folder: Path, joints: int, config: FlowConfig, device: torch.device) -> TrainedFlow:
    """The frozen flow that ``pretrain`` wrote; InputError when missing or of another shape."""
    tensors, about = load_tensors(folder / WEIGHTS, MADE_BY)
    flow = PoseFlow(joints, config.pca, config.blocks, config.hidden, config.seed)
    for key, asked in _shape(flow, config).items():
        if about.get(key, asked) != asked:
            raise InputError(
                f"{folder / WEIGHTS}: a flow of flow.{key}={about[key]}, the configuration has "
                f"flow.{key}={asked}; set the same, or run `{MADE_BY}` again"
            )
    load_weights(flow, tensors, folder / WEIGHTS, MADE_BY)
    flow.eval().requires_grad_(False).to(device)
    return TrainedFlow(flow, float(about["scale"]), about["units"])


def _shape(flow: PoseFlow, config: FlowConfig) -> dict[str, str]:
    """What has to be equal for weights to fit."""
    shape = {"pca": flow.pca, "blocks": config.blocks, "hidden": config.hidden}
    return {key: str(value) for key, value in shape.items()}


def _optimise(
    flow: PoseFlow, train: Tensor, test: Tensor, config: FlowConfig
) -> list[dict[str, float]]:
    adam = torch.optim.Adam(
        flow.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay
    )
    order = EpochSampler(len(train), config.batch, config.seed)
    noise = torch.Generator().manual_seed(config.seed)
    history: list[dict[str, float]] = []
    best: dict[str, Tensor] = {}

    def take_step(step: int) -> Terms:
        y = train[torch.from_numpy(order[step])]
        # The root stays at the origin: noise there would be a direction that no pose has.
        jitter = torch.randn(y.shape, generator=noise).to(y.device) * (y != 0)
        loss = flow.nll(y + 0.1 * config.noise * jitter).mean()
        adam.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(flow.parameters(), 1.0)
        adam.step()
        return {"nll": loss}

    @torch.no_grad()
    def evaluate(interval: Interval) -> None:
        # Evenly spread, since the poses lie clip by clip.
        spread = [poses[:: max(len(poses) // _EVALUATED, 1)] for poses in (train, test)]
        nll = [flow.nll(poses).mean().item() for poses in spread]
        history.append({"step": interval.step, "nll_train": nll[0], "nll_held_out": nll[1]})
        if nll[1] <= min(row["nll_held_out"] for row in history):
            best.update({name: t.clone() for name, t in flow.state_dict().items()})

    fit(
        take_step,
        config.steps,
        title="pretrain-flow",
        batch=config.batch,
        interval=max(config.steps // 20, 1),
        callbacks=[evaluate],
    )
    flow.load_state_dict(best)
    return history


def _held_out(clips: NDArray[np.str_], config: FlowConfig) -> NDArray[np.bool_]:
    if round(config.held_out * len(clips)) in (0, len(clips)):
        raise InputError(
            f"flow.held_out={config.held_out} of {len(clips)} poses leaves none on one side; "
            "take another share, or more poses"
        )
    return held_out_rows(clips, config.held_out, config.seed)
