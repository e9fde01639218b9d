"""Which way a body heads: a walking dog, and people."""

import json
from io import StringIO
from pathlib import Path

import numpy as np
import pytest
import quadruped
import torch
import yaml
from quadruped import BODY, DOG, Array, crop, pixels, seen, stance
from rich.console import Console
from scipy.spatial.transform import Rotation
from tiny import load_skeleton, random_pose, tiny_dataset

from skelift import losses
from skelift.config import compose
from skelift.data.anatomy import side_cues
from skelift.data.chosen import chosen_dataset
from skelift.data.format import SAMPLE, Split
from skelift.data.measures import _sides_jump
from skelift.data.motion_cue import REACH, heading_motion, heading_motion_of
from skelift.errors import InputError
from skelift.evaluation.heading import facing, forwards, heading_deg, heading_error_deg, quarter
from skelift.evaluation.scores import protocol, score
from skelift.reporting import tables

PERSON = load_skeleton("h36m17")
HEADINGS = [0, 40, 50, 90, 130, 140, 180, -140, -130, -90, -50, -40]
QUARTERS = ["away", "away", "right", "right", "right", "towards"]
QUARTERS += ["towards", "towards", "left", "left", "left", "away"]


def dogs(headings: list[int], down_deg: float = 0) -> Array:
    return np.array([seen(stance(0.7 * n), h, (0, 4000), down_deg) for n, h in enumerate(headings)])


def apart(one: Array, other: Array) -> Array:
    """Degrees between angles, by their points on the circle."""
    points = [np.stack([np.cos(a), np.sin(a)]) for a in np.radians([one, other])]
    return np.degrees(np.arccos((points[0] * points[1]).sum(0).clip(-1, 1)))


def test_a_dog_heads_along_its_axis() -> None:
    found = heading_deg(forwards(dogs(HEADINGS), BODY))
    np.testing.assert_allclose(apart(found, np.array(HEADINGS)), 0, atol=1e-4)
    assert quarter(dogs(HEADINGS), BODY).tolist() == QUARTERS
    # A camera that looks down a little has nearly the same vertical.
    found = heading_deg(forwards(dogs(HEADINGS, down_deg=15), BODY))
    assert apart(found, np.array(HEADINGS)).max() < 5


def test_a_person_heads_where_the_trunk_faces() -> None:
    rng = np.random.default_rng(0)
    pose = random_pose(PERSON, rng)
    for name, place in {
        "head": (0, -600, 0),
        "pelvis": (0, 0, 0),
        "l_hip": (-130, 0, 0),
        "r_hip": (130, 0, 0),
        "l_shoulder": (-180, -450, 0),
        "r_shoulder": (180, -450, 0),
    }.items():  # seen from behind
        pose[PERSON.index(name)] = place
    turned = [Rotation.from_euler("y", h, degrees=True).apply(pose) for h in HEADINGS]
    found = heading_deg(forwards(turned, PERSON))
    np.testing.assert_allclose(apart(found, np.array(HEADINGS)), 0, atol=1e-4)
    sides = {"away": "back", "towards": "front", "left": "side", "right": "side"}
    assert facing(turned, PERSON).tolist() == [sides[q] for q in QUARTERS]


def test_what_is_labelled_between_tells_too() -> None:
    truth = dogs(HEADINGS)
    truth[:, BODY.index("withers")] = np.nan  # the loin lies in line
    truth[3, [BODY.index("tail_base")]] = np.nan
    found = heading_deg(forwards(truth, BODY))
    assert np.isnan(found[3])
    np.testing.assert_allclose(apart(np.delete(found, 3), np.delete(HEADINGS, 3)), 0, atol=1e-4)
    assert quarter(truth, BODY).tolist() == [*QUARTERS[:3], "unknown", *QUARTERS[4:]]
    # The prediction goes by the same joints: its withers are not looked at.
    predicted = dogs(HEADINGS)
    predicted[:, BODY.index("withers")] = predicted[:, BODY.index("tail_base")] * 2
    error = heading_error_deg(predicted, truth, BODY)
    np.testing.assert_allclose(np.delete(error, 3), 0, atol=1e-6)
    assert np.isnan(error[3])


def test_error_is_the_smaller_way_round() -> None:
    true, predicted = [0, 170, -170, 10, 90], [30, -170, 170, -170, -90]
    error = heading_error_deg(dogs(predicted), dogs(true), BODY)
    np.testing.assert_allclose(error, [30, 20, 20, 180, 180], atol=1e-5)


