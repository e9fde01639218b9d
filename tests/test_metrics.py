"""Metrics against per-pose loops, SciPy and stated facts of the protocols."""

import json

import numpy as np
import pytest
from scipy.optimize import minimize, minimize_scalar
from scipy.spatial import procrustes
from scipy.spatial.transform import Rotation
from tiny import load_skeleton, random_pose

from skelift.errors import InputError
from skelift.evaluation import metrics
from skelift.evaluation.mean_pose import procrustes_mean_pose
from skelift.evaluation.scores import facing, measure, protocol, score
from skelift.files import write_json

BODY = load_skeleton("h36m17")
ROOT = BODY.root_index
MIRROR = np.array([1.0, 1.0, -1.0])


@pytest.fixture
def rng():
    return np.random.default_rng(7)


@pytest.fixture
def truth(rng):
    """(12, 17, 3) mm, poses of a body somewhere in front of the camera."""
    poses = np.stack([random_pose(BODY, rng) for _ in range(12)])
    return poses + rng.normal(scale=[300, 100, 500], size=(12, 1, 3)) + [0, 0, 5000]


@pytest.fixture
def predicted(truth, rng):
    """The truth turned, scaled, moved and disturbed by some 60 mm."""
    turned = np.stack([p @ Rotation.random(random_state=rng).as_matrix().T for p in truth])
    moved = turned * rng.uniform(0.3, 3, (12, 1, 1)) + rng.normal(scale=1000, size=(12, 1, 3))
    return moved + rng.normal(scale=60, size=truth.shape)


def aligned_by_scipy(p, g):
    """Similarity alignment of one pose without reflection, by SciPy's Wahba solver."""
    p0, g0 = p - p.mean(0), g - g.mean(0)
    turned = Rotation.align_vectors(g0, p0)[0].apply(p0)
    return (turned * g0).sum() / (p0**2).sum() * turned + g.mean(0)


def mean_distance(p, g):
    return np.mean(
        [
            np.sqrt(sum((a - b) ** 2 for a, b in zip(x, y, strict=True)))
            for x, y in zip(p, g, strict=True)
        ]
    )


def test_p_mpjpe_agrees_with_scipys_rotation_solver(predicted, truth):
    expected = [
        mean_distance(aligned_by_scipy(p, g), g) for p, g in zip(predicted, truth, strict=True)
    ]
    np.testing.assert_allclose(metrics.p_mpjpe(predicted, truth), expected, rtol=1e-9)
    assert min(expected) > 10


@pytest.mark.parametrize("mirrored", [False, True])
def test_alignment_is_the_optimum_of_an_explicit_search(predicted, truth, mirrored):
    # Of a mirrored pose too: the best proper rotation, found by descent from many starts.
    p = predicted[0] * MIRROR if mirrored else predicted[0]
    p0, g0 = p - p.mean(0), truth[0] - truth[0].mean(0)
    p0 *= np.linalg.norm(g0) / np.linalg.norm(p0)

    def squared_error(x):
        moved = np.exp(x[3]) * Rotation.from_rotvec(x[:3]).apply(p0) + 100 * x[4:]
        return ((moved - g0) ** 2).sum() / 1e6

    starts = Rotation.random(5, random_state=0).as_rotvec()
    best = min(minimize(squared_error, [*start, -0.5, 0, 0, 0]).fun for start in starts)
    aligned = metrics.similarity_align(p[None], truth[:1])[0]
    assert ((aligned - truth[0]) ** 2).sum() / 1e6 == pytest.approx(best, rel=1e-5)


def test_reflected_alignment_agrees_with_scipys_procrustes(predicted, truth):
    predicted = predicted * MIRROR
    aligned = metrics.similarity_align(predicted, truth, reflection=True)
    for a, p, g in zip(aligned, predicted, truth, strict=True):
        *_, disparity = procrustes(g, p)  # allows reflections
        size = ((g - g.mean(0)) ** 2).sum()
        assert ((a - g) ** 2).sum() / size == pytest.approx(disparity, rel=1e-9)


def test_a_mirrored_pose_is_perfect_only_where_reflections_are_allowed(truth):
    mirrored = truth * MIRROR
    np.testing.assert_allclose(metrics.p_mpjpe_reflected(mirrored, truth), 0, atol=1e-6)
    assert metrics.p_mpjpe(mirrored, truth).min() > 20


def test_p_mpjpe_ignores_similarities(predicted, truth, rng):
    turn = Rotation.random(random_state=rng).as_matrix()
    moved = 0.01 * predicted @ turn + [3, 4, 5]
    np.testing.assert_allclose(
        metrics.p_mpjpe(moved, truth), metrics.p_mpjpe(predicted, truth), rtol=1e-9
    )


