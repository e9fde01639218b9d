"""The training loop: resume, several processes, non-finite losses, what it leaves on disk."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny import know_motion, load_skeleton, tiny_dataset
from tiny_run import overrides, pretrained, pretrained_on_dogs, random_model

from skelift.config import Config, ModelConfig, TrainConfig, compose
from skelift.data.format import SAMPLE, Dataset, Split
from skelift.data.hold_out import HeldOut, spread
from skelift.data.loading import EpochSampler, name_canonical_sides
from skelift.data.motion_cue import radial_motion_of
from skelift.errors import InputError
from skelift.models.discriminator import Discriminator
from skelift.models.heads import (
    FitData,
    FrontBack,
    Head,
    JointFacing,
    PoseFacing,
    Refiner,
    Upright,
)
from skelift.models.heads.front_back import moving_images
from skelift.models.heads.head import FacingHead
from skelift.models.phi import Phi
from skelift.models.pipeline import PosePipeline
from skelift.models.posenet import PoseNet
from skelift.skeleton import Skeleton
from skelift.stages import pretrain_flow, train
from skelift.training.build import build_trainer, check_size
from skelift.training.callbacks import Reporting
from skelift.training.distributed import join
from skelift.training.heads import fit_head
from skelift.training.identity import STEPS_DEPEND_ON
from skelift.training.loop import NonFiniteLoss, fit
from skelift.training.optim import Optimisers, Recipe
from skelift.training.train import train_model
from skelift.training.trainer import Trainer
from skelift.weights import SHIPPED

AUGMENTED = ["train.augment.flip=0.5", "train.augment.brightness=0.3", "train.augment.colour=0.2"]
# Departures that need nothing of the body, and those for one that lies; of a ``home`` each.
OF_ANY = ["loss.mirror=1", "loss.silhouette=1", "loss.moments=1"]
OF_DOGS = ["loss.painted=1", "loss.heading=1", "train.augment.jitter=0.1"]
DEPARTURES = [("home", OF_ANY), ("dogs", OF_DOGS)]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = pretrained(tmp_path_factory.mktemp("training"))
    know_motion(folder / "data")
    return folder


@pytest.fixture(scope="module")
def dogs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return pretrained_on_dogs(tmp_path_factory.mktemp("dogs"))


def weights(home: Path, run: str) -> dict[str, torch.Tensor]:
    return load_file(home / run / "model" / "model.safetensors")


def curve(home: Path, run: str) -> list[dict[str, float]]:
    return read_rows(home / run / "model")


def assert_identical(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> None:
    assert a.keys() == b.keys()
    for name in a:
        assert torch.equal(a[name], b[name]), name


class Killed(BaseException):
    """Stands for a process that ends between two steps."""


@pytest.mark.parametrize(("where", "departures"), DEPARTURES)
def test_resumed_run_ends_with_the_same_weights(
    where: str,
    departures: list[str],
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    home: Path = request.getfixturevalue(where)
    more = ["train.steps=20", *departures, *AUGMENTED]
    train.run(compose(overrides(home, "whole", *more)))
    original = Trainer.step

    def dying(self: Trainer, step: int) -> dict[str, torch.Tensor]:
        if step == 13:
            raise Killed
        return original(self, step)

    monkeypatch.setattr(Trainer, "step", dying)
    with pytest.raises(Killed):
        train.run(compose(overrides(home, "parts", *more)))
    monkeypatch.undo()
    train.run(compose(overrides(home, "parts", *more)))
    assert_identical(weights(home, "whole"), weights(home, "parts"))
    assert [row["step"] for row in curve(home, "parts")] == [5, 10, 15, 20]
    assert all(curve(home, "parts")[0][term] > 0 for term in _losses_of(departures))
    for row, again in zip(curve(home, "whole"), curve(home, "parts"), strict=True):
        row.pop("per_second"), again.pop("per_second")
        assert row == again


def test_a_checkpoint_of_another_run_is_refused_or_replaced(home: Path) -> None:
    first = overrides(home, "changed", "train.steps=5", "train.snapshot_every=5")
    train.run(compose(first))
    checkpoints = home / "changed" / "checkpoints"
    before = {file: file.read_bytes() for file in checkpoints.rglob("*.*") if file.is_file()}
    assert len(before) == 3
    with pytest.raises(InputError, match=r"last\.safetensors: .*another run \(different: train\."):
        train.run(compose([*first, "train.seed=1"]))
    assert before == {file: file.read_bytes() for file in before}
    (checkpoints / "last.safetensors").rename(home / "aside")
    with pytest.raises(InputError, match=r"step-0000005.*train\.seed.*train\.restart=true"):
        train.run(compose([*first, "train.seed=1"]))
    (home / "aside").rename(checkpoints / "last.safetensors")
    train.run(compose([*first, "train.seed=1", "train.restart=true"]))
    train.run(compose(overrides(home, "fresh", "train.steps=5", "train.seed=1")))
    assert_identical(weights(home, "changed"), weights(home, "fresh"))


def test_a_run_is_resumed_whatever_does_not_change_its_steps(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train.run(compose(overrides(home, "same", "train.steps=5")))
    monkeypatch.setattr(Trainer, "step", None)  # no step may be taken
    more = ["interval=1", "checkpoint_every=1", "snapshot_every=1", "patience=3", "device=cpu"]
    more += ["compile=off", "restart=true"]
    changed = [f"train.{key}" for key in more]
    train.run(compose(overrides(home, "same", "train.steps=5", *changed, "model.flip_test=true")))


def test_every_key_of_the_training_is_part_of_a_runs_identity_or_not() -> None:
    """A new key has to be put on one of the two sides."""
    free = {
        "train": {"start", "compile", "device", "interval", "dvclive", "checkpoint_every",
                  "restart", "snapshot_every", "patience"},
        "model": {"flip_test", "storage"},
        "loss": set(),
    }  # fmt: skip
    config = compose()
    for section, keys in STEPS_DEPEND_ON.items():
        known = {item.name for item in fields(getattr(config, section))}
        assert known == set(keys) | free[section], section


def test_non_finite_loss_names_step_term_and_checkpoint(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = Trainer.step

    def poisoned(self: Trainer, step: int) -> dict[str, torch.Tensor]:
        terms = original(self, step)
        return terms | {"flow": terms["flow"] * float("nan")} if step == 8 else terms

    monkeypatch.setattr(Trainer, "step", poisoned)
    with pytest.raises(
        NonFiniteLoss, match=r"'flow' is nan at step 8; .*last\.safetensors.*step 5"
    ):
        train.run(compose(overrides(home, "poisoned", "train.steps=20")))
    assert not (home / "poisoned" / "model" / "model.json").exists()


def test_patience_ends_a_run_with_its_best_snapshot(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The scores are a test double's; the run is killed on the way, and started once too often."""
    scores = iter([9.0, 4.0, 5.0, 4.0])
    real, take_step = train.score_without_labels, Trainer.step

    def score(*args: object, **more: object) -> float:
        assert 0 < real(*args, **more) < 500
        return next(scores)

    def dying(self: Trainer, step: int) -> dict[str, torch.Tensor]:
        if step == 13:
            raise Killed
        return take_step(self, step)

    monkeypatch.setattr(train, "score_without_labels", score)
    more = ["train.snapshot_every=5", "train.patience=2", "train.steps=30"]
    config = compose(overrides(home, "patient", *more))
    monkeypatch.setattr(Trainer, "step", dying)
    with pytest.raises(Killed):
        train.run(config)
    monkeypatch.setattr(Trainer, "step", take_step)
    kept = home / "patient" / "checkpoints" / "snapshots"
    for _ in range(2):
        train.run(config)
        assert sorted(file.stem for file in kept.iterdir()) == [
            f"step-{step:07d}" for step in (5, 10, 15, 20)
        ]
        best = load_file(kept / "step-0000010.safetensors")
        assert_identical(
            weights(home, "patient"), {f"core.{name}": weight for name, weight in best.items()}
        )
        card = json.loads((home / "patient" / "model" / "model.json").read_text())
        assert card["steps"] == 10
    assert next(scores, None) is None


