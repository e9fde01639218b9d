"""The networks: sizes known from the code bases they come from, read-out, normalisation."""

from collections.abc import Callable
from functools import partial

import numpy as np
import pytest
import torch
from tiny import load_skeleton
from torch import Tensor, nn
from torch.nn.functional import interpolate

from skelift.config import ModelConfig
from skelift.data.crop import to_crop
from skelift.geometry import CropCamera
from skelift.models import layers
from skelift.models.discriminator import Discriminator
from skelift.models.heads import Refiner
from skelift.models.heads.front_back import WRONG_LABELS, FrontBack
from skelift.models.heads.joint_facing import JointFacing
from skelift.models.heads.pose_facing import PoseFacing
from skelift.models.layers import GlobalBatchNorm
from skelift.models.lifter import Lifter
from skelift.models.omega import Omega, _moments
from skelift.models.phi import Phi
from skelift.models.pipeline import PosePipeline
from skelift.models.posenet import PoseNet, kappa_for

SKELETON = load_skeleton("h36m17")
SMALL = ModelConfig(width=4, disc_width=8, lifter_width=16)


@pytest.mark.parametrize(
    ("network", "millions"),
    [
        (lambda: Phi(1), 3.1),
        (lambda: Omega(1, 17), 1.2),
        (lambda: Discriminator(1, scales=1), 2.8),
        (lambda: Discriminator(1, scales=3), 8.3),
        (lambda: Lifter(17), 10.5),
    ],
    ids=["phi", "omega", "discriminator", "three scales", "lifter"],
)
def test_parameter_counts_are_the_published_ones(
    network: Callable[[], nn.Module], millions: float
) -> None:
    with torch.device("meta"):
        count = sum(p.numel() for p in network().parameters())
    assert count / 1e6 == pytest.approx(millions, abs=0.06)


@pytest.mark.parametrize("channels", [1, 3])
def test_phi_draws_a_skeleton_image_as_large_as_the_image(channels: int) -> None:
    s = Phi(channels, width=4)(torch.rand(2, 3, 40, 40))
    assert s.shape == (2, channels, 40, 40)
    assert s.min() < 0  # linear output


def test_phi_sees_the_detail_under_each_pixel() -> None:
    """The skips: a change of one pixel shows there, not only in the eight-fold coarser code."""
    torch.manual_seed(0)
    phi = Phi(1, width=4).eval()
    x = torch.rand(1, 3, 64, 64)
    changed = x.clone()
    changed[0, :, 20, 40] += 1
    difference = (phi(changed) - phi(x))[0, 0].abs()
    row, column = divmod(difference.argmax().item(), 64)
    assert max(abs(row - 20), abs(column - 40)) <= 5


def test_omega_reads_out_mean_and_variance_of_a_peaked_map() -> None:
    logits = torch.full((1, 3, 16), -1e4)
    logits[0, 0, 0] = logits[0, 1, 15] = logits[0, 2, 5] = 1e4
    logits[0, 2, 8] = 1e4  # two equal peaks: half-way
    expected = [-1.0, 1.0, -1 + 2 * 6.5 / 15]
    mean, variance = _moments(logits)
    np.testing.assert_allclose(mean[0], expected, atol=1e-6)
    np.testing.assert_allclose(variance[0], [0, 0, (1.5 * 2 / 15) ** 2], atol=1e-6)


def test_omega_reads_columns_as_x_and_rows_as_y() -> None:
    omega = Omega(1, 2, width=4)

    class Peaks(nn.Module):
        """Test double of the last convolution: joint 0 right of the centre, joint 1 below it."""

        def forward(self, features: torch.Tensor) -> torch.Tensor:
            maps = torch.zeros(len(features), 2, *features.shape[2:])
            maps[:, 0, :, 3] = maps[:, 1, 3, :] = 1e4
            return maps

    omega.maps = Peaks()
    y = omega(torch.rand(1, 1, 32, 32))
    torch.testing.assert_close(y, torch.tensor([[[1.0, 0.0], [0.0, 1.0]]]))