def test_root_relative_errors_agree_with_loops(predicted, truth):
    for n, (p, g) in enumerate(zip(predicted, truth, strict=True)):
        p, g = p - p[ROOT], g - g[ROOT]
        assert metrics.mpjpe(predicted, truth, ROOT)[n] == pytest.approx(mean_distance(p, g))
        scale = minimize_scalar(lambda s, p=p, g=g: ((s * p - g) ** 2).sum()).x
        expected = mean_distance(max(scale, 0) * p, g)
        assert metrics.n_mpjpe(predicted, truth, ROOT)[n] == pytest.approx(expected, rel=1e-5)


def test_where_a_root_is_not_labelled_all_poses_are_centred_on_their_labels(predicted, truth, rng):
    """Joints are unlabelled at random, the root of every third image: errors by loops."""
    truth = np.where(rng.uniform(size=(*truth.shape[:2], 1)) < 0.3, np.nan, truth)
    truth[::3, ROOT] = np.nan
    rooted = np.isfinite(truth[:, ROOT]).all(-1)
    assert 0 < rooted.sum() < len(truth)
    found = metrics.mpjpe(predicted, truth, ROOT), metrics.n_mpjpe(predicted, truth, ROOT)
    for n, (p, g) in enumerate(zip(predicted, truth, strict=True)):
        known = [j for j in range(len(g)) if np.isfinite(g[j]).all()]
        p, g = (pose[known] - np.mean([pose[j] for j in known], axis=0) for pose in (p, g))
        assert found[0][n] == pytest.approx(mean_distance(p, g))
        scale = minimize_scalar(lambda s, p=p, g=g: ((s * p - g) ** 2).sum()).x
        assert found[1][n] == pytest.approx(mean_distance(max(scale, 0) * p, g), rel=1e-5)


def test_scores_say_how_many_images_lack_what_they_need(predicted, truth):
    truth = truth.copy()
    truth[:4, ROOT] = np.nan
    others = np.setdiff1d(np.arange(len(BODY)), BODY.evaluated_indices)
    truth[0] = np.where(np.isin(np.arange(len(BODY)), others)[:, None], truth[0], np.nan)
    truth[0, others[0]] = [0, 0, 5000]
    overall = score(BODY, ["a"] * 12, predicted_3d_mm=predicted, true_3d_mm=truth)["overall"]
    assert overall["images_without_root"] == np.isnan(truth[:, ROOT]).any(-1).sum()
    assert (overall["images"], overall["images_with_pck"]) == (12, 11)
    whole = score(BODY, ["a"] * 8, predicted_3d_mm=predicted[4:], true_3d_mm=truth[4:])["overall"]
    assert not {"images_without_root", "images_with_pck"} & set(whole)


def test_an_error_that_is_no_number_is_in_no_mean(predicted, truth):
    predicted = predicted.copy()
    predicted[3] *= 1e200
    with (
        np.errstate(over="ignore", invalid="ignore"),
        pytest.raises(InputError, match="image 3 is not finite"),
    ):
        score(BODY, ["a"] * 12, predicted_3d_mm=predicted, true_3d_mm=truth)


def test_scale_alignment_undoes_a_scale_but_no_point_reflection(truth):
    centred = metrics.root_relative(truth, ROOT)
    np.testing.assert_allclose(metrics.n_mpjpe(0.02 * centred, truth, ROOT), 0, atol=1e-9)
    np.testing.assert_allclose(  # scale 0: every joint on the root
        metrics.n_mpjpe(-centred, truth, ROOT), np.linalg.norm(centred, axis=2).mean(1)
    )


def test_a_pose_that_is_one_point_scores_as_the_truths_own_spread(truth):
    point = np.zeros_like(truth)
    spread = np.linalg.norm(truth - truth.mean(1, keepdims=True), axis=2).mean(1)
    np.testing.assert_allclose(metrics.p_mpjpe(point, truth), spread)


def test_pck_is_strict_and_auc_agrees_with_a_loop(rng):
    assert metrics.pck([[150.0, np.nextafter(150.0, 0), 0.0, 151.0]])[0] == 50.0
    distances = np.concatenate([rng.uniform(0, 200, (5, 14)), 5.0 * rng.integers(0, 32, (5, 14))])
    expected = [
        np.mean([100 * sum(d < t for d in row) / 14 for t in range(0, 151, 5)]) for row in distances
    ]
    np.testing.assert_allclose(metrics.auc(distances), expected)
    assert metrics.auc(np.zeros((1, 14)))[0] == pytest.approx(100 * 30 / 31)


