"""Rows of the score table that a model is judged against, made in the same run on the same data.

The lifters are given true 2D joints, the others images. Supervised ones learn from true 3D.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from skelift.config import Config, LossConfig
from skelift.data.format import Dataset, Split
from skelift.data.loading import EpochSampler, ImageLoader, crop_cameras, over_crop
from skelift.errors import InputError
from skelift.evaluation.mean_pose import mean_pose_2d, procrustes_mean_pose
from skelift.evaluation.predictions import Predicted, predict_split
from skelift.geometry import CropCamera
from skelift.models.pipeline import PosePipeline
from skelift.models.posenet import PoseNet
from skelift.training.flow import load_flow
from skelift.training.loop import Terms, fit
from skelift.training.objective import (
    Lifting,
    StepNoise,
    SupervisedImage,
    SupervisedLifting,
    cycle_weight,
)
from skelift.training.optim import Optimisers, Recipe


@dataclass(frozen=True)
class Bench:
    """What every baseline is made from.

    Attributes:
        config: the run that is evaluated; baselines take its network sizes and seed.
        data: its data set, with true joints in both splits.
        device: where to train.
    """

    config: Config
    data: Dataset
    device: torch.device

    @property
    def test(self) -> Split:
        """The images that are scored."""
        return self.data.split("test")

    def network(self) -> PoseNet:
        """A fresh pipeline of the same size as the model's, which names sides itself."""
        config = self.config
        flow = load_flow(Path(config.paths.flow), len(self.data.skeleton), config.flow, self.device)
        torch.manual_seed(config.train.seed)
        pose = PoseNet(config.model, self.data.skeleton, flow.scale)
        return pose.to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]


def mean_pose(bench: Bench) -> Predicted:
    """One pose for all: the Procrustes mean of the training poses, the mean of the prior in 2D."""
    train, count = bench.data.split("train"), len(bench.test)
    assert train.joints_3d_mm is not None
    pose_3d = procrustes_mean_pose(train.joints_3d_mm, bench.data.skeleton.root_index)
    pose_2d = mean_pose_2d(bench.data.prior.poses_2d)
    return Predicted(
        np.broadcast_to(pose_2d, (count, *pose_2d.shape)).astype(np.float32),
        np.broadcast_to(pose_3d, (count, *pose_3d.shape)).astype(np.float32),
    )


def supervised_lifter(bench: Bench) -> Predicted:
    """Martinez et al.: Lambda from true 2D to true 3D."""
    pose, lifted = bench.network(), _Lifted(bench, "train")
    objective = SupervisedLifting(pose)
    _train(
        bench,
        pose.lifter,
        lambda rows, _: objective(pose.normalise(*lifted.poses(rows)), lifted.true_3d(rows)),
        len(lifted),
        "supervised lifter",
        bench.config.evaluate.lifter_steps,
        bench.config.evaluate.lifter_batch,
    )
    return _lift_test(bench, pose)


def unsupervised_lifter(bench: Bench) -> Predicted:
    """ElePose's setting: Lambda from true 2D by flow and loop alone, without 3D."""
    config, pose, lifted = bench.config, bench.network(), _Lifted(bench, "train")
    flow = load_flow(Path(config.paths.flow), len(lifted.skeleton), config.flow, bench.device).flow
    loss = LossConfig(
        norms="elepose",
        cycle_weight_init=config.evaluate.cycle_weight_init,
        cycle_weight_steps=round(0.6 * config.evaluate.unsupervised_steps),
    )
    objective = Lifting(loss, pose)
    batch = config.evaluate.unsupervised_batch

    def terms(rows: Tensor, step: int) -> Terms:
        noise = StepNoise.at(config.train.seed, step, batch, bench.device)
        y = pose.normalise(*lifted.poses(rows))
        result: Terms = objective(y, noise, flow, cycle_weight(step, loss))
        return result

    _train(
        bench,
        pose.lifter,
        terms,
        len(lifted),
        "unsupervised lifter",
        config.evaluate.unsupervised_steps,
        batch,
    )
    return _lift_test(bench, pose)


def supervised_image(bench: Bench) -> Predicted:
    """Upper bound: Phi, Omega and Lambda of the same size, trained on true 2D and 3D."""
    config, pose = bench.config, bench.network()
    images = ImageLoader(bench.data.split("train"), bench.device, labels=True)
    objective = SupervisedImage(pose)
    _train(
        bench,
        pose,
        lambda rows, _: objective(images.take(rows.cpu().numpy())),
        len(images),
        "supervised image network",
        config.evaluate.image_steps,
        config.evaluate.image_batch,
    )
    pipeline = PosePipeline(pose, flip=config.model.flip_test).eval()
    return predict_split(pipeline, bench.test, bench.device, config.evaluate.batch)


BASELINES: dict[str, Callable[[Bench], Predicted]] = {
    "mean_pose": mean_pose,
    "supervised_lifter": supervised_lifter,
    "unsupervised_lifter": unsupervised_lifter,
    "supervised_image": supervised_image,
}


def make_baseline(name: str, bench: Bench) -> Predicted:
    """Train and predict one row; InputError for an unknown name."""
    if name not in BASELINES:
        raise InputError(f"evaluate.baselines: no {name!r}; choose from {', '.join(BASELINES)}")
    return BASELINES[name](bench)


class _Lifted:
    """True 2D and 3D joints of a split."""

    def __init__(self, bench: Bench, split: str) -> None:
        chosen = bench.data.split(split)
        assert chosen.joints_2d is not None
        assert chosen.joints_3d_mm is not None
        self.skeleton = bench.data.skeleton
        self._y = over_crop(chosen.joints_2d, bench.data.info.size).to(bench.device)
        self._camera = crop_cameras(chosen.samples).to(bench.device)
        self._true = torch.from_numpy(np.array(chosen.joints_3d_mm)).to(bench.device)

    def __len__(self) -> int:
        return len(self._y)

    def poses(self, rows: Tensor) -> tuple[Tensor, CropCamera]:
        """True 2D poses over the crop and their views."""
        return self._y[rows], self._camera[rows]

    def true_3d(self, rows: Tensor) -> Tensor:
        """(B, J, 3) mm."""
        return self._true[rows]


def _train(
    bench: Bench,
    network: nn.Module,
    terms_of: Callable[[Tensor, int], Terms],
    rows: int,
    title: str,
    steps: int,
    batch: int,
) -> None:
    """Adam on one network, learning rate falling to zero."""
    train = replace(bench.config.train, steps=steps, decay=0.0, betas=[0.9, 0.999])
    recipe = Recipe(bench.config.evaluate.learning_rate)
    optimisers = Optimisers({"network": network}, {"network": recipe}, train)
    order = EpochSampler(rows, batch, train.seed)
    network.train()

    def take_step(step: int) -> Terms:
        terms = terms_of(torch.from_numpy(order[step]).to(bench.device), step)
        optimisers.step(torch.stack(list(terms.values())).sum(), step, ["network"])
        return terms

    fit(take_step, steps, title=title, batch=batch)


@torch.no_grad()
def _lift_test(bench: Bench, pose: PoseNet) -> Predicted:
    """Lift the test images' true 2D joints."""
    pose.eval()
    lifted = _Lifted(bench, "test")
    v, _ = pose.lift(pose.normalise(*lifted.poses(torch.arange(len(lifted), device=bench.device))))
    true_2d = bench.test.joints_2d
    assert true_2d is not None
    return Predicted(np.array(true_2d), PosePipeline(pose).in_mm(v).cpu().numpy())