def test_omega_stays_inside_the_image() -> None:
    y = Omega(3, 17, width=4)(torch.randn(4, 3, 32, 32) * 100)
    assert y.shape == (4, 17, 2)
    assert y.dtype == torch.float32
    assert y.abs().max() <= 1


def test_discriminator_judges_patches_at_falling_scales() -> None:
    logits = Discriminator(1, width=4, scales=3)(torch.rand(2, 1, 128, 128))
    assert [tuple(t.shape) for t in logits] == [(2, 1, 14, 14), (2, 1, 6, 6), (2, 1, 2, 2)]


def test_patches_of_the_discriminator_are_those_of_a_patchgan() -> None:
    """A logit sees 70 x 70 pixels (Isola et al.)."""
    patch_gan = Discriminator(1, width=4, scales=1).patch_gans[0]
    bare = nn.Sequential(*(m for m in patch_gan if isinstance(m, nn.Conv2d)))
    s = torch.zeros(1, 1, 256, 256, requires_grad=True)
    for convolution in bare:
        nn.init.ones_(convolution.weight)
    bare(s)[0, 0, 15, 15].backward()
    rows, columns = s.grad[0, 0].nonzero(as_tuple=True)
    assert rows.max() - rows.min() + 1 == columns.max() - columns.min() + 1 == 70


def test_lifter_gives_depths_and_one_elevation_a_pose() -> None:
    d, elevation = Lifter(17, width=8)(torch.randn(3, 17, 2))
    assert d.shape == (3, 17)
    assert elevation.shape == (3,)


def test_mirrored_lifter_gives_the_mirrored_body_from_the_mirrored_elevation() -> None:
    torch.manual_seed(0)
    lifter, y = Lifter(17, width=32, elevation=-0.3), torch.randn(5, 17, 2)
    depth, elevation = lifter(y)
    lifter.mirror_depth()
    torch.testing.assert_close(lifter(y), (-depth, -elevation))
    torch.testing.assert_close(lifter.depths(y), -depth)


@pytest.mark.parametrize(
    ("degrees", "found", "mirrored"),
    [(20, -20, False), (20, 20, True), (20, 5, False), (0, 20, False), (-15, -20, True)],
)
def test_lifter_is_mirrored_where_it_ends_at_the_opposite_elevation(
    degrees: float, found: float, mirrored: bool
) -> None:
    """``found`` is how much the cameras look up (degrees), by the lifter."""
    config = ModelConfig(width=4, lifter_width=16, elevation_deg=degrees)
    core = PoseNet(config, load_skeleton("h36m17"), scale=1.0)
    with torch.no_grad():
        core.lifter.elevation[-1].weight.zero_()
        core.lifter.elevation[-1].bias.fill_(np.radians(found))
    before = core.lifter.depths(poses := torch.randn(9, 17, 2))
    assert core.undo_mirrored_depth(poses) is mirrored
    sign = -1 if mirrored else 1
    torch.testing.assert_close(core.lifter.depths(poses), sign * before)


def test_global_batch_norm_is_batch_norm_in_one_process() -> None:
    ours, torchs = GlobalBatchNorm(3), nn.BatchNorm2d(3)
    for _ in range(3):
        x = torch.randn(4, 3, 5, 5) * 2 + 1
        assert torch.equal(ours(x), torchs(x))
    assert all(torch.equal(a, b) for a, b in zip(ours.buffers(), torchs.buffers(), strict=True))
    x = torch.randn(4, 3, 5, 5)
    assert torch.equal(ours.eval()(x), torchs.eval()(x))