def test_swapped_2d_error_takes_the_better_naming_of_each_image(rng):
    truth = rng.uniform(0, 64, (20, 17, 2))
    swapped = rng.random(20) < 0.5
    predicted = truth + rng.normal(scale=0.5, size=truth.shape)
    partner = {BODY.index(a): BODY.index(b) for pair in BODY.pairs for a, b in (pair, pair[::-1])}
    order = [partner.get(joint, joint) for joint in range(17)]
    renamed = np.array([[pose[joint] for joint in order] for pose in predicted])
    shown = np.where(swapped[:, None, None], renamed, predicted)

    np.testing.assert_array_equal(metrics.is_swapped(shown, truth, BODY.swap), swapped)
    loop = [
        min(mean_distance(pose, g), mean_distance(pose[order], g))
        for pose, g in zip(shown, truth, strict=True)
    ]
    np.testing.assert_allclose(metrics.error_2d_swapped_px(shown, truth, BODY.swap), loop)
    as_shown = [mean_distance(pose, g) for pose, g in zip(shown, truth, strict=True)]
    np.testing.assert_allclose(metrics.error_2d_px(shown, truth), as_shown)


def test_one_limb_with_wrong_names_is_an_error_up_to_swap_too(rng):
    truth = rng.uniform(0, 64, (1, 17, 2))
    arms = truth.copy()
    left, right = BODY.index("l_wrist"), BODY.index("r_wrist")
    arms[:, [left, right]] = truth[:, [right, left]]
    assert metrics.error_2d_swapped_px(arms, truth, BODY.swap)[0] > 0


def test_score_is_the_mean_over_images_overall_and_per_activity(predicted, truth, tmp_path):
    activities = ["walk"] * 9 + ["sit"] * 3
    row = score(BODY, activities, predicted_3d_mm=predicted, true_3d_mm=truth)
    errors = metrics.p_mpjpe(predicted, truth)
    assert row["overall"]["p_mpjpe_mm"] == pytest.approx(errors.mean())
    assert row["per_activity"]["walk"]["p_mpjpe_mm"] == pytest.approx(errors[:9].mean())
    assert row["per_activity"]["sit"]["images"] == 3
    assert not [key for key in row["overall"] if "2d" in key or "swapped" in key]
    write_json(tmp_path / "row.json", row)
    assert json.loads((tmp_path / "row.json").read_text()) == row


def test_pck_names_its_alignment_and_joints(truth, rng):
    # Only the joints outside of the headline's fourteen are wrong.
    wrong = truth.copy()
    spine = BODY.index("spine")
    wrong[:, spine] += [0, 0, 400]
    overall = score(BODY, ["a"] * 12, predicted_3d_mm=wrong, true_3d_mm=truth)["overall"]
    assert overall["pck_150"] == overall["pck_150_root_evaluated"] == 100
    assert overall["pck_150_root_all"] == pytest.approx(100 * 16 / 17)
    assert overall["auc"] == overall["auc_root_evaluated"] > overall["auc_root_all"]
    # A turned pose is wrong in the root alignment and right in the Procrustes one.
    turned = truth @ Rotation.from_rotvec([0, np.pi / 2, 0]).as_matrix()
    overall = score(BODY, ["a"] * 12, predicted_3d_mm=turned, true_3d_mm=truth)["overall"]
    assert overall["pck_150"] < 80
    assert overall["pck_150_procrustes_evaluated"] == 100
    assert overall["pck_150_procrustes_all"] == 100


def test_protocol_explains_every_headline_metric(predicted, truth):
    poses_2d = truth[..., :2]
    measured = measure(
        BODY,
        predicted_3d_mm=predicted,
        true_3d_mm=truth,
        predicted_2d_px=poses_2d,
        true_2d_px=poses_2d,
    )
    headline = {key for key in measured if not key.endswith(("_evaluated", "_all"))}
    assert headline <= set(protocol(BODY, 128))


