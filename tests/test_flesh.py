"""Flesh, and painted bodies: against convex hulls of OpenCV, distances by brute force, kappa."""

from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch
from quadruped import BODY as DOG
from quadruped import FLESHY_DOG

from skelift.data.loading import ImageBatch
from skelift.errors import InputError
from skelift.evaluation.label_free import label_free_score
from skelift.flesh import Flesh
from skelift.geometry import CropCamera, variety
from skelift.render import Kappa
from skelift.skeleton import Skeleton
from skelift.training.paint import Paint, Painter, _visible

SIZE = 64
MAPPING = DOG.to_mapping()
FLESHY = Skeleton.from_mapping(FLESHY_DOG)
RNG = np.random.default_rng(0)
POSES = torch.from_numpy(RNG.uniform(-0.6, 0.6, (5, len(DOG), 2)).astype("f4"))


def brute_distance(pose: np.ndarray, skeleton: Skeleton) -> np.ndarray:
    """Distance of each pixel to the union of thick hulls, by OpenCV's polygons."""
    mean = np.mean(skeleton.bone_lengths_mm)
    a, b = skeleton.bone_indices.T
    drawn = np.linalg.norm(pose[b] - pose[a], axis=1).mean()
    at = (2 * np.arange(SIZE) + 1) / SIZE - 1
    found = np.full((SIZE, SIZE), np.inf)
    for part in skeleton.parts:
        points = pose[[skeleton.index(name) for name in part.joints]].astype("f4")
        hull = cv2.convexHull(points)
        for row, column in np.ndindex(SIZE, SIZE):
            inside = cv2.pointPolygonTest(hull, (float(at[column]), float(at[row])), True)
            distance = -inside - part.radius_mm / mean / 0.75 * drawn
            found[row, column] = min(found[row, column], distance)
    return found


def test_flesh_is_the_union_of_thick_hulls() -> None:
    flesh = Flesh(FLESHY, SIZE)
    for pose, drawn in zip(POSES, flesh(POSES)[:, 0], strict=True):
        distance = brute_distance(pose.numpy(), FLESHY)
        # Brightness is a half on the outline.
        assert (drawn.numpy()[distance < -0.005] > 0.5).all()
        assert (drawn.numpy()[distance > 0.01] < 0.5).all()
        assert (drawn.numpy()[distance < -0.09] > 0.999).all()


def test_gradient_of_flesh_is_that_of_differences() -> None:
    flesh = Flesh(FLESHY, 24).double()
    pose = POSES[:2].double()
    thickness = flesh._thickness(pose)
    flesh._thickness = lambda y: thickness  # type: ignore[method-assign]  # has no gradient
    weight = torch.rand(2, 1, 24, 24, dtype=torch.float64, generator=torch.manual_seed(0))

    def value(y: torch.Tensor) -> torch.Tensor:
        return (flesh(y) * weight).sum()

    moved = pose.clone().requires_grad_()
    value(moved).backward()
    assert moved.grad is not None
    for place in [(0, 1, 0), (1, 3, 1), (0, 5, 1)]:
        step = torch.zeros_like(pose)
        step[place] = 1e-5
        slope = (value(pose + step) - value(pose - step)) / 2e-5
        assert moved.grad[place].item() == pytest.approx(slope.item(), rel=0.01, abs=0.01)


def test_flesh_without_parts_is_that_of_limbs() -> None:
    limbs = Kappa.of(DOG, SIZE, sides=False, gamma=150.0, squared=True)
    flesh = Flesh(DOG, SIZE)
    torch.testing.assert_close(flesh(POSES), limbs(POSES), rtol=0, atol=0)
    outline = flesh.distance(POSES)
    assert (limbs(POSES)[outline < -0.01] > 0.5).all()
    assert (limbs(POSES)[outline > 0.01] < 0.5).all()


def test_a_part_of_one_joint_is_a_disc() -> None:
    parts = [{"joints": [DOG.head], "radius_mm": 60}, {"joints": DOG.joints[2:4], "radius_mm": 10}]
    body = Skeleton.from_mapping(MAPPING | {"parts": parts})
    for pose, distance in zip(POSES, Flesh(body, SIZE).distance(POSES)[:, 0], strict=True):
        brute = brute_distance(pose.numpy(), body)
        assert np.abs(distance.numpy() - brute)[np.abs(brute) < 0.2].max() < 0.02


@pytest.mark.parametrize(
    ("part", "says"),
    [
        ({"joints": ["withers", "wing"]}, "wing not among its joints"),
        ({"joints": []}, "a part needs joints"),
        ({"joints": [MAPPING["root"]], "radius_mm": -1}, "a part needs joints and a radius_mm"),
        ({"joint": ["withers"]}, "parts"),
    ],
)
def test_wrong_parts_are_refused(part: dict[str, object], says: str) -> None:
    with pytest.raises(InputError, match=says):
        Skeleton.from_mapping(MAPPING | {"parts": [part]})


