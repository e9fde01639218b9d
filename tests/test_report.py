"""The report, its drawings and its tables, made from small random inputs."""

import json
import re
import subprocess
import sys
from base64 import b64decode
from collections.abc import Callable
from dataclasses import asdict
from html.parser import HTMLParser
from io import StringIO
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console
from tiny import load_skeleton, random_pose

from skelift.config import compose
from skelift.errors import InputError
from skelift.evaluation import metrics, scores
from skelift.files import write_json
from skelift.reporting import draw, tables
from skelift.reporting.curves import plot_curves, read_statistics
from skelift.reporting.predictions import Predictions, choose_images
from skelift.stages import report
from skelift.times import Cost

BODY = load_skeleton("h36m17")
SIZE = 32
IMAGES = 6
BLUE, ORANGE = draw.SIDES["left"], draw.SIDES["right"]


class Page(HTMLParser):
    """Collects tables (lists of rows of cell texts), embedded images and outside references."""

    def __init__(self, html):
        super().__init__()
        self.tables, self.embedded, self.outside, self.words = [], [], [], []
        self._in_cell = False
        self.feed(html)

    def handle_starttag(self, tag, attributes):
        for name, value in attributes:
            if name in {"src", "href", "data", "action", "srcset"}:
                known = value.startswith("data:image/png;base64,")
                (self.embedded if known else self.outside).append(value)
        if tag in {"script", "link", "iframe", "object"}:
            self.outside.append(tag)
        if tag == "table":
            self.tables.append([])
        if tag == "tr":
            self.tables[-1].append([])
        if tag in {"td", "th"}:
            self.tables[-1][-1].append("")
            self._in_cell = True

    def handle_endtag(self, tag):
        if tag in {"td", "th"}:
            self._in_cell = False

    def handle_data(self, text):
        self.words.append(text)
        if self._in_cell:
            self.tables[-1][-1][-1] += text


