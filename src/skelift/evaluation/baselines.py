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
from skelift.data.loading import EpochSampler, ImageBatch, ImageLoader, crop_cameras, over_crop
from skelift.evaluation.mean_pose import (
    labelled_mean,
    labelled_mean_pose,
    procrustes_mean_pose,
)
from skelift.evaluation.predictions import Predicted, predict_split
from skelift.geometry import bone_lengths
from skelift.losses import pose_from_skeleton_loss
from skelift.models.pipeline import PosePipeline
from skelift.models.posenet import PoseNet
from skelift.training.flow import TrainedFlow, load_flow
from skelift.training.loop import Terms, fit
from skelift.training.objective import Lifting, StepNoise, cycle_weight
from skelift.training.optim import Optimisers, Recipe


@dataclass(frozen=True)
class Bench:
    """What every baseline is made from."""

    config: Config  # the run that is evaluated; baselines take its network sizes and seed
    data: Dataset  # with true joints in both splits
    device: torch.device

    @property
    def test(self) -> Split:
        """The images that are scored."""
        return self.data.split("test")

    def flow(self) -> TrainedFlow:
        """The run's flow, and the scale of its poses."""
        config, joints = self.config, len(self.data.skeleton)
        return load_flow(Path(config.paths.flow), joints, config.flow, self.device)

    def network(self) -> PoseNet:
        """A fresh core of the same size as the model's, which names sides itself."""
        scale = self.flow().scale
        torch.manual_seed(self.config.train.seed)
        pose = PoseNet(self.config.model, self.data.skeleton, scale)
        return pose.to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]

    def true_poses(self, split: str, pose: PoseNet) -> tuple[Tensor, Tensor]:
        """All true poses of a split: normalised 2D (N, J, 2), and 3D (N, J, 3) mm."""
        chosen = self.data.split(split)
        assert chosen.joints_2d is not None
        assert chosen.joints_3d_mm is not None
        y = over_crop(chosen.joints_2d, self.data.info.size).to(self.device)
        camera = crop_cameras(chosen.samples).to(self.device)
        true = torch.from_numpy(np.array(chosen.joints_3d_mm)).to(self.device)
        return pose.normalise(y, camera), true


def mean_pose(bench: Bench) -> Predicted:
    """One pose for all: the Procrustes mean of the training poses, the mean of the prior in 2D."""
    train, count = bench.data.split("train"), len(bench.test)
    assert train.joints_3d_mm is not None
    pose_3d = procrustes_mean_pose(train.joints_3d_mm, bench.data.skeleton.root_index)
    pose_2d = np.asarray(bench.data.prior.poses_2d, dtype=np.float64).mean(0)
    return Predicted(
        np.broadcast_to(pose_2d, (count, *pose_2d.shape)).astype(np.float32),
        np.broadcast_to(pose_3d, (count, *pose_3d.shape)).astype(np.float32),
    )


def mean_of_test_poses(test: Split) -> Predicted:
    """One pose for all: the mean of the very poses that are scored, which no model knows."""
    assert test.joints_3d_mm is not None
    pose_3d = labelled_mean_pose(test.joints_3d_mm)
    true_2d = test.joints_2d
    pose_2d = np.zeros((len(pose_3d), 2)) if true_2d is None else labelled_mean(true_2d)
    return Predicted(
        np.broadcast_to(pose_2d, (len(test), *pose_2d.shape)).astype(np.float32),
        np.broadcast_to(pose_3d, (len(test), *pose_3d.shape)).astype(np.float32),
    )


@torch.no_grad()
def own_lifter(pipeline: PosePipeline, test: Split, predicted: Predicted, size: int) -> Predicted:
    """The model's own Lambda, given true 2D joints; where a joint is not labelled, the model's own.

    What is left of the error is Lambda's, the rest comes from the 2D pose. The camera's roll stays
    in it: heads, ``upright`` too, have no part in this.

    Args:
        pipeline: the model.
        test: images with true 2D joints (N, J, 2), NaN where they are not labelled.
        predicted: what the model sees in them.
        size: of the crops, in pixels.
    """
    assert test.joints_2d is not None
    core, device = pipeline.core, next(pipeline.parameters()).device
    joints_2d = np.where(np.isfinite(test.joints_2d), test.joints_2d, predicted.joints_2d)
    y = core.normalise(over_crop(joints_2d, size).to(device), crop_cameras(test.samples).to(device))
    return Predicted(joints_2d, pipeline.in_mm(core.lift(y)[0]).cpu().numpy())