def test_parts_survive_the_way_through_a_file() -> None:
    assert Skeleton.from_mapping(FLESHY.to_mapping()) == FLESHY
    assert "parts" not in DOG.to_mapping()  # files of other bodies stay as they were


def images(x: torch.Tensor, mask: torch.Tensor) -> ImageBatch:
    count = len(x)
    camera = CropCamera(torch.ones(count, 3), torch.ones(count, 2), torch.zeros(count, 2))
    return ImageBatch(x, mask, camera)


def test_painted_bodies_have_the_colour_of_bodies_and_their_joints() -> None:
    """Red bodies, on whose images the first joint's place is green."""
    painter = Painter(FLESHY, SIZE)
    flesh = Flesh(FLESHY, SIZE)
    mask = (flesh.distance(POSES) < 0).float()
    x = mask * torch.tensor([0.4, 0.1, 0.1])[None, :, None, None]
    at = ((POSES[:, 0] + 1) / 2 * SIZE).long()
    for image, (column, row) in zip(x, at.tolist(), strict=True):
        image[1, row - 3 : row + 4, column - 3 : column + 4] = 0.8
    shown = images(x * mask, mask)
    for _ in range(400):
        painter.look(POSES, shown)
    green = painter.colours[:, 1]
    assert green[0] > 0.5
    assert green[0] > 2 * green[1:].max()

    drawn = Paint.draw(np.random.default_rng(0), len(POSES), len(DOG))
    paint = replace(drawn, clear=torch.ones_like(drawn.clear))
    flat = torch.zeros(POSES.shape[:2])
    painted = painter(POSES, flat, shown, paint)
    distance = flesh.distance(POSES)[:, 0]
    assert (painted.amax(1)[distance > 0.4] < 1e-3).all()  # black outside, to the ragged outline
    inside = painted.permute(0, 2, 3, 1)[distance < -0.1]
    assert inside[:, 0].median() == pytest.approx(0.4, abs=0.15)
    assert inside[:, 2].median() == pytest.approx(0.1, abs=0.08)
    near = torch.stack([p[1, row, column] for p, (column, row) in zip(painted, at, strict=True)])
    assert near.min() > 0.3
    hidden = painter(POSES, flat, shown, replace(drawn, clear=torch.zeros_like(drawn.clear)))
    shades = [p[1, row, column] for p, (column, row) in zip(hidden, at, strict=True)]
    assert torch.stack(shades).max() < near.min()


def test_joints_behind_the_body_are_hidden_but_for_those_at_its_outline() -> None:
    pose = torch.zeros(1, len(DOG), 2)
    corners = torch.tensor([[-0.8, -0.8], [0.8, -0.8], [0.8, 0.8], [-0.8, 0.8]])
    pose[0, :4] = corners  # the first part; the others lie in its middle
    depth = torch.full((1, len(DOG)), -0.5)
    depth[0, 0] = depth[0, 5] = 1.0  # a corner and a joint in the middle are behind
    front, trunk = FLESHY_DOG["parts"]
    thin = Skeleton.from_mapping(MAPPING | {"parts": [front | {"radius_mm": 5}, trunk]})
    outline = Flesh(thin, SIZE).distance(pose)
    seen = _visible(pose, depth, outline)[0]
    assert seen[5] < 0.05
    assert seen[0] > 0.9  # it sticks out
    assert seen[torch.arange(len(DOG)) % 5 != 0].min() > 0.9


def test_variety_is_the_spread_about_the_middle() -> None:
    poses = POSES.double().numpy()
    centred = poses - poses.mean(1, keepdims=True)
    expected = np.sqrt(centred.reshape(len(poses), -1).var(0).mean())
    assert variety(POSES.double()).item() == pytest.approx(expected)
    shifted = POSES[:1] + torch.rand(7, 1, 2)
    assert variety(shifted).item() == pytest.approx(0, abs=1e-6)


def test_label_free_score_counts_a_collapse() -> None:
    count = 40
    prior = RNG.normal(size=(count, len(DOG), 2)) * 10 + SIZE / 2
    masks = np.full((count, SIZE, SIZE), 255, dtype=np.uint8)
    bodies = RNG.normal(size=(count, len(DOG), 3))
    persons = np.array(["a"] * count)

    def score(poses: np.ndarray) -> dict[str, float]:
        return label_free_score(DOG, poses, bodies, masks, persons, prior)

    one = np.repeat(prior[:1], count, 0)
    assert score(one)["collapse"] == pytest.approx(100)
    assert score(prior)["collapse"] == 0
    quarter = score(one + (prior - prior.mean(0)) / 4)
    assert quarter["collapse"] == pytest.approx(50, abs=1)
    parts = ("silhouette_misfit", "proportion_spread", "collapse")
    assert quarter["label_free"] == pytest.approx(sum(quarter[part] for part in parts))
    assert "collapse" not in label_free_score(DOG, prior, bodies, masks, persons)