def test_scores_of_a_dog_are_by_heading() -> None:
    truth, predicted = dogs(HEADINGS), dogs([h + 20 for h in HEADINGS])
    predicted[3] = dogs([-90])[0]
    for row in (0, 1):
        truth[row, BODY.axis_path] = np.nan  # the heading alone is unknown
    activities, moments = ["walk"] * len(truth), np.array(list("aabbccddeeff"))
    rows = score(BODY, activities, moments=moments, predicted_3d_mm=predicted, true_3d_mm=truth)
    assert rows["overall"]["heading_error_deg"] == pytest.approx(20, abs=1e-4)  # the median
    assert rows["overall"]["heading_wrong_share"] == pytest.approx(100 / 10)
    low, high = rows["interval"]["heading_wrong_share"]
    assert 0 <= low < 10 < high
    assert "per_facing" not in rows
    counts = {name: row["images"] for name, row in rows["per_heading"].items()}
    assert counts == {"unknown": 2, "away": 1, "right": 3, "towards": 3, "left": 3}
    assert rows["per_heading"]["right"]["heading_wrong_share"] == pytest.approx(100 / 3)
    assert "heading_error_deg" not in rows["per_heading"]["unknown"]
    assert {"heading_error_deg", "heading_wrong_share", "per_heading"} <= set(protocol(BODY, 64))
    assert not any("heading" in key for key in protocol(PERSON, 64))

    out = StringIO()
    data = {"name": "dogs", "synthetic": True, "test_images": len(truth)}
    metrics = {"data": data, "model": "skelift", "rows": {"skelift": rows}}
    tables.print_scores(json.loads(json.dumps(metrics)), Console(file=out, width=80))
    assert max(map(len, out.getvalue().splitlines())) <= 80
    assert "heading 20° off in the median, by more than 90° in 10 % of" in out.getvalue()
    assert "skelift, by heading" in out.getvalue()


def film_split(folder: Path, samples: np.ndarray) -> Split:
    np.save(folder / "samples.npy", samples)
    return Split(folder)