def supervised_lifter(bench: Bench) -> Predicted:
    """Martinez et al.: Lambda from true 2D to true 3D."""
    evaluate, pose = bench.config.evaluate, bench.network()
    y, true = bench.true_poses("train", pose)

    def terms(rows: Tensor, step: int) -> Terms:
        return {"lift": _error_3d(pose, pose.lift(y[rows])[0], true[rows])}

    title, steps, batch = "supervised lifter", evaluate.lifter_steps, evaluate.lifter_batch
    _train(bench, pose.lifter, terms, len(y), title, steps, batch)
    return _lift_test(bench, pose)


def unsupervised_lifter(bench: Bench) -> Predicted:
    """ElePose's setting: Lambda from true 2D by flow and loop alone, without 3D."""
    config, pose, flow = bench.config, bench.network(), bench.flow().flow
    steps, batch = config.evaluate.unsupervised_steps, config.evaluate.unsupervised_batch
    y, _ = bench.true_poses("train", pose)
    loss = LossConfig(
        norms="elepose",
        cycle_weight_init=config.evaluate.cycle_weight_init,
        cycle_weight_steps=round(0.6 * steps),
    )
    objective = Lifting(loss, pose)

    def terms(rows: Tensor, step: int) -> Terms:
        noise = StepNoise.at(config.train.seed, step, batch, bench.device)
        return objective(y[rows], noise, flow, cycle_weight(step, loss))

    _train(bench, pose.lifter, terms, len(y), "unsupervised lifter", steps, batch)
    return _lift_test(bench, pose)


def supervised_image(bench: Bench) -> Predicted:
    """Upper bound: Phi, Omega and Lambda of the same size, trained on true 2D and 3D."""
    config, evaluate, pose = bench.config, bench.config.evaluate, bench.network()
    images = ImageLoader(bench.data.split("train"), bench.device, labels=True)

    def terms(rows: Tensor, step: int) -> Terms:
        return _image_terms(pose, images.take(rows.cpu().numpy()))

    title, steps, batch = "supervised image network", evaluate.image_steps, evaluate.image_batch
    _train(bench, pose, terms, len(images), title, steps, batch)
    pipeline = PosePipeline(pose, flip=config.model.flip_test).eval()
    return predict_split(pipeline, bench.test, bench.device, evaluate.batch)


# The names are those of ``evaluate.baselines``.
BASELINES: dict[str, Callable[[Bench], Predicted]] = {
    "mean_pose": mean_pose,
    "supervised_lifter": supervised_lifter,
    "unsupervised_lifter": unsupervised_lifter,
    "supervised_image": supervised_image,
}


def _image_terms(pose: PoseNet, images: ImageBatch) -> Terms:
    """Squared errors in 2D (over the crop) and 3D (root-relative, mean bone 1)."""
    assert images.joints_2d is not None
    assert images.joints_3d_mm is not None
    _, y, _ = pose.predict_2d(images.x)
    v, _ = pose.lift(pose.normalise(y.float(), images.camera))
    return {
        "joints_2d": pose_from_skeleton_loss(y, images.joints_2d),
        "lift": 0.1 * _error_3d(pose, v, images.joints_3d_mm),
    }


def _error_3d(pose: PoseNet, v: Tensor, joints_3d_mm: Tensor) -> Tensor:
    root = pose.skeleton.root_index
    true = joints_3d_mm - joints_3d_mm[:, root : root + 1]
    return (_in_mean_bones(pose, v) - _in_mean_bones(pose, true)).square().flatten(1).sum(1).mean()


def _in_mean_bones(pose: PoseNet, v: Tensor) -> Tensor:
    return v / bone_lengths(v, pose.bone_indices).mean(1)[:, None, None]


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
    v, _ = pose.lift(bench.true_poses("test", pose)[0])
    true_2d = bench.test.joints_2d
    assert true_2d is not None
    return Predicted(np.array(true_2d), PosePipeline(pose).in_mm(v).cpu().numpy())