def test_patience_counts_snapshots(home: Path) -> None:
    with pytest.raises(InputError, match=r"train\.patience=2.*train\.snapshot_every"):
        train.run(compose(overrides(home, "hasty", "train.patience=2")))


def test_a_sweep_scores_the_weights_that_would_ship(home: Path) -> None:
    """With patience the best snapshot; label-free scores are a test double's."""
    label_free, scored = iter([9.0, 4.0, 5.0, 6.0]), []
    more = ["train.snapshot_every=5", "train.patience=9", "train.steps=20"]
    config = compose(overrides(home, "shipped", *more))
    data = Dataset(config.paths.data)

    def score(pipeline: PosePipeline, images: Split) -> float:
        scored.append(pipeline.core.omega.maps.weight.clone())
        return 1.0

    with join("cpu") as world:
        reporting = Reporting(spread(data.split("test"), 4), score, lambda *_: False, 3)
        assert train_model(config, data, world, "", lambda *_: next(label_free), reporting)
    kept = home / "shipped" / "checkpoints" / "snapshots"
    best_so_far = [5, 10, 10]
    for weight, step in zip(scored, best_so_far, strict=True):
        snapshot = load_file(kept / f"step-{step:07d}.safetensors")
        assert torch.equal(weight, snapshot["omega.maps.weight"]), step