def test_global_batch_norm_is_batch_norm_of_all_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two processes with the same images, which a test double of the collective stands for."""
    monkeypatch.setattr(layers, "processes", lambda: 2)
    monkeypatch.setattr(layers, "gather", lambda local: torch.cat([local, local]))
    x = torch.randn(4, 3, 5, 5) * 2 + 1
    assert_like_batch_norm(GlobalBatchNorm(3), x, torch.cat([x, x]))


def assert_like_batch_norm(ours: GlobalBatchNorm, rows: Tensor, whole: Tensor) -> None:
    torchs = nn.BatchNorm2d(3)
    for module in (ours, torchs):
        nn.init.normal_(module.weight, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(ours(rows), torchs(whole)[: len(rows)], atol=1e-5, rtol=1e-5)
    for a, b in zip(ours.buffers(), torchs.buffers(), strict=True):
        torch.testing.assert_close(a, b)


@pytest.fixture
def pose() -> PoseNet:
    torch.manual_seed(0)
    return PoseNet(SMALL, SKELETON, scale=0.2).eval()


def cameras(*boxes: tuple[float, float, float]) -> CropCamera:
    count = len(boxes)
    return CropCamera(
        torch.tensor(boxes), torch.full((count, 2), 1145.0), torch.full((count, 2), 500.0)
    )


def crops(count: int, *boxes: tuple[float, float, float]) -> tuple[torch.Tensor, ...]:
    """What the pipeline takes: random images, their boxes and the focal length."""
    rgb = torch.randint(0, 256, (count, 32, 32, 3), dtype=torch.uint8)
    return rgb, torch.tensor(boxes), torch.full((count, 1), 1145.0)


def test_normalised_pose_does_not_depend_on_the_crop(pose: PoseNet) -> None:
    """The same joints seen through two boxes; Lambda sees the same pose."""
    pixels = np.random.default_rng(0).uniform(300, 700, (17, 2))
    boxes = np.array([[500, 500, 450], [470, 540, 800]])
    y = torch.tensor(to_crop(pixels[None], boxes, 2) - 1, dtype=torch.float32)
    normalised = pose.normalise(y, cameras(*boxes.astype(np.float32).tolist()))
    expected = (pixels - pixels[0]) / 1145 / (0.2 * 10)
    for ours in normalised:
        np.testing.assert_allclose(ours, expected, atol=1e-6)


def test_pipeline_is_omega_of_phi_lifted(pose: PoseNet) -> None:
    boxes = [(500.0, 500.0, 450.0), (400.0, 480.0, 300.0)]
    rgb, *geometry = crops(2, *boxes)
    pipeline = PosePipeline(pose).eval()
    poses = pipeline(rgb, *geometry)
    s = pose.phi(rgb.permute(0, 3, 1, 2) / 255)
    torch.testing.assert_close(poses.skeleton_image, s)
    read = pose.omega(s)
    for ours, of_crop, (x, down, side) in zip(poses.joints_2d_px, read, boxes, strict=True):
        torch.testing.assert_close(ours, torch.tensor([x, down]) + of_crop * side / 2)
    y = pose.normalise(read, cameras(*boxes))
    d, _ = pose.lifter(y)
    z = (d + 10).clamp(min=1)
    z[:, 0] = 10
    expected = torch.cat([y * z[..., None], z[..., None] - 10], -1)
    torch.testing.assert_close(poses.joints_3d_mm, pipeline.in_mm(expected), atol=1e-2, rtol=1e-5)


def test_sides_of_bodies_that_face_the_camera_are_swapped(pose: PoseNet) -> None:
    head = FrontBack(SKELETON).eval()
    rgb, boxes, focal = crops(6, *[(500.0, 500.0, 450.0)] * 6)
    x = rgb.permute(0, 3, 1, 2) / 255
    read, spread = pose.omega.soft_argmax(pose.phi(x))
    logits = head.facing_logits(x, read, pose.phi).detach()
    head.network[-1].bias.data -= logits.sort().values[2:4].mean() * (1 - 2 * WRONG_LABELS)
    front = logits.argsort(descending=True)[:3].tolist()  # three of six
    pipeline = PosePipeline(pose, {"front_back": head}).eval()
    alone = pipeline(rgb, boxes, focal)
    torch.testing.assert_close(alone.front_log_odds, head.facing_logits(x, read, pose.phi))
    # Known of each image without it: nothing, a little less than what it shows, and a side.
    slightly = -0.9 * alone.front_log_odds.detach()
    sure = torch.tensor([np.inf, -np.inf] * 3)
    for prior, fronts in (
        (None, front),
        (torch.zeros(6), front),
        (slightly, front),
        (2 * slightly, [row for row in range(6) if row not in front]),
        (sure, [0, 2, 4]),
    ):
        poses = pipeline(rgb, boxes, focal, prior)
        torch.testing.assert_close(poses.front_log_odds, alone.front_log_odds)
        for row in range(6):
            for joint, partner in enumerate(SKELETON.swap):
                source = partner if row in fronts else joint
                found, wide = poses.joints_2d_px[row, joint], poses.spread_px[row, joint]
                torch.testing.assert_close(found, 500 + read[row, source] * 225)
                torch.testing.assert_close(wide, spread[row, source] * 225)
    without = PosePipeline(pose).eval()(rgb, boxes, focal, sure)
    assert without.front_log_odds.isnan().all()
    torch.testing.assert_close(without.joints_2d_px, 500 + read * 225)


def test_poses_are_refined_as_omega_names_their_sides(pose: PoseNet) -> None:
    refiner, front_back = Refiner(SKELETON).eval(), FrontBack(SKELETON).eval()
    pipeline = PosePipeline(pose, {"refiner": refiner, "front_back": front_back}).eval()
    x = torch.rand(2, 3, 32, 32)
    read = pose.omega(pose.phi(x))
    first, _, second, _, third = refiner.layers  # by hand, in float64
    hidden = read.detach().double().numpy().reshape(2, -1)
    for layer in (first, second):
        hidden = hidden @ layer.weight.detach().double().numpy().T
        hidden = np.maximum(hidden + layer.bias.detach().double().numpy(), 0)
    added = hidden @ third.weight.detach().double().numpy().T + third.bias.detach().numpy()
    expected = read.detach().numpy() + added.reshape(2, 17, 2)
    for front in (True, False):
        front_back.network[-1].bias.data.fill_(100 if front else -100)
        named = expected[:, list(SKELETON.swap)] if front else expected
        np.testing.assert_allclose(pipeline.predict_2d(x)[1].detach().numpy(), named, atol=1e-5)


def test_flip_reads_the_mirrored_image_too(pose: PoseNet) -> None:
    pipeline = PosePipeline(pose, flip=True).eval()
    x = torch.rand(2, 3, 32, 32)
    s, y, spread = pipeline.predict_2d(x)
    torch.testing.assert_close(s, pose.phi(x))
    one, other = (pose.omega.soft_argmax(pose.phi(image)) for image in (x, x.flip(3)))
    for joint, partner in enumerate(SKELETON.swap):
        back = other[0][:, partner] * torch.tensor([-1, 1])
        torch.testing.assert_close(y[:, joint], (one[0][:, joint] + back) / 2)
        both = one[1][:, joint] + other[1][:, partner]
        torch.testing.assert_close(spread[:, joint], both / 2)
    mirrored = pipeline.predict_2d(x.flip(3))[1]
    torch.testing.assert_close(mirrored[:, list(SKELETON.swap)] * torch.tensor([-1, 1]), y)


def test_front_back_sees_the_head_and_a_mirror_changes_nothing(pose: PoseNet) -> None:
    head = FrontBack(SKELETON).eval()
    x = torch.rand(2, 3, 48, 48)
    y = torch.zeros(2, 17, 2)
    y[:, SKELETON.index("head")] = torch.tensor([0.5, -0.5]) + 2 / 48  # around pixel 36.5, 12.5
    y[:, SKELETON.index("nose")] = torch.tensor([0.5, -0.5]) - 2 / 48
    # A patch of a quarter of the image: twelve pixels, sampled sixteen times.
    expected = interpolate(x[..., 6:18, 30:42], (16, 16), mode="bilinear", align_corners=False)
    inner = slice(1, -1)  # the outermost samples blend in a neighbour that the cut lacks
    torch.testing.assert_close(
        head.head_patches(x, y)[..., inner, inner], expected[..., inner, inner], atol=1e-5, rtol=0
    )
    elsewhere = x.clone()
    elsewhere[:, :, 24:] = 0
    logits = partial(head.facing_logits, phi=pose.phi)
    assert torch.equal(logits(elsewhere, y), logits(x, y))
    torch.testing.assert_close(logits(x.flip(3), y * torch.tensor([-1.0, 1])), logits(x, y))


def test_joint_facing_sees_the_joints_and_a_mirror_changes_nothing(pose: PoseNet) -> None:
    head, x = JointFacing.of(pose).eval(), torch.rand(2, 3, 32, 32)
    y = torch.full((2, 17, 2), -0.875)  # pixels 2 of 32, 1 of 16, ...: corners of four cells
    y[:, 3] = torch.tensor([0.25, -0.75])
    maps = pose.phi.encoder(x)[1:]
    by_hand = []
    for m in maps:  # joint 3 lies among the cells (column, row) of the 16, 8 and 4 px wide maps
        column, row = (round(float((v + 1) / 2 * m.shape[-1])) for v in y[0, 3])
        by_hand.append(m[0, :, row - 1 : row + 1, column - 1 : column + 1].mean((1, 2)))
    seen = head.seen_twice(x, y, pose.phi)
    wide = seen.shape[-1] // 17
    fine = slice(3 * wide, 3 * wide + 2 * pose.phi.width)  # of the finest map
    torch.testing.assert_close(seen[0, 0, fine], by_hand[0])
    mirrored = y[:, list(SKELETON.swap)] * torch.tensor([-1.0, 1])
    same = head.facing_logits(x.flip(3), mirrored, pose.phi)
    torch.testing.assert_close(same, head.facing_logits(x, y, pose.phi), atol=1e-6, rtol=0)
    assert (head.seen_twice(x, -y, pose.phi) - seen).abs().max() > 1e-3


def test_poses_in_mm_are_of_a_typical_body(pose: PoseNet) -> None:
    v = torch.randn(3, 17, 3)
    mm = PosePipeline(pose).in_mm(v).numpy()
    bones = SKELETON.bone_indices
    lengths = np.linalg.norm(mm[:, bones[:, 1]] - mm[:, bones[:, 0]], axis=-1)
    np.testing.assert_allclose(lengths.mean(1), np.mean(SKELETON.bone_lengths_mm), rtol=1e-5)
    direction = mm / np.linalg.norm(mm, axis=(1, 2), keepdims=True)
    np.testing.assert_allclose(direction, v / v.flatten(1).norm(dim=1)[:, None, None], atol=1e-6)


@pytest.mark.parametrize(("channels", "count"), [("single", 1), ("sides", 3)])
def test_phi_omega_and_kappa_agree_on_the_channels(channels: str, count: int) -> None:
    config = ModelConfig(width=4, lifter_width=16, channels=channels)
    pose = PoseNet(config, SKELETON, scale=1.0)
    kappa = kappa_for(config, SKELETON, 32)
    drawn = kappa(torch.rand(2, 17, 2) - 0.5)
    assert drawn.shape == pose.phi(torch.rand(2, 3, 32, 32)).shape == (2, count, 32, 32)
    assert pose.omega(drawn).shape == (2, 17, 2)


def test_log_odds_of_facing_heads_are_added(pose: PoseNet) -> None:
    by_pose, by_head = PoseFacing(SKELETON).eval(), FrontBack(SKELETON).eval()
    pipeline = PosePipeline(pose, {"pose_facing": by_pose, "front_back": by_head}).eval()
    x = torch.rand(2, 3, 32, 32)
    read = pose.omega(pose.phi(x)).detach()
    for of_pose, of_head, front in ((3, -2, True), (-3, 2, False), (2, -3, False), (-2, 3, True)):
        for layer, bias in ((by_pose.layers[-1], of_pose), (by_head.network[-1], of_head / 2)):
            layer.weight.data.zero_()
            layer.bias.data.fill_(bias)
        named = read[:, list(SKELETON.swap)] if front else read
        torch.testing.assert_close(pipeline.predict_2d(x)[1].detach(), named)


def test_pose_facing_is_the_same_for_the_mirrored_pose(pose: PoseNet) -> None:
    head, y = PoseFacing(SKELETON), torch.randn(5, 17, 2)
    x = torch.zeros(5, 3, 8, 8)
    mirrored = y[:, list(SKELETON.swap)] * torch.tensor([-1.0, 1])
    torch.testing.assert_close(
        head.facing_logits(x, mirrored, pose.phi), head.facing_logits(x, y, pose.phi)
    )