@pytest.mark.parametrize("azimuth", [0, 30, 90, 180, 200, 270])
@pytest.mark.parametrize("tilt", [0, 180])  # upside down, a front stays a front
def test_facing_follows_the_body(azimuth, tilt):
    rng = np.random.default_rng(0)
    pose = np.zeros((17, 3))
    for name, place in {
        "head": (0, -600, 0),
        "l_hip": (130, 0, 0),
        "r_hip": (-130, 0, 0),
        "l_shoulder": (180, -450, 0),
        "r_shoulder": (-180, -450, 0),
    }.items():  # the body's left at the image's right: it faces the camera
        pose[BODY.index(name)] = place
    pose[BODY.index("l_wrist")] = rng.normal(scale=500, size=3)  # limbs do not matter
    turn = Rotation.from_euler("yz", [azimuth, 0], degrees=True)
    upended = Rotation.from_euler("z", tilt, degrees=True)
    expected = {0: "front", 30: "front", 90: "side", 180: "back", 200: "back", 270: "side"}
    assert facing([upended.apply(turn.apply(pose))], BODY)[0] == expected[azimuth]


def test_facing_is_unknown_for_a_hand():
    assert facing(np.ones((2, 21, 3)), load_skeleton("hand21")) is None


def test_a_hand_is_scored_on_all_its_joints(rng):
    hand = load_skeleton("hand21")
    truth = rng.normal(scale=50, size=(4, 21, 3))
    row = score(
        hand,
        ["a"] * 4,
        predicted_3d_mm=truth + rng.normal(scale=5, size=truth.shape),
        true_3d_mm=truth,
        predicted_2d_px=truth[..., :2],
        true_2d_px=truth[..., :2] + 1,
    )
    assert row["overall"]["pck_150_root_all"] == row["overall"]["pck_150"]
    assert row["overall"]["swapped_share"] == 0
    assert row["overall"]["error_2d_px"] == pytest.approx(2**0.5)
    assert "per_facing" not in row


def test_wrong_shapes_and_values_are_named(predicted, truth):
    with pytest.raises(InputError, match=r"predicted 3D.*\(12, 16, 3\)"):
        score(BODY, ["a"] * 12, predicted_3d_mm=predicted[:, 1:], true_3d_mm=truth)
    with pytest.raises(InputError, match="true 3D"):
        score(BODY, ["a"] * 12, predicted_3d_mm=predicted, true_3d_mm=truth[:5])
    predicted[3, 2, 1] = np.nan
    with pytest.raises(InputError, match="image 3 is not finite"):
        score(BODY, ["a"] * 12, predicted_3d_mm=predicted, true_3d_mm=truth)
    with pytest.raises(InputError, match="activit"):
        score(BODY, ["a"] * 5, predicted_3d_mm=truth, true_3d_mm=truth)


def test_procrustes_mean_recovers_the_shape_behind_turned_poses(rng):
    shape = random_pose(BODY, rng)
    scales = rng.uniform(0.8, 1.2, 200)
    poses = np.stack([s * shape @ Rotation.random(random_state=rng).as_matrix() for s in scales])
    mean = procrustes_mean_pose(poses + rng.normal(scale=5, size=poses.shape), ROOT)
    assert metrics.p_mpjpe(mean[None], shape[None])[0] < 2  # noise of 5 mm, 200 times averaged
    assert metrics.p_mpjpe(mean[None] * MIRROR, shape[None])[0] > 20  # and no mirror image of it
    size = np.linalg.norm(shape - shape.mean(0))
    assert np.linalg.norm(mean - mean.mean(0)) == pytest.approx(size * scales.mean(), rel=0.01)
    np.testing.assert_array_equal(mean[ROOT], 0)


def test_plain_mean_over_all_azimuths_collapses_where_the_procrustes_mean_does_not(rng):
    poses = np.stack([random_pose(BODY, rng) for _ in range(400)])
    training, unseen = poses[:300], poses[300:]
    plain = training.mean(0)
    mean = procrustes_mean_pose(training, ROOT)

    def extents(pose):
        return np.linalg.svd(pose - pose.mean(0), compute_uv=False)

    assert extents(plain)[1] < 0.15 * extents(plain)[0]  # a line
    assert extents(mean)[1] > 0.25 * extents(mean)[0]
    floor = metrics.p_mpjpe(np.broadcast_to(mean, unseen.shape), unseen).mean()
    collapsed = metrics.p_mpjpe(np.broadcast_to(plain, unseen.shape), unseen).mean()
    assert floor < 0.85 * collapsed
    # It stands as people stand: head above the root (y points down).
    assert mean[BODY.head_index, 1] < -400


def test_no_turn_of_the_mean_pose_fits_the_training_poses_better(rng):
    poses = np.stack([random_pose(BODY, rng) for _ in range(60)])
    poses -= poses.mean(1, keepdims=True)
    mean = procrustes_mean_pose(poses, ROOT)
    mean -= mean.mean(0)
    error = ((mean - poses) ** 2).sum()
    for turn in Rotation.random(200, random_state=rng):
        assert ((turn.apply(mean) - poses) ** 2).sum() >= error