def test_patience_may_be_set_for_a_run_whose_snapshots_have_no_scores(home: Path) -> None:
    more = ["train.snapshot_every=5", "train.steps=10"]
    train.run(compose(overrides(home, "late", *more)))
    train.run(compose(overrides(home, "late", *more, "train.patience=2")))
    card = json.loads((home / "late" / "model" / "model.json").read_text())
    assert card["steps"] == 10


def test_a_start_whose_sides_mean_something_else_is_refused(home: Path, tmp_path: Path) -> None:
    data = tiny_dataset(tmp_path / "images", size=128)
    own = ["experiment=finetune", "data.name=tiny", f"paths.data={data}"]
    own += ["loss.canonical_sides=false", "heads.pose_facing.enabled=false"]
    own += ["heads.front_back.enabled=false", "heads.joint_facing.enabled=false"]
    own += [f"paths.checkpoints={tmp_path / 'checkpoints'}"]
    with pytest.raises(InputError, match=r"its loss\.canonical_sides is True; set the same"):
        train.run(compose(own))


def test_fit_reports_means_of_each_interval() -> None:
    seen = []
    fit(
        lambda step: {"a": torch.tensor(float(step))},
        7,
        title="",
        batch=1,
        interval=3,
        callbacks=[lambda i: seen.append((i.step, i.statistics["loss/a"]))],
        show=False,
    )
    assert seen == [(3, 1.0), (6, 4.0), (7, 6.0)]


def test_a_callback_ends_the_training_after_all_have_been_called() -> None:
    heard, taken = [], []
    fit(
        lambda step: taken.append(step) or {"a": torch.zeros(())},
        9,
        title="",
        batch=1,
        interval=2,
        callbacks=[lambda i: i.step == 4, lambda i: heard.append(i.step)],
        show=False,
    )
    assert (taken, heard) == ([0, 1, 2, 3], [2, 4])


def test_every_image_comes_once_an_epoch_in_a_new_order() -> None:
    order = EpochSampler(10, 4, seed=3)
    seen = torch.cat([torch.from_numpy(order[step]) for step in range(5)])
    first, second = seen[:10], seen[10:]
    assert sorted(first.tolist()) == sorted(second.tolist()) == list(range(10))
    assert first.tolist() != second.tolist()
    assert EpochSampler(10, 4, seed=3)[4].tolist() == order[4].tolist()


@pytest.mark.parametrize(("start", "lifted"), [("0", [0, 1, 2]), ("2", [2]), ("null", [])])
def test_poses_of_images_are_lifted_from_a_step_on(
    home: Path, start: str, lifted: list[int]
) -> None:
    more = [f"loss.lift_images_from={start}", "train.lifter_learning_rate=0"]
    config = compose(overrides(home, "lifted", *more))
    with join("cpu") as world:
        trainer = build_trainer(config, Dataset(config.paths.data), world)
        assert [step for step in range(3) if "l2d" in trainer.step(step)] == lifted


@pytest.mark.parametrize(("size", "scales"), [(60, 1), (32, 2), (64, 3)])
def test_a_size_that_the_networks_cannot_take_is_refused(size: int, scales: int) -> None:
    with pytest.raises(InputError, match=f"{size} px"):
        check_size(size, scales)


FEW = ["loss.canonical_sides=true", "heads.front_back.steps=40", "heads.refiner.steps=10"]
FRONT_BACK, REFINER = "heads.front_back.enabled=true", "heads.refiner.enabled=true"


@pytest.mark.parametrize("head", ["front_back", "refiner"])
def test_heads_leave_the_core_alone(home: Path, head: str) -> None:
    more = ["train.steps=6", *FEW]
    for name, own in {"with": [f"heads.{head}.enabled=true"], "without": []}.items():
        train.run(compose(overrides(home, name + head, *more, *own)))
    both, one = weights(home, "with" + head), weights(home, "without" + head)
    assert {name.split(".")[1] for name in both.keys() - one.keys()} == {head}
    for name, weight in one.items():
        assert torch.equal(weight, both[name]), name