def make_inputs(folder, skeleton=BODY, with_truth=True, synthetic=True):
    """What evaluate and train leave behind, of random poses; the configuration that finds it."""
    rng = np.random.default_rng(0)
    truth = np.stack([random_pose(skeleton, rng) for _ in range(IMAGES)])
    predicted = truth + rng.normal(scale=60, size=truth.shape)
    truth_2d = rng.uniform(0, SIZE, (IMAGES, len(skeleton), 2))
    activity = np.array(["walk", "<sit>"] * (IMAGES // 2))
    if with_truth:
        known = {"true_3d_mm": truth, "true_2d_px": truth_2d}
        rows = {
            "mean_pose": scores.score(skeleton, activity, predicted_3d_mm=truth[::-1], **known),
            "ours": scores.score(
                skeleton,
                activity,
                predicted_3d_mm=predicted,
                predicted_2d_px=truth_2d + rng.normal(size=truth_2d.shape),
                **known,
            ),
        }
    else:
        rows = {"ours": scores.score(skeleton, activity)}
    write_json(
        folder / "reports/metrics.json",
        {
            "protocol": scores.protocol(skeleton, SIZE),
            "data": {"name": "tiny", "synthetic": synthetic, "test_images": IMAGES},
            "rows": rows,
            "model": "ours",
        },
    )
    optional = {
        "joints_2d_true": truth_2d,
        "joints_3d_true_mm": truth,
        "p_mpjpe_mm": metrics.p_mpjpe(predicted, truth),
    }
    Predictions(
        images=rng.integers(0, 255, (IMAGES, SIZE, SIZE, 3), dtype=np.uint8),
        skeleton_images=rng.random((IMAGES, 1, SIZE, SIZE)),
        joints_2d=truth_2d,
        joints_3d_mm=predicted,
        activity=activity,
        kind=np.array(["sample"] * 3 + ["worst"] * 3 if with_truth else ["sample"] * IMAGES),
        **(optional if with_truth else {}),
    ).save(folder / "reports/predictions.npz")
    write_statistics(folder / "model")
    return compose(
        [
            f"paths.model={folder / 'model'}",
            f"paths.reports={folder / 'reports'}",
            f"skeleton={skeleton.name}",
        ]
    )


def write_statistics(folder, offset=0.0):
    folder.mkdir(parents=True, exist_ok=True)
    lines = [
        {"step": s, "loss/gan": 1.0 / s + offset, "loss/flow": -1.0 * s, "images_per_s": 100.0}
        for s in range(10, 101, 10)
    ]
    (folder / "stats.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("report")
    return report.run(make_inputs(folder))


def test_report_needs_nothing_beside_it(finished):
    html = finished.read_text()
    page = Page(html)
    assert not page.outside
    assert "url(" not in html
    assert "@import" not in html
    beside = {path.stem: path.read_bytes() for path in finished.parent.glob("*.png")}
    assert set(beside) == {"samples", "worst", "curves"}
    embedded = {b64decode(source.split(",", 1)[1]) for source in page.embedded}
    assert embedded == set(beside.values())
    assert all(png.startswith(b"\x89PNG") for png in embedded)


def test_tables_show_the_numbers_of_metrics_json(finished):
    metrics_json = json.loads((finished.parent / "metrics.json").read_text())
    page_tables = Page(finished.read_text()).tables
    headings, mean_pose, ours = page_tables[0]
    assert (mean_pose[0], ours[0]) == ("Mean pose", "ours")
    for name, row in (("mean_pose", mean_pose), ("ours", ours)):
        overall = metrics_json["rows"][name]["overall"]
        shown = dict(zip(headings[3:], row[3:], strict=True))
        for key, heading in {
            "p_mpjpe_mm": "P-MPJPEmm ↓",
            "p_mpjpe_reflected_mm": "P-MPJPE mirroredmm ↓",
            "n_mpjpe_mm": "N-MPJPEmm ↓",
            "mpjpe_mm": "MPJPEmm ↓",
            "pck_150": "PCK 150% ↑",
            "auc": "AUC% ↑",
            "error_2d_px": "2D errorpx ↓",
            "error_2d_swapped_px": "2D swappedpx ↓",
            "swapped_share": "share swapped% ↓",
        }.items():
            assert shown[heading] == (f"{overall[key]:.1f}" if key in overall else "-")
    assert mean_pose[-1] == "-"  # it has no 2D in these inputs

    by_activity = next(t for t in page_tables if t[0][:2] == ["Activity", "Mean posemm ↓"])
    for activity, _, shown in by_activity[1:]:
        of_ours = metrics_json["rows"]["ours"]["per_activity"][activity]
        assert shown == f"{of_ours['p_mpjpe_mm']:.1f}"
    assert [row[0] for row in by_activity[1:]] == ["<sit>", "walk"]


def test_report_says_that_rendered_images_are_rendered(finished):
    words = " ".join(Page(finished.read_text()).words)
    assert "Every image here was rendered" in words
    assert "nothing yet about Human3.6M" in words


def test_same_inputs_give_the_same_report(finished, tmp_path):
    again = report.run(make_inputs(tmp_path))
    for name in ("samples.png", "worst.png", "curves.png"):
        assert (again.parent / name).read_bytes() == (finished.parent / name).read_bytes()


def test_images_without_truth_get_no_scores_and_no_truth_columns(tmp_path, finished):
    hand = load_skeleton("hand21")
    made = report.run(make_inputs(tmp_path, hand, with_truth=False, synthetic=False))
    page = Page(made.read_text())
    words = " ".join(page.words)
    assert "No score is claimed" in words
    assert "rendered" not in words
    assert page.tables == []
    assert len(page.embedded) == 2  # predictions and curves, no worst cases
    assert _width(made.parent / "samples.png") < _width(finished.parent / "samples.png")


def _width(png):
    return int.from_bytes(png.read_bytes()[16:20], "big")


@pytest.mark.parametrize(
    ("broken", "content", "named"),
    [
        ("reports/metrics.json", None, "skelift evaluate"),
        ("reports/metrics.json", "{}", "lacks data, model"),
        ("reports/metrics.json", '{"protocol": {}, "data": {}, "rows": {}}', "synthetic"),
        ("reports/predictions.npz", None, "skelift evaluate"),
        ("reports/predictions.npz", "PK no zip", "cannot be read"),
        ("model/stats.jsonl", None, "skelift train"),
        ("model/stats.jsonl", '{"step": 1, "loss/gan": 2}\n{"step": 2, "lo', "line 2"),
        ("model/stats.jsonl", '{"step": 1}\n', "no statistics"),
    ],
)
def test_missing_and_broken_inputs_are_named(tmp_path, broken, content, named):
    config = make_inputs(tmp_path)
    path = tmp_path / broken
    path.unlink() if content is None else path.write_text(content)
    with pytest.raises(InputError, match=named) as caught:
        report.run(config)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.rglob("*.html")) + list(tmp_path.rglob("*.png"))


def test_heads_fitted_alone_have_no_curves(tmp_path):
    config = make_inputs(tmp_path)
    (tmp_path / "model/stats.jsonl").unlink()
    config.train.steps = 0
    report.run(config)
    assert (tmp_path / "reports/samples.png").exists()
    assert not (tmp_path / "reports/curves.png").exists()


def test_poses_of_another_skeleton_are_refused(tmp_path):
    config = make_inputs(tmp_path)
    config.skeleton = load_skeleton("hand21").to_mapping()
    with pytest.raises(InputError, match=r"17 joints.*hand21 has 21"):
        report.run(config)


def test_curves_of_variants_share_their_axes(tmp_path):
    write_statistics(tmp_path / "full")
    write_statistics(tmp_path / "no_flow", offset=3.0)
    statistics = read_statistics(tmp_path)
    assert list(statistics) == ["full", "no_flow"]
    np.testing.assert_array_equal(statistics["no_flow"]["loss/gan"][0], range(10, 101, 10))
    assert statistics["no_flow"]["loss/gan"][1][0] == pytest.approx(3.1)
    figure = plot_curves(statistics)
    titles = [axes.get_title(loc="left") for axes in figure.axes if axes.get_visible()]
    assert titles == ["gan", "flow", "images per s"]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["full", "no_flow"]


def in_80_characters(show: Callable[..., None], content: object) -> str:
    stream = StringIO()
    show(content, Console(file=stream, width=80))
    return stream.getvalue()


def test_terminal_table_fits_80_characters_and_keeps_every_digit(finished):
    metrics_json = json.loads((finished.parent / "metrics.json").read_text())
    printed = in_80_characters(tables.print_scores, metrics_json)
    assert max(map(len, printed.splitlines())) <= 80
    (line,) = [line for line in printed.splitlines() if line.strip().startswith("ours")]
    overall = metrics_json["rows"]["ours"]["overall"]
    assert line.split()[1:] == [f"{overall[column.key]:.1f}" for column in tables.PRINTED]
    assert "synthetic" in printed


def test_a_body_of_known_height_is_scored_by_a_share_of_it(finished):
    metrics_json = json.loads((finished.parent / "metrics.json").read_text())
    for row in metrics_json["rows"].values():
        row["overall"]["pck_tenth"] = 12.3
    printed = in_80_characters(tables.print_scores, metrics_json)
    assert max(map(len, printed.splitlines())) <= 80
    (line,) = [line for line in printed.splitlines() if line.strip().startswith("ours")]
    assert " 12.3 " in line
    assert "height/10" in printed
    assert "150" not in printed


def test_times_of_the_stages_before_the_report_are_on_the_page_and_in_print(tmp_path):
    config = make_inputs(tmp_path)
    costs = {"prepare": Cost(12.4, 20.6), "train": Cost(100.0, 190.0), "report": Cost(7.0, 7.0)}
    content = {stage: asdict(cost) for stage, cost in costs.items()}
    write_json(tmp_path / "reports/times.json", content)
    html = report.run(config).read_text()
    found = [table for table in Page(html).tables if table[0][0] == "Stage"]
    rows = [["prepare", "12", "21"], ["train", "100", "190"], ["all", "112", "211"]]
    assert [table[1:] for table in found] == [rows]
    printed = [line.split() for line in in_80_characters(tables.print_times, costs).splitlines()]
    assert ["report", "7", "7"] in printed
    assert ["all", "119", "218"] in printed


def test_worst_images_come_worst_first(tmp_path):
    make_inputs(tmp_path)
    stored = Predictions.load(tmp_path / "reports/predictions.npz")
    worst = stored.of_kind("worst")
    assert len(worst) == 3
    assert (np.diff(worst.p_mpjpe_mm) <= 0).all()
    row = int(np.flatnonzero(stored.p_mpjpe_mm == worst.p_mpjpe_mm[0])[0])
    np.testing.assert_array_equal(worst.images[0], stored.images[row])


def test_chosen_images_are_spread_over_clips():
    clips = np.repeat(["a", "b", "c", "d"], 25)
    errors = np.arange(100.0)  # the 25 worst are all of clip d
    rows, kinds = choose_images(clips, errors, samples=4, worst=2)
    assert sorted(clips[rows[kinds == "sample"]]) == ["a", "b", "c", "d"]
    assert rows[kinds == "worst"].tolist() == [99, 74]
    again, _ = choose_images(clips, errors, samples=4, worst=2)
    np.testing.assert_array_equal(rows, again)
    few, kinds = choose_images(["a"] * 10, samples=6)
    assert len(set(few)) == 6
    assert set(kinds) == {"sample"}


def test_overlay_puts_left_and_right_where_they_belong():
    image = np.zeros((64, 64, 3), np.uint8)
    joints = np.full((17, 2), np.nan)  # unknown joints are left out
    for name, place in {
        "l_elbow": (48.5, 16.5),
        "l_wrist": (48.5, 40.5),
        "r_elbow": (16.5, 16.5),
        "r_wrist": (16.5, 40.5),
    }.items():
        joints[BODY.index(name)] = place
    drawn = draw.draw_pose_2d(image, joints, BODY)
    np.testing.assert_allclose(drawn[30, 48], BLUE, atol=30)  # anti-aliased
    np.testing.assert_allclose(drawn[30, 16], ORANGE, atol=30)
    assert not drawn[30, 28:36].any()
    assert not image.any()


def test_views_turn_the_camera_frame():
    # x right, y down, z forward
    np.testing.assert_allclose(draw.CAMERA.turn([1, 2, 3]), [1, 2, 3])
    # From the right, what was far is to the right, and what was right is near.
    np.testing.assert_allclose(draw.RIGHT.turn([1, 2, 3]), [3, 2, -1], atol=1e-12)
    # From above, what was near is below, and what was up is near.
    np.testing.assert_allclose(draw.ABOVE.turn([1, 2, 3]), [1, -3, 2], atol=1e-12)


@pytest.mark.parametrize("near", ["left", "right"])
def test_nearer_limbs_hide_farther_ones(near):
    pose = np.zeros((17, 3))
    for side in ("left", "right"):
        depth = -300 if side == near else 300
        pose[BODY.index(f"{side[0]}_shoulder")] = [-400, 300, depth]
        pose[BODY.index(f"{side[0]}_elbow")] = [0, 300, depth]
        pose[BODY.index(f"{side[0]}_wrist")] = [400, 300, depth]
    window = draw.Window(np.zeros(3), 500.0)
    drawn = draw.draw_pose_3d(pose, BODY, size=128, window=window).astype(int)
    red, _, blue = drawn[round((300 / 500 + 1) * 64), 90]
    assert (blue > red) == (near == "left")


def test_window_holds_a_pose_however_it_is_turned():
    pose = random_pose(BODY, np.random.default_rng(3))
    pose += [500, 0, 4000]
    window = draw.Window.around(pose)
    for azimuth in range(0, 360, 30):
        turned = draw.ViewAngle("", azimuth, 20).turn(pose - window.centre)
        assert np.abs(turned).max() <= window.radius


def test_skeleton_images_show_their_channels_in_the_bodys_colours():
    maps = np.zeros((3, 8, 8))
    maps[BODY.channel_names.index("left"), 2, 3] = 1.0
    drawn = draw.draw_skeleton_image(maps, BODY)
    assert tuple(drawn[2, 3]) == BLUE
    assert drawn.any(2).sum() == 1
    assert tuple(draw.draw_skeleton_image(np.full((1, 8, 8), 0.6), BODY)[0, 0]) == (153,) * 3


def test_prediction_is_one_image_of_overlay_and_two_views():
    rng = np.random.default_rng(0)
    image = rng.integers(0, 255, (50, 100, 3), dtype=np.uint8)
    drawn = draw.draw_prediction(
        image, rng.uniform(0, 50, (17, 2)), random_pose(BODY, rng), BODY, height=60
    )
    assert drawn.shape == (60, 120 + 2 * 60, 3)
    assert drawn.dtype == np.uint8


def test_drawing_does_not_load_matplotlib():
    # `skelift predict --draw` should not pay for it.
    code = "import sys, skelift.reporting.draw; sys.exit('matplotlib' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_page_ships_with_the_package():
    page = Path(draw.__file__).parent / "page.html"
    assert not re.search(r"https?:|//[a-z]", page.read_text())
