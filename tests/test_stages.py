"""The chain of stages on a tiny data set: flow, training, scores, report, prediction."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from tiny import tiny_dataset
from tiny_run import overrides

from skelift.cli import main
from skelift.commands import predict
from skelift.config import compose
from skelift.data.format import Dataset
from skelift.evaluation.metrics import p_mpjpe
from skelift.reporting.tables import score_table
from skelift.stages import evaluate, pretrain_flow, report, train

STEPS = [
    "train.steps=5",
    "evaluate.lifter_steps=5",
    "evaluate.unsupervised_steps=5",
    "evaluate.image_steps=3",
    "evaluate.lifter_batch=16",
    "evaluate.unsupervised_batch=16",
    "evaluate.image_batch=8",
    "evaluate.shown=3",
]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which every stage has run."""
    folder = tmp_path_factory.mktemp("stages")
    tiny_dataset(folder / "data", size=32)
    config = compose(overrides(folder, "run", *STEPS, f"paths.reports={folder / 'reports'}"))
    for stage in (pretrain_flow, train, evaluate, report):
        stage.run(config)
    return folder


def test_all_rows_are_scored_in_the_same_run(home: Path) -> None:
    metrics = json.loads((home / "reports" / "metrics.json").read_text())
    assert metrics["model"] == "skelift"
    assert list(metrics["rows"]) == [
        "skelift",
        "mean_pose",
        "supervised_lifter",
        "unsupervised_lifter",
        "supervised_image",
    ]
    for row in metrics["rows"].values():
        for name in ("p_mpjpe_mm", "p_mpjpe_reflected_mm", "mpjpe_mm", "pck_150", "auc"):
            assert np.isfinite(row["overall"][name])
        assert row["overall"]["images"] == metrics["data"]["test_images"]
    # The lifters are given the true 2D joints.
    assert metrics["rows"]["supervised_lifter"]["overall"]["error_2d_px"] == pytest.approx(
        0, abs=1e-4
    )
    assert metrics["rows"]["skelift"]["overall"]["error_2d_px"] > 0