def test_heads_are_added_to_a_finished_run_without_another_step(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    more, last = ["train.steps=6", *FEW], [FRONT_BACK, REFINER]
    train.run(compose(overrides(home, "whole_heads", *more, *last)))
    train.run(compose(overrides(home, "added", *more)))
    monkeypatch.setattr(Trainer, "step", None)  # no step may be taken
    train.run(compose(overrides(home, "added", *more, *last, "model.flip_test=true")))
    assert_identical(weights(home, "added"), weights(home, "whole_heads"))


def test_the_refiner_is_near_the_best_that_noise_allows() -> None:
    """Gaussian poses with Gaussian noise have a best estimate, the Wiener filter's."""
    rng = np.random.default_rng(0)
    axes = np.linalg.qr(rng.standard_normal((12, 12)))[0]
    variance = np.array([0.3, 0.2, 0.1] + [1e-4] * 9) ** 2
    clean = rng.standard_normal((20_000, 12)) * np.sqrt(variance) @ axes.T
    six = Skeleton.from_mapping(
        {
            "name": "six",
            "joints": list("abcdef"),
            "bones": [list(bone) for bone in ("ab", "bc", "cd", "de", "ef")],
            "bone_lengths_mm": [1] * 5,
            "root": "a",
            "head": "f",
        }
    )
    poses = torch.tensor(clean, dtype=torch.float32).view(-1, 6, 2)
    core = PoseNet(ModelConfig(width=4, lifter_width=8), six, 1.0)
    images = Split(Path("not_read"))
    refiner = fit_head(
        "refiner", FitData(core, images, poses, torch.zeros(len(poses)), 1), 600, seed=0, title=""
    )
    assert isinstance(refiner, Refiner)
    fresh = rng.standard_normal((4000, 12)) * np.sqrt(variance) @ axes.T
    std = 0.05
    noisy = fresh + std * rng.standard_normal(fresh.shape)
    wiener = noisy @ axes * (variance / (variance + std**2)) @ axes.T
    refined = (
        refiner.denoise(torch.tensor(noisy, dtype=torch.float32).view(-1, 6, 2)).detach().numpy()
    )

    def error(poses: np.ndarray) -> float:
        return float(np.sqrt(((poses - fresh) ** 2).mean()))

    assert error(noisy) > 1.8 * error(wiener)
    assert error(refined.reshape(-1, 12)) < 1.15 * error(wiener)


def test_heads_alone_are_fitted_on_the_core_of_a_finished_model(home: Path) -> None:
    more, last = ["train.steps=6", *FEW], [FRONT_BACK, REFINER]
    facing = ["heads.pose_facing.enabled=true", "heads.pose_facing.steps=10"]
    train.run(compose(overrides(home, "core", *more, *last)))
    start = f"train.start={home / 'core' / 'model'}"
    kept = ["train.steps=0", "heads.front_back.steps=0", "heads.refiner.steps=5", start]
    train.run(compose(overrides(home, "refitted", *more, *last, *facing, *kept)))
    before, after = weights(home, "core"), weights(home, "refitted")
    assert {name.split(".")[1] for name in after.keys() - before.keys()} == {"pose_facing"}
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed
    assert all(name.startswith("heads.refiner.") for name in changed)


def test_no_steps_need_a_start(home: Path) -> None:
    with pytest.raises(InputError, match=r"train\.steps=0 keeps .* set train\.start"):
        compose(overrides(home, "no_start", "train.steps=0"))


def test_pose_facing_learns_from_unpaired_poses(home: Path) -> None:
    """Poses that face us hold their noses high; images show both alike."""
    data = Dataset(home / "data")
    torch.manual_seed(0)
    poses, facing = 0.3 * torch.randn(1000, 17, 2), torch.rand(1000) < 0.5
    nose = data.skeleton.index("nose")
    poses[:, nose, 1] = torch.where(facing, -1.0, 1.0)
    core = PoseNet(compose(overrides(home, "heads")).model, data.skeleton, 1.0).eval()
    seen = FitData(core, data.split("train"), poses, facing, 16)
    head = fit_head("pose_facing", seen, 100, seed=0, title="")
    assert isinstance(head, PoseFacing)
    logits = head.facing_logits(torch.zeros(1), poses, core.phi)
    assert ((logits > 0) == facing).float().mean() > 0.95


@pytest.mark.parametrize(
    ("head", "kind", "cue"),
    [
        ("front_back", FrontBack, "radial_motion"),
        ("joint_facing", JointFacing, "steady_motion"),
    ],
)
def test_front_and_back_are_learnt_from_who_approaches(
    tmp_path: Path, home: Path, head: str, kind: type[FacingHead], cue: str
) -> None:
    """White bodies approach, black ones recede; half of the images have pseudo-labels."""
    rng = np.random.default_rng(0)
    nearer = rng.random(200) < 0.5
    images = np.zeros((200, 32, 32, 3), dtype=np.uint8)
    images[nearer] = 255
    moved = np.where(nearer, 0.2, -0.2)
    moved[::2] = [np.nan, 0] * 50
    samples = np.zeros(200, dtype=SAMPLE)
    samples["crop"], samples["focal"] = 100, 1000
    arrays = {"images-00000": images, "masks-00000": images[..., 0], "samples": samples}
    for name, array in (arrays | {cue: moved.astype(np.float32)}).items():
        np.save(tmp_path / f"{name}.npy", array)
    split = Split(tmp_path)
    core = PoseNet(compose(overrides(home, "heads")).model, load_skeleton("h36m17"), 1.0).eval()
    seen = FitData(core, split, torch.zeros(1), torch.zeros(1), 64)
    fitted = fit_head(head, seen, 60, seed=0, title="")
    assert isinstance(fitted, kind)
    x = torch.from_numpy(images).permute(0, 3, 1, 2) / 255
    logits = fitted.facing_logits(x, core.omega(core.phi(x)), core.phi).detach().numpy()
    np.testing.assert_array_equal(logits > 0, nearer)


def test_front_back_learns_from_what_the_pipeline_shows_it(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    split, _ = moving_images(Dataset(home / "data").split("train"))
    body = load_skeleton("h36m17")
    core = PoseNet(compose(overrides(home, "heads")).model, body, 1.0).eval()
    upright = Upright(body)
    for parameter in upright.parameters():
        torch.nn.init.zeros_(parameter)
    heads: dict[str, Head] = {"upright": upright, "front_back": FrontBack(body).eval()}
    head = heads["front_back"]
    assert isinstance(head, FrontBack)
    shown: list[torch.Tensor] = []

    def watched(x: torch.Tensor, read: torch.Tensor, phi: Phi) -> torch.Tensor:
        shown.append(head.head_patches(x, read))
        return torch.zeros(len(x))

    monkeypatch.setattr(head, "facing_logits", watched)
    x = torch.from_numpy(split.images[:]).permute(0, 3, 1, 2) / 255
    learnt = []
    for roll in 0.0, 0.7:
        torch.nn.init.constant_(list(upright.parameters())[-1], roll)  # the last layer's bias
        with torch.no_grad():
            PosePipeline(core, heads).predict_2d(x)
        seen = FitData(core, split, torch.zeros(1), torch.zeros(1), 64, {"upright": upright})
        learnt.append(head.examples(seen)[0])
        torch.testing.assert_close(learnt[-1], shown[-1], atol=1e-4, rtol=0)
    assert (learnt[0] - learnt[1]).abs().max() > 0.1
    plain = FitData(core, split, torch.zeros(1), torch.zeros(1), 64)
    torch.testing.assert_close(head.examples(plain)[0], learnt[0], atol=1e-4, rtol=0)


def test_moving_images_of_held_out_clips_are_images_of_these(home: Path) -> None:
    held = HeldOut(home / "data", 0.5, seed=0)
    whole = Dataset(home / "data").split("train").samples
    for name in ("train", "test"):
        part, radial_motion = moving_images(held.split(name))
        assert set(part.samples["clip"]) <= set(held.split(name).samples["clip"])
        np.testing.assert_array_equal(part.samples, whole[part.rows])
        known = radial_motion_of(held.split(name))
        np.testing.assert_array_equal(radial_motion, known[np.abs(known) >= 0.02])


def test_front_back_needs_canonical_sides_and_radial_motion(home: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"front_back\.enabled=true needs loss\.canonical_sides"):
        train.run(compose(overrides(home, "no_sides", FRONT_BACK)))
    data = tiny_dataset(tmp_path / "images")
    samples = np.load(data / "train" / "samples.npy")
    samples["clip"] = [str(row) for row in range(len(samples))]
    np.save(data / "train" / "samples.npy", samples)
    more = [FRONT_BACK, "loss.canonical_sides=true", f"paths.data={data}"]
    with pytest.raises(InputError, match=r"train: no images before and after"):
        train.run(compose(overrides(home, "no_film", *more)))
    assert not (home / "no_film").exists()
    hands = tiny_dataset(tmp_path / "hands", "hand21")
    more = [
        "skeleton=hand21",
        FRONT_BACK,
        "loss.canonical_sides=true",
        f"paths.data={hands}",
    ]
    with pytest.raises(InputError, match=r"hand21 has no left and right joints"):
        train.run(compose(overrides(home, "no_sides", *more)))


def test_a_run_starts_from_a_finished_model_of_smaller_images(home: Path, tmp_path: Path) -> None:
    start = random_model(tmp_path / "start", heads=["front_back"])
    data = tiny_dataset(tmp_path / "larger", size=48)
    more = ["data.size=48", f"paths.data={data}", f"train.start={start}", "train.steps=1"]
    still = ["train.learning_rate=0", "train.lifter_learning_rate=0"]
    kept = ["loss.canonical_sides=true", FRONT_BACK, "heads.front_back.steps=0"]
    train.run(compose(overrides(home, "started", *more, *still, *kept)))
    ours, theirs = weights(home, "started"), load_file(start / "model.safetensors")
    assert ours.keys() == theirs.keys()
    for name in ours:  # what no gradient moves is the running mean and variance
        assert "running" in name or "num_batches" in name or torch.equal(ours[name], theirs[name])

    train.run(compose(overrides(home, "moved", *more)))
    moved = weights(home, "moved")
    assert moved.keys() == {name for name in theirs if name.startswith("core.")}
    assert not torch.equal(moved["core.omega.maps.weight"], theirs["core.omega.maps.weight"])


def test_finetuning_leaves_lambda_and_front_back_as_they_ship(home: Path, tmp_path: Path) -> None:
    data = tiny_dataset(tmp_path / "images", size=128)
    own = [f"paths.data={data}", "flow.steps=20", "train.batch=4", "heads.refiner.steps=10"]
    own += [f"paths.{name}={tmp_path / name}" for name in ("flow", "model", "checkpoints")]
    own += ["data.name=tiny", "train.steps=2", "train.interval=2"]
    config = compose(["experiment=finetune", *own])
    pretrain_flow.run(config)
    train.run(config)
    ours, shipped = weights(tmp_path, "."), load_file(SHIPPED / "model.safetensors")
    assert ours.keys() == shipped.keys()
    same = {name: torch.equal(ours[name].float(), shipped[name].float()) for name in ours}
    changed = {name.split(".")[1] for name in ours if not same[name]}
    assert changed == {"phi", "omega", "refiner"}


def test_another_start_is_another_run(home: Path, tmp_path: Path) -> None:
    start = random_model(tmp_path / "start")
    more = [f"train.start={start}", "train.steps=5"]
    train.run(compose(overrides(home, "again", *more)))
    train.run(compose(overrides(home, "again", *more)))
    tensors = load_file(start / "model.safetensors")
    save_file(
        {name: t * 1.01 if t.is_floating_point() else t for name, t in tensors.items()},
        start / "model.safetensors",
        {"format": "skelift-model"},
    )
    with pytest.raises(InputError, match=r"of another run \(different: train\.start\)"):
        train.run(compose(overrides(home, "again", *more)))


def test_a_start_that_does_not_fit_is_refused(home: Path, tmp_path: Path) -> None:
    start = random_model(tmp_path / "start")
    with pytest.raises(InputError, match=r"start: its model\.width is 4, not 8; set the same"):
        train.run(compose(overrides(home, "wider", f"train.start={start}", "model.width=8")))
    hands = tiny_dataset(tmp_path / "hands", "hand21")
    more = ["skeleton=hand21", f"paths.data={hands}", f"paths.flow={tmp_path / 'flow'}"]
    pretrain_flow.run(compose(overrides(home, "hands", *more)))
    with pytest.raises(InputError, match=r"skeleton h36m17, and the images are of hand21"):
        train.run(compose(overrides(home, "hands", *more, f"train.start={start}")))
    with pytest.raises(InputError, match=r"nowhere/model\.json: not found"):
        train.run(compose(overrides(home, "none", f"train.start={tmp_path / 'nowhere'}")))
    kept = ["loss.canonical_sides=true", FRONT_BACK, "heads.front_back.steps=0"]
    for own in ([], [f"train.start={start}"]):
        with pytest.raises(InputError, match=r"heads\.front_back\.steps=0 keeps the weights"):
            train.run(compose(overrides(home, "none", *kept, *own)))


@pytest.mark.parametrize("size_and_scales", [(24, 1), (48, 2), (96, 3)])
def test_the_smallest_sizes_work(size_and_scales: tuple[int, int]) -> None:
    size, scales = size_and_scales
    check_size(size, scales)
    logits = Discriminator(1, 4, scales)(torch.zeros(2, 1, size, size))
    assert all(torch.isfinite(scale).all() and scale.numel() for scale in logits)


@pytest.mark.parametrize(
    "departure",
    [
        "loss.gan_form=least_squares",
        "loss.norms=elepose",
        "model.channels=sides",
        "model.squared=true",
        "model.units=crop",
        "loss.lift_images_from=5",
        "loss.lift_grad_scale=0.5",
        "loss.lifted_prior=16",
        "loss.disc_input=redrawn",
        "model.elevation_deg=20",
        "train.augment.flip=0.5",
        "train.augment.brightness=0.3",
    ],
)
def test_each_switch_changes_the_run(home: Path, departure: str) -> None:
    losses = []
    for more in ([], [departure]):
        config = compose(overrides(home, "switch", *more))
        if "units" in departure:
            config.paths.flow = str(home / "flow" / config.model.units)
            pretrain_flow.run(config)
        losses.append(_first_losses(config))
    assert losses[0] != losses[1]


def test_each_network_moves_by_its_own_recipe(home: Path) -> None:
    """Weight decay and a falling rate, against torch's own scheduler."""
    torch.manual_seed(0)
    ours, theirs = torch.nn.Linear(3, 2), torch.nn.Linear(3, 2)
    theirs.load_state_dict(ours.state_dict())
    train_config = TrainConfig(betas=[0.9, 0.999], clip=0)
    optimisers = Optimisers({"a": ours}, {"a": Recipe(0.01, 0.1, 0.8)}, train_config)
    adam = torch.optim.Adam(theirs.parameters(), lr=0.01, weight_decay=0.1)
    schedule = torch.optim.lr_scheduler.ExponentialLR(adam, 0.8)
    x = torch.randn(5, 3)
    for step in range(6):
        optimisers.step(ours(x).square().mean(), step, ["a"])
        adam.zero_grad()
        theirs(x).square().mean().backward()
        adam.step()
        schedule.step()
    torch.testing.assert_close(ours.weight, theirs.weight)

    more = ["train.decay=1", "train.lifter_epoch_decay=0.5", "train.batch=4"]
    config = compose(overrides(home, "rates", *more))
    with join("cpu") as world:
        trainer = build_trainer(config, Dataset(config.paths.data), world)
    rate, two_epochs = trainer.optimisers.rate, len(trainer.data.images) // 2
    assert rate("lifter", two_epochs) == pytest.approx(rate("lifter", 0) / 4)
    assert rate("phi", two_epochs) == rate("phi", 0)


def _first_losses(config: Config) -> list[float]:
    with join("cpu") as world:
        trainer = build_trainer(config, Dataset(config.paths.data), world)
        return [term.item() for step in range(2) for term in trainer.step(step).values()]


def quickstart(home: Path, run: str, *more: str) -> list[str]:
    """``experiment=quickstart`` as it is, on the data and the flow of ``home``."""
    own = [o for o in overrides(home, run) if o.startswith(("paths.", "flow."))]
    quick = ["experiment=quickstart", "data.name=tiny", "data.size=32"]
    quick += ["train.precision=fp32", "train.dvclive=false"]
    return [*own, *quick, "heads.front_back.steps=10", "heads.refiner.steps=10", *more]


def curves_of_one_and_two(
    home: Path,
    name: str,
    program: list[str],
    *more: str,
    recipe: Callable[..., list[str]] = overrides,
) -> zip:
    """Statistics of the same run on one process and on two, step by step."""
    for count in (1, 2):
        subprocess.run(
            [
                *(sys.executable, "-m", "torch.distributed.run", "--standalone"),
                *(f"--nproc-per-node={count}", *program),
                *recipe(home, f"{name}{count}", "train.interval=1", *more),
            ],
            check=True,
            env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "error::FutureWarning"},
        )
    return zip(curve(home, f"{name}1"), curve(home, f"{name}2"), strict=True)


def _losses_of(departures: list[str]) -> list[str]:
    """What curves call the losses that are switched on."""
    keys = [key for key, _, _ in (departure.partition("=") for departure in departures)]
    return [key.replace("loss.", "loss/") for key in keys if key.startswith("loss.")]


def assert_same_losses(row: dict[str, float], other: dict[str, float], rel: float) -> None:
    assert row.keys() == other.keys()
    for name in row.keys() - {"per_second"}:
        assert row[name] == pytest.approx(other[name], rel=rel), f"{name} at step {row['step']}"


@pytest.mark.slow
@pytest.mark.parametrize(("where", "departures"), DEPARTURES)
def test_two_processes_have_the_curve_of_one_in_float64(
    where: str, departures: list[str], request: pytest.FixtureRequest
) -> None:
    home: Path = request.getfixturevalue(where)
    program = [str(Path(__file__).with_name("train_in_float64.py"))]
    # Few steps: rounding grows tenfold a step, from 1e-13 to 3e-9 at the fifth.
    more = ["train.steps=5", *departures, "loss.lifted_prior=8", *AUGMENTED]
    for row, other in curves_of_one_and_two(home, "double", program, *more):
        assert_same_losses(row, other, rel=1e-6)
        assert all(row[term] > 0 for term in _losses_of(departures))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("recipe", "departures"),
    [(quickstart, []), (overrides, ["loss.mirror=1", "loss.lifted_prior=8", *AUGMENTED])],
)
def test_two_processes_have_the_curve_of_one_in_fp32(
    home: Path, recipe: Callable[..., list[str]], departures: list[str]
) -> None:
    name, program = recipe.__name__, ["-m", "skelift", "train"]
    # Adam's first update has one size whatever the gradient's: where rounding decides a sign, fp32
    # runs part there. So fp32 is compared before it, and float64 (above) after five updates.
    more = ["train.steps=1", *departures]
    for row, other in curves_of_one_and_two(home, name, program, *more, recipe=recipe):
        assert_same_losses(row, other, rel=1e-3)


