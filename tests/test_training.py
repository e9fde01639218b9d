"""The training loop: resume, several processes, non-finite losses, what it leaves on disk."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny import load_skeleton, tiny_dataset
from tiny_run import overrides, pretrained, random_model

from skelift.config import Config, LossConfig, TrainConfig, compose
from skelift.data.format import SAMPLE, Dataset, Split
from skelift.data.hold_out import HeldOut
from skelift.data.loading import EpochSampler, name_canonical_sides
from skelift.data.motion_cue import radial_motion_of
from skelift.errors import InputError
from skelift.models.discriminator import Discriminator
from skelift.models.heads.refiner import Refiner
from skelift.models.posenet import PoseNet
from skelift.stages import pretrain_flow, train
from skelift.training.distributed import join
from skelift.training.early_stopping import EarlyStopping
from skelift.training.facing import teach_facing, who_moves
from skelift.training.loop import NonFiniteLoss, fit
from skelift.training.optim import Optimisers, Recipe
from skelift.training.refiner import teach_refiner
from skelift.training.trainer import Trainer, check_size, lifting_reach
from skelift.weights import SHIPPED

AUGMENTED = ["train.augment.flip=0.5", "train.augment.brightness=0.3", "train.augment.colour=0.2"]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return pretrained(tmp_path_factory.mktemp("training"))


def weights(home: Path, run: str) -> dict[str, torch.Tensor]:
    return load_file(home / run / "model" / "model.safetensors")


def curve(home: Path, run: str) -> list[dict[str, float]]:
    lines = (home / run / "model" / "stats.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines]


def assert_identical(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> None:
    assert a.keys() == b.keys()
    for name in a:
        assert torch.equal(a[name], b[name]), name


class Killed(BaseException):
    """Stands for a process that ends between two steps."""


def test_resumed_run_ends_with_the_same_weights(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    more = ["train.steps=20", "train.ema=0.9", "loss.mirror=1", "loss.silhouette=1", *AUGMENTED]
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
    for row, again in zip(curve(home, "whole"), curve(home, "parts"), strict=True):
        row.pop("per_second"), again.pop("per_second")
        assert row == again


def test_another_configuration_starts_afresh(home: Path, capsys: pytest.CaptureFixture) -> None:
    train.run(compose(overrides(home, "changed", "train.steps=5")))
    train.run(compose(overrides(home, "changed", "train.steps=5", "train.seed=1")))
    assert "starting afresh" in capsys.readouterr().out
    train.run(compose(overrides(home, "fresh", "train.steps=5", "train.seed=1")))
    assert_identical(weights(home, "changed"), weights(home, "fresh"))


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


def test_shares_that_do_not_come_out_even_are_refused(home: Path) -> None:
    with pytest.raises(InputError, match=r"train\.shares=3.*train\.batch=8"):
        train.run(compose(overrides(home, "uneven", "train.shares=3")))


def test_patience_ends_a_run_with_its_best_snapshot(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The scores are a test double's; the run is killed on the way, and started once too often."""
    scores = iter([9.0, 4.0, 5.0, 4.0])
    real, take_step = EarlyStopping._score, Trainer.step

    def score(self: EarlyStopping, trainer: Trainer) -> float:
        before = {name: weight.clone() for name, weight in trainer.pose.state_dict().items()}
        assert 0 < real(self, trainer) < 500
        assert_identical(before, dict(trainer.pose.state_dict()))
        return next(scores)

    def dying(self: Trainer, step: int) -> dict[str, torch.Tensor]:
        if step == 13:
            raise Killed
        return take_step(self, step)

    monkeypatch.setattr(EarlyStopping, "_score", score)
    more = ["train.snapshot_every=5", "train.patience=2", "train.steps=30", "train.ema=0.9"]
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
        assert_identical(weights(home, "patient"), best)
        card = json.loads((home / "patient" / "model" / "model.json").read_text())
        assert card["steps"] == 10
    assert next(scores, None) is None


def test_patience_counts_snapshots(home: Path) -> None:
    with pytest.raises(InputError, match=r"train\.patience=2.*train\.snapshot_every"):
        train.run(compose(overrides(home, "hasty", "train.patience=2")))


def test_fit_reports_means_of_each_interval() -> None:
    seen = []
    fit(
        lambda step: {"a": torch.tensor(float(step))},
        7,
        title="",
        batch=1,
        interval=3,
        each_interval=lambda i: seen.append((i.step, i.statistics["loss/a"])),
        show=False,
    )
    assert seen == [(3, 1.0), (6, 4.0), (7, 6.0)]