def test_a_model_of_other_units_is_not_scored_beside_the_baselines(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    own = overrides(home, "run", f"paths.reports={home / 'other'}")
    assert main(["evaluate", *own, "model.units=crop"]) == 2
    assert "lifts in camera units, but model.units=crop; set model.units=camera" in (
        capsys.readouterr().err
    )
    assert not (home / "other" / "metrics.json").exists()


def test_report_stands_alone(home: Path) -> None:
    page = (home / "reports" / "report.html").read_text()
    assert "synthetic" in page.lower()
    assert 'src="http' not in page


def test_predict_writes_and_draws_a_pose_of_a_test_image(home: Path) -> None:
    data = Dataset(home / "data")
    image = data.split("test").images[0]
    file = home / "image.png"
    cv2.imwrite(str(file), image[..., ::-1])
    out = predict.run([file], home / "run" / "model", home / "poses.json", draw=home / "drawn")
    answer = json.loads(out.read_text())
    (pose,) = answer["predictions"]
    assert answer["units"] == "mm"
    assert len(pose["joints_3d_mm"]) == len(answer["joint_names"]) == len(data.skeleton)
    assert pose["crop"]["from"] == "black background"
    assert pose["joints_3d_mm"][data.skeleton.root_index] == [0, 0, 0]
    bones = np.diff(np.array(pose["joints_3d_mm"])[data.skeleton.bone_indices], axis=1)[:, 0]
    typical = np.mean(data.skeleton.bone_lengths_mm)
    assert np.linalg.norm(bones, axis=1).mean() == pytest.approx(typical, rel=1e-3)
    assert (home / "drawn" / "image.png").exists()


@pytest.fixture(scope="module")
def varied(home: Path) -> Path:
    """Folder of a run with two seeds of one model and a model with another group of losses."""
    more = [
        "+variants.base_0=[]",
        "+variants.base_1=['train.seed=1']",
        "+variants.tied=['loss=recipe']",
        "train.steps=15",
        "train.snapshot_every=5",
        "evaluate.baselines=[mean_pose]",
    ]
    config = compose(overrides(home, "varied", *STEPS, f"paths.reports={home / 'varied'}", *more))
    for stage in (train, evaluate, report):
        stage.run(config)
    return home / "varied"


def test_variants_make_a_model_and_a_row_each(varied: Path) -> None:
    rows = json.loads((varied / "metrics.json").read_text())["rows"]
    assert list(rows) == ["base_0", "base_1", "tied", "mean_pose"]
    assert rows["base_0"] != rows["base_1"]
    card = json.loads((varied / "model" / "tied" / "model.json").read_text())
    assert card["loss"]["silhouette"] == compose(["loss=recipe"]).loss.silhouette


def test_seeds_are_summed_up(varied: Path) -> None:
    metrics = json.loads((varied / "metrics.json").read_text())
    table = score_table(metrics)
    cells = {row.cells[0]: row.cells[table.labels] for row in table.rows}
    errors = [metrics["rows"][name]["overall"]["p_mpjpe_mm"] for name in ("base_0", "base_1")]
    assert cells["base, mean of 2 seeds"] == f"{np.mean(errors):.1f}"
    assert cells["base, std of 2 seeds"] == f"{np.std(errors, ddof=1):.1f}"
    assert not any(cell.startswith("tied,") for cell in cells)


def test_snapshots_show_whether_the_label_free_score_finds_the_better_model(varied: Path) -> None:
    metrics = json.loads((varied / "metrics.json").read_text())
    course = metrics["selection"]["snapshots"]
    assert [s["step"] for s in course] == [5, 10, 15] * 3
    whole = metrics["rows"]["tied"]["overall"]  # the last snapshot has the model's own weights
    last = {key: value for key, value in course[-1].items() if key not in ("model", "step")}
    assert {"p_mpjpe_mm", "label_free"} < set(last)
    assert last == pytest.approx({key: whole[key] for key in last})

    def ranks(score: str) -> np.ndarray:
        values = [s[score] for s in course]
        return np.array([sum(other < value for other in values) for value in values])

    expected = np.corrcoef(ranks("label_free"), ranks("p_mpjpe_mm"))[0, 1]
    correlation = metrics["selection"]["rank_correlation"]["label_free"]
    assert correlation["all"] == pytest.approx(expected)
    assert set(correlation) == {"all", "base_0", "base_1", "tied"}
    assert (varied / "selection.png").stat().st_size > 0


def test_ablation_makes_table_3(home: Path) -> None:
    """A model and a row for each variant of the experiment, down to the report."""
    own = overrides(home, "ablation", *STEPS, f"paths.reports={home / 'ablation'}")
    config = compose(["experiment=ablation", *own])
    for stage in (train, evaluate, report):
        stage.run(config)
    names = ["gan_omega", "gan_omega_base", "gan_omega_base_flow", "gan_omega_base_flow_bones"]
    rows = json.loads((home / "ablation" / "metrics.json").read_text())["rows"]
    assert list(rows) == [*names, "mean_pose"]
    page = (home / "ablation" / "report.html").read_text()
    for number, name in enumerate(names):
        model = home / "ablation" / "model" / name
        assert (model / "model.safetensors").exists()
        assert name in page
        terms = json.loads((model / "stats.jsonl").read_text().splitlines()[-1])
        assert [f"loss/{term}" in terms for term in ("gan", "l2d", "flow", "bones")] == [
            number >= first for first in (0, 1, 2, 3)
        ]
        assert rows[name] not in [rows[other] for other in names if other != name]


def test_mean_pose_row_is_the_procrustes_mean(home: Path) -> None:
    metrics = json.loads((home / "reports" / "metrics.json").read_text())
    test = Dataset(home / "data").split("test")
    assert test.joints_3d_mm is not None
    one = np.broadcast_to(test.joints_3d_mm[:1], test.joints_3d_mm.shape)
    floor = metrics["rows"]["mean_pose"]["overall"]["p_mpjpe_mm"]
    assert 0 < floor < p_mpjpe(one, test.joints_3d_mm).mean() * 1.2


@pytest.mark.parametrize(
    ("argument", "complaint"),
    [
        ("missing.png", "missing.png"),
        ("truncated.png", "truncated.png"),
    ],
)
def test_bad_images_end_with_one_line(
    home: Path, argument: str, complaint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = cv2.imencode(".png", np.zeros((32, 32, 3), np.uint8))[1].tobytes()
    (home / "truncated.png").write_bytes(whole[: len(whole) // 2])
    out = home / "none.json"
    code = main(
        ["predict", str(home / argument), "--model", str(home / "run" / "model"), "--out", str(out)]
    )
    message = capsys.readouterr().err.strip()
    assert code == 2
    assert complaint in message
    assert "\n" not in message
    assert not out.exists()


@pytest.mark.parametrize("verb", ["train", "evaluate", "pretrain-flow", "report"])
def test_missing_input_ends_with_one_line(
    tmp_path: Path, verb: str, capsys: pytest.CaptureFixture[str]
) -> None:
    code = main([verb, *overrides(tmp_path, "run", f"paths.reports={tmp_path / 'reports'}")])
    message = capsys.readouterr().err.strip()
    assert code == 2
    assert str(tmp_path) in message
    assert "\n" not in message