@pytest.mark.slow
def test_pruning_ends_all_processes_of_a_trial(home: Path) -> None:
    program = str(Path(__file__).with_name("prune_a_trial.py"))
    process = subprocess.run(
        [
            *(sys.executable, "-m", "torch.distributed.run", "--standalone"),
            *("--nproc-per-node=2", program),
            *overrides(home, "pruned", "train.steps=40"),
        ],
        check=True,
        capture_output=True,
        text=True,
        timeout=120,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    assert {line for line in process.stdout.splitlines() if line.startswith("process")} == {
        "process 0: finished=False",
        "process 1: finished=False",
    }
    assert not (home / "pruned" / "model" / "model.json").exists()
    assert [row["step"] for row in read_rows(home / "pruned" / "checkpoints")] == [5, 10]


def read_rows(folder: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (folder / "stats.jsonl").read_text().splitlines()]


@pytest.mark.slow
def test_twenty_kills_at_random_moments(home: Path) -> None:
    more = ["train.steps=400", "train.interval=5", "train.checkpoint_every=5"]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "skelift", "train"]
    subprocess.run([*command, *overrides(home, "alone", *more)], check=True, env=environment)
    rng, kills = random.Random(0), 0  # noqa: S311
    checkpoint = home / "killed" / "checkpoints" / "last.safetensors"
    while kills < 20:
        process = subprocess.Popen([*command, *overrides(home, "killed", *more)], env=environment)
        _wait_for_new(checkpoint, process)
        time.sleep(rng.uniform(0, 0.5))
        process.send_signal(signal.SIGTERM if kills % 2 else signal.SIGKILL)
        if process.wait() == 0:
            pytest.fail(f"the run was over after {kills} kills; make it longer")
        kills += 1
    subprocess.run([*command, *overrides(home, "killed", *more)], check=True, env=environment)
    assert_identical(weights(home, "alone"), weights(home, "killed"))


def _wait_for_new(checkpoint: Path, process: subprocess.Popen) -> None:
    """Wait until the run has gone on from where it was, so that a kill hits the training."""
    before = checkpoint.stat().st_mtime_ns if checkpoint.exists() else 0
    while process.poll() is None:
        if checkpoint.exists() and checkpoint.stat().st_mtime_ns != before:
            return
        time.sleep(0.02)


def test_sides_are_named_from_behind_pose_by_pose() -> None:
    body = compose().body
    y = torch.randn(50, len(body), 2, generator=torch.Generator().manual_seed(3))
    hips_and_shoulders = [(4, 1), (11, 14)]
    named = name_canonical_sides(y, body)
    for before, after in zip(y, named, strict=True):
        across = sum(
            float(before[left, 0] - before[right, 0]) for left, right in hips_and_shoulders
        )
        expected = before[body.swap] if across > 0 else before
        assert torch.equal(after, expected)
    assert torch.equal(name_canonical_sides(named, body), named)