def test_every_image_comes_once_an_epoch_in_a_new_order() -> None:
    order = EpochSampler(10, 4, seed=3)
    seen = torch.cat([torch.from_numpy(order[step]) for step in range(5)])
    first, second = seen[:10], seen[10:]
    assert sorted(first.tolist()) == sorted(second.tolist()) == list(range(10))
    assert first.tolist() != second.tolist()
    assert EpochSampler(10, 4, seed=3)[4].tolist() == order[4].tolist()


def test_lifting_losses_warm_up_then_ramp_to_their_reach() -> None:
    loss = LossConfig(warm_up=2, ramp=4, reach=0.5)
    reached = [lifting_reach(step, loss) for step in range(7)]
    assert reached == [None, None, 0.125, 0.25, 0.375, 0.5, 0.5]
    assert lifting_reach(0, LossConfig()) == 1


@pytest.mark.parametrize(("size", "scales"), [(60, 1), (32, 2), (64, 3)])
def test_a_size_that_the_networks_cannot_take_is_refused(size: int, scales: int) -> None:
    with pytest.raises(InputError, match=f"{size} px"):
        check_size(size, scales)


TAUGHT_LAST = ["loss.canonical_sides=true", "train.facing_steps=40", "train.refine_steps=10"]


@pytest.mark.parametrize(("switch", "network"), [("facing", "facing"), ("refine", "refiner")])
def test_what_is_taught_last_leaves_the_rest_alone(home: Path, switch: str, network: str) -> None:
    more = ["train.steps=6", *TAUGHT_LAST]
    for name, own in {"with": [f"model.{switch}=true"], "without": []}.items():
        train.run(compose(overrides(home, name, *more, *own)))
    both, one = weights(home, "with"), weights(home, "without")
    assert {name.partition(".")[0] for name in both.keys() - one.keys()} == {network}
    for name, weight in one.items():
        assert torch.equal(weight, both[name]), name