def walk(headings: list[int], frames: int, step: float) -> list[list[Array]]:
    """Films of dogs that pass 4 m in front of the camera, ``step`` mm each frame."""
    films = []
    for heading in headings:
        way = step * np.array([np.sin(np.radians(heading)), np.cos(np.radians(heading))])
        places = [(n - frames // 2) * way + [0, 4000] for n in range(frames)]
        films.append([seen(stance(0.9 * n), heading, tuple(p)) for n, p in enumerate(places)])
    return films


def records(films: list[list[Array]]) -> np.ndarray:
    samples = np.zeros(sum(map(len, films)), dtype=SAMPLE)
    numbered = [(f, n) for f, film in enumerate(films) for n in range(len(film))]
    for sample, (film, frame) in zip(samples, numbered, strict=True):
        sample["clip"], sample["frame"] = f"clip{film}", frame
        sample["crop"] = crop(films[film][frame])
    return samples


def axis_of(poses: list[Array]) -> torch.Tensor:
    rear, front = BODY.axis_path[[0, -1]]
    axes = [(pixels(p)[front] - pixels(p)[rear]) / (crop(p)[2] / 2) for p in poses]
    return torch.tensor(np.array(axes), dtype=torch.float32)


def test_motion_is_that_of_the_boxes_before_and_after(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    samples = np.zeros(40, dtype=SAMPLE)
    samples["clip"] = rng.choice(["a", "b"], 40)
    samples["camera"] = rng.choice(["left", "right"], 40)
    samples["frame"] = rng.permutation(40) * 12
    samples["crop"] = rng.uniform(100, 200, (40, 3))
    samples["crop"][:, 0] += samples["frame"]  # else they would be no film
    samples["person"][5] = "alone"
    found = heading_motion_of(film_split(tmp_path, samples))
    assert found.shape == (40, 3)
    assert np.isnan(found[5]).all()
    for row in np.delete(np.arange(40), 5):
        own = samples[row]
        film = samples[
            [s[["person", "clip", "camera"]] == own[["person", "clip", "camera"]] for s in samples]
        ]
        film = film[np.argsort(film["frame"])]
        at = int(np.flatnonzero(film["frame"] == own["frame"])[0])
        (x, y, a), (u, v, b) = (
            film["crop"][i].astype(float)
            for i in (max(at - REACH, 0), min(at + REACH, len(film) - 1))
        )
        expected = (u - x) / (a * b) ** 0.5, (v - y) / (a * b) ** 0.5, np.log(b / a)
        np.testing.assert_allclose(found[row], expected, rtol=1e-5)


def test_photos_that_share_a_folder_are_no_film(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    samples = np.zeros(60, dtype=SAMPLE)
    samples["clip"] = np.repeat(["photos", "film"], 30)
    samples["frame"] = np.tile(np.arange(30), 2)
    walked = np.column_stack([100 + 20 * np.arange(30), np.full(30, 200), np.full(30, 150)])
    samples["crop"] = np.concatenate([rng.permutation(walked), walked])
    found = heading_motion_of(film_split(tmp_path, samples))
    assert np.isnan(found[:30]).all(), "their order says nothing of where a body goes"
    assert (found[30:, 0] > 0).all()


def test_a_walking_dog_goes_where_its_front_is(tmp_path: Path) -> None:
    films = walk(HEADINGS, frames=9, step=180)
    poses = [pose for film in films for pose in film]
    motion = torch.from_numpy(heading_motion_of(film_split(tmp_path, records(films))))
    axis, headings = axis_of(poses), np.repeat(HEADINGS, 9)
    inner = np.isin(np.tile(range(9), len(HEADINGS)), range(REACH, 9 - REACH))
    one_by_one = np.array(
        [losses.heading_loss(axis[[n]], motion[[n]]).item() for n in range(len(poses))]
    )
    reversed_ = np.array(
        [losses.heading_loss(-axis[[n]], motion[[n]]).item() for n in range(len(poses))]
    )
    counts = reversed_ > 0
    assert counts[inner & (np.abs(np.sin(np.radians(headings))) > 0.6)].all()  # goes sideways
    assert (one_by_one[counts] < reversed_[counts]).all()


def test_standing_turning_and_noise_of_masks_do_not_count() -> None:
    stands = stance(0)
    looks = stands.copy()
    looks[BODY.index("nose")] = (400, 250, 620)  # turns its head
    rears = stands.copy()
    rears[:, 0], rears[:, 2] = 0.3 * stands[:, 0], stands[:, 2] + 0.9 * (stands[:, 0] + 300)
    for heading in HEADINGS:
        before = crop(seen(stands, heading, (0, 4000))).astype(float)
        with_tail = crop(  # the mask finds the tail
            np.concatenate(
                [seen(stands, heading, (0, 4000)), seen(stands - [500, 0, 0], heading, (0, 4000))]
            )
        ).astype(float)
        after = [crop(seen(body, heading, (0, 4000))).astype(float) for body in (looks, rears)]
        for later in (*after, with_tail):
            motion = torch.tensor(heading_motion(before, later)[None], dtype=torch.float32)
            assert losses.heading_loss(torch.tensor([[-1.0, 0.0]]), motion).item() == 0
            assert losses.heading_loss(torch.tensor([[1.0, 0.0]]), motion).item() == 0


def test_half_a_stride_later_sides_have_not_swapped() -> None:
    """A narrow trot: swapping the sides brings it nearer to the frame before, and is wrong."""
    samples = np.zeros(2, dtype=SAMPLE)
    samples["frame"] = [0, 1]
    narrow = {"stride": 350.0, "half_width": 20.0}
    trot = [seen(stance(p, **narrow), 70, (0, 4000)) for p in (np.pi / 2, 1.5 * np.pi)]
    swapped = np.abs(trot[1][BODY.swap] - trot[0]).mean()
    assert swapped < np.abs(trot[1] - trot[0]).mean() / 3
    assert not _sides_jump(np.array(trot), samples, BODY).any()
    wrong = np.array([trot[0], trot[0][BODY.swap]])
    assert _sides_jump(wrong, samples, BODY).tolist() == [False, True]


def test_rules_about_legs_of_people_leave_a_dog_alone() -> None:
    assert side_cues(dogs(HEADINGS), BODY) is None
    standing = {key: value for key, value in DOG.items() if key != "axis"}
    assert side_cues(dogs(HEADINGS), type(BODY).from_mapping(standing)) is not None


@pytest.fixture
def dog_file(tmp_path: Path) -> Path:
    (tmp_path / "dog.yaml").write_text(yaml.safe_dump(DOG))
    return tmp_path / "dog.yaml"


@pytest.mark.parametrize("head", ["front_back", "pose_facing", "joint_facing"])
def test_naming_sides_from_behind_is_refused_for_a_dog(dog_file: Path, head: str) -> None:
    own = [f"skeleton={dog_file}", "data=folder", "flow.pca=16"]
    assert compose(own).body.axis == ("tail_base", "withers")
    with pytest.raises(InputError, match=r"^loss\.canonical_sides=true .* dog has an axis.* false"):
        compose([*own, "loss.canonical_sides=true", f"heads.{head}.enabled=true"])
    with pytest.raises(InputError, match=rf"heads\.{head}\.enabled=true needs"):
        compose([*own, f"heads.{head}.enabled=true"])


def test_a_data_set_of_another_axis_or_other_flesh_is_refused(
    dog_file: Path, tmp_path: Path
) -> None:
    standing = {key: value for key, value in DOG.items() if key != "axis"}
    for mapping, differs in ((DOG, ""), (standing, "axis"), (quadruped.FLESHY_DOG, "parts")):
        body = type(BODY).from_mapping(mapping)
        data = tiny_dataset(tmp_path / f"other{differs}", body, train=2, test=1, prior=4)
        config = compose(
            [f"skeleton={dog_file}", "data=folder", "data.name=tiny", "data.size=32",
             "model.disc_scales=1", "flow.pca=16", f"paths.data={data}"]
        )  # fmt: skip
        if not differs:
            assert chosen_dataset(config).skeleton.axis == ("tail_base", "withers")
        else:
            with pytest.raises(InputError, match=rf"its skeleton dog and .* differ in {differs};"):
                chosen_dataset(config)