def test_what_is_taught_last_is_added_to_a_finished_run_without_another_step(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    more, last = ["train.steps=6", *TAUGHT_LAST], ["model.facing=true", "model.refine=true"]
    train.run(compose(overrides(home, "whole_facing", *more, *last)))
    train.run(compose(overrides(home, "added", *more)))
    monkeypatch.setattr(Trainer, "step", None)  # no step may be taken
    train.run(compose(overrides(home, "added", *more, *last, "model.flip_test=true")))
    assert_identical(weights(home, "added"), weights(home, "whole_facing"))


def test_the_refiner_is_near_the_best_that_noise_allows() -> None:
    """Gaussian poses with Gaussian noise have a best estimate, the Wiener filter's."""
    rng = np.random.default_rng(0)
    axes = np.linalg.qr(rng.standard_normal((12, 12)))[0]
    variance = np.array([0.3, 0.2, 0.1] + [1e-4] * 9) ** 2
    clean = rng.standard_normal((20_000, 12)) * np.sqrt(variance) @ axes.T
    learned = teach_refiner(
        TrainConfig(refine_steps=600), torch.tensor(clean, dtype=torch.float32).view(-1, 6, 2), ""
    )
    refiner = Refiner(6)
    refiner.load_state_dict({k.removeprefix("refiner."): v for k, v in learned.items()})
    fresh = rng.standard_normal((4000, 12)) * np.sqrt(variance) @ axes.T
    std = 0.05
    noisy = fresh + std * rng.standard_normal(fresh.shape)
    wiener = noisy @ axes * (variance / (variance + std**2)) @ axes.T
    refined = refiner(torch.tensor(noisy, dtype=torch.float32).view(-1, 6, 2)).detach().numpy()

    def error(poses: np.ndarray) -> float:
        return float(np.sqrt(((poses - fresh) ** 2).mean()))

    assert error(noisy) > 1.8 * error(wiener)
    assert error(refined.reshape(-1, 12)) < 1.15 * error(wiener)


def test_facing_learns_who_comes_nearer(tmp_path: Path, home: Path) -> None:
    """White heads come nearer, black ones go away; half of the images are labelled by films."""
    rng = np.random.default_rng(0)
    nearer = rng.random(200) < 0.5
    images = np.zeros((200, 32, 32, 3), dtype=np.uint8)
    images[nearer] = 255
    moved = np.where(nearer, 0.1, -0.1)
    moved[::2] = [np.nan, 0] * 50
    samples = np.zeros(200, dtype=SAMPLE)
    samples["crop"], samples["focal"] = 100, 1000
    arrays = {"images-00000": images, "masks-00000": images[..., 0], "samples": samples}
    for name, array in (arrays | {"radial_motion": moved.astype(np.float32)}).items():
        np.save(tmp_path / f"{name}.npy", array)
    split = Split(tmp_path)
    more = ["loss.canonical_sides=true", "model.facing=true", "train.facing_steps=60"]
    config = compose(overrides(home, "heads", *more))
    pose = PoseNet(config.model, load_skeleton("h36m17"), 1.0)
    learned = teach_facing(config, pose, split, "facing")
    pose.load_state_dict(learned, strict=False)
    pose.eval()
    x = torch.from_numpy(images).permute(0, 3, 1, 2) / 255
    np.testing.assert_array_equal(
        pose.facing(x, pose.omega(pose.phi(x))).detach().numpy() > 0, nearer
    )


def test_who_moves_of_held_out_clips_are_images_of_these(home: Path) -> None:
    held = HeldOut(home / "data", 0.5, seed=0)
    whole = Dataset(home / "data").split("train").samples
    for name in ("train", "test"):
        part, radial_motion = who_moves(held.split(name))
        assert set(part.samples["clip"]) <= set(held.split(name).samples["clip"])
        np.testing.assert_array_equal(part.samples, whole[part.rows])
        known = radial_motion_of(held.split(name))
        np.testing.assert_array_equal(radial_motion, known[np.abs(known) >= 0.02])


def test_facing_needs_sides_from_behind_and_films(home: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"model\.facing=true needs loss\.canonical_sides=true"):
        train.run(compose(overrides(home, "no_sides", "model.facing=true")))
    data = tiny_dataset(tmp_path / "images")
    samples = np.load(data / "train" / "samples.npy")
    samples["clip"] = [str(row) for row in range(len(samples))]
    np.save(data / "train" / "samples.npy", samples)
    more = ["model.facing=true", "loss.canonical_sides=true", f"paths.data={data}"]
    with pytest.raises(InputError, match=r"train: no images before and after"):
        train.run(compose(overrides(home, "no_film", *more)))
    assert not (home / "no_film").exists()
    hands = tiny_dataset(tmp_path / "hands", "hand21")
    more = [
        "skeleton=hand21",
        "model.facing=true",
        "loss.canonical_sides=true",
        f"paths.data={hands}",
    ]
    with pytest.raises(InputError, match=r"hand21 has no left and right joints"):
        train.run(compose(overrides(home, "no_sides", *more)))


def test_a_run_starts_from_a_finished_model_of_smaller_images(home: Path, tmp_path: Path) -> None:
    start = random_model(tmp_path / "start", facing=True)
    data = tiny_dataset(tmp_path / "larger", size=48)
    more = ["data.size=48", f"paths.data={data}", f"train.start={start}", "train.steps=1"]
    still = ["train.learning_rate=0", "train.lifter_learning_rate=0"]
    kept = ["loss.canonical_sides=true", "model.facing=true", "train.facing_steps=0"]
    train.run(compose(overrides(home, "started", *more, *still, *kept)))
    ours, theirs = weights(home, "started"), load_file(start / "model.safetensors")
    assert ours.keys() == theirs.keys()
    for name in ours:  # what no gradient moves is the running mean and variance
        assert "running" in name or "num_batches" in name or torch.equal(ours[name], theirs[name])

    train.run(compose(overrides(home, "moved", *more)))
    moved = weights(home, "moved")
    assert moved.keys() == {name for name in theirs if not name.startswith("facing.")}
    assert not torch.equal(moved["omega.maps.weight"], theirs["omega.maps.weight"])


def test_adapting_leaves_lambda_and_facing_as_they_ship(home: Path, tmp_path: Path) -> None:
    data = tiny_dataset(tmp_path / "images", size=48)
    own = [f"paths.data={data}", "flow.steps=20", "train.batch=8", "train.refine_steps=10"]
    own += [f"paths.{name}={tmp_path / name}" for name in ("flow", "model", "checkpoints")]
    config = compose(["experiment=finetune", "train.steps=2", "train.interval=2", *own])
    pretrain_flow.run(config)
    train.run(config)
    ours, shipped = weights(tmp_path, "."), load_file(SHIPPED / "model.safetensors")
    assert ours.keys() == shipped.keys()
    changed = {
        name.partition(".")[0] for name in ours if not torch.equal(ours[name], shipped[name])
    }
    assert changed == {"phi", "omega", "refiner"}


@pytest.mark.parametrize("steps", ["facing_steps=-1", "refine_steps=0"])
def test_what_is_taught_last_needs_steps(home: Path, steps: str) -> None:
    with pytest.raises(InputError, match=rf"train\.{steps}: must be [01] or more"):
        train.run(compose(overrides(home, "untaught", "model.refine=true", f"train.{steps}")))
    assert not (home / "untaught").exists()


def test_another_start_is_another_run(
    home: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    start = random_model(tmp_path / "start")
    more = [f"train.start={start}", "train.steps=5"]
    train.run(compose(overrides(home, "again", *more)))
    train.run(compose(overrides(home, "again", *more)))
    assert "starting afresh" not in capsys.readouterr().out
    tensors = load_file(start / "model.safetensors")
    save_file(
        {name: t * 1.01 if t.is_floating_point() else t for name, t in tensors.items()},
        start / "model.safetensors",
        {"format": "skelift-model"},
    )
    train.run(compose(overrides(home, "again", *more)))
    assert "starting afresh" in capsys.readouterr().out


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
    kept = ["loss.canonical_sides=true", "model.facing=true", "train.facing_steps=0"]
    for own in ([], [f"train.start={start}"]):
        with pytest.raises(InputError, match=r"train\.facing_steps=0 keeps what train\.start"):
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
        "loss.detach_skeleton=true",
        "loss.warm_up=5",
        "loss.lifted_prior=16",
        "loss.judge_redrawn=true",
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
        trainer = Trainer(config, Dataset(config.paths.data), world)
    rate, two_epochs = trainer.optimisers.rate, len(trainer.images) // 2
    assert rate("lifter", two_epochs) == pytest.approx(rate("lifter", 0) / 4)
    assert rate("phi", two_epochs) == rate("phi", 0)


def _first_losses(config: Config) -> list[float]:
    with join("cpu") as world:
        trainer = Trainer(config, Dataset(config.paths.data), world)
        return [term.item() for step in range(2) for term in trainer.step(step).values()]


def quickstart(home: Path, run: str, *more: str) -> list[str]:
    """``experiment=quickstart`` as it is, on the data and the flow of ``home``."""
    own = [o for o in overrides(home, run) if o.startswith(("paths.", "flow."))]
    quick = ["experiment=quickstart", "train.precision=fp32", "train.dvclive=false"]
    return [*own, *quick, "train.facing_steps=10", "train.refine_steps=10", *more]


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


def assert_same_losses(row: dict[str, float], other: dict[str, float], rel: float) -> None:
    assert row.keys() == other.keys()
    for name in row.keys() - {"per_second"}:
        assert row[name] == pytest.approx(other[name], rel=rel), f"{name} at step {row['step']}"


@pytest.mark.slow
def test_two_processes_have_the_curve_of_one_in_float64(home: Path) -> None:
    program = [str(Path(__file__).with_name("train_in_float64.py"))]
    # Few steps: rounding grows tenfold a step, from 1e-13 to 3e-9 at the fifth.
    more = ["train.steps=5", "loss.mirror=1", "loss.silhouette=1", "loss.lifted_prior=8"]
    more += AUGMENTED
    for row, other in curves_of_one_and_two(home, "double", program, *more):
        assert_same_losses(row, other, rel=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("recipe", "departures"),
    [(quickstart, []), (overrides, ["loss.mirror=1", "loss.lifted_prior=8", *AUGMENTED])],
)
def test_two_processes_have_the_curve_of_one_in_fp32(
    home: Path, recipe: Callable[..., list[str]], departures: list[str]
) -> None:
    name, program = recipe.__name__, ["-m", "skelift", "train"]
    more = ["train.steps=20", "train.shares=2", *departures]
    for row, other in curves_of_one_and_two(home, name, program, *more, recipe=recipe):
        assert_same_losses(row, other, rel=1e-4)
    assert_identical(weights(home, f"{name}1"), weights(home, f"{name}2"))


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
        process.send_signal(signal.SIGKILL)
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
