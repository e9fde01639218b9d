"""Each loss, and the whole rotation loop with all of them, against float64 NumPy."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.stats import norm
from tiny import load_skeleton
from torch import nn

from skelift import losses
from skelift.config import LossConfig, ModelConfig, compose
from skelift.data.loading import ImageBatch
from skelift.geometry import CropCamera, mirror_pose
from skelift.models.discriminator import Discriminator
from skelift.models.flow import PoseFlow
from skelift.models.posenet import PoseNet, kappa_for
from skelift.training.objective import Discrimination, Lifting, SelfSupervised, StepNoise

Array = NDArray[np.float64]
RNG = np.random.default_rng(0)
SKELETON = load_skeleton("h36m17")
JOINTS, BATCH = len(SKELETON), 6
NORMS = ["squared", "elepose"]


def tensor(array: Array) -> torch.Tensor:
    return torch.tensor(array, dtype=torch.float32)


def poses(*shape: int) -> Array:
    return RNG.normal(0, 0.3, (BATCH, *shape))


# --- one loss at a time ------------------------------------------------------------------------


def test_equation_3_in_both_forms() -> None:
    """D's output is a probability in the paper: the sigmoid of the logits here."""
    real, fake = (
        [RNG.normal(0, 2, (4, 1, n, n)) for n in (5, 2)],
        [RNG.normal(0, 2, (4, 1, n, n)) for n in (5, 2)],
    )
    d_real, d_fake = ([1 / (1 + np.exp(-x)) for x in maps] for maps in (real, fake))
    judged = [*map(tensor, real)], [*map(tensor, fake)]

    log = -np.mean([np.log(w).mean() + np.log(1 - s).mean() for w, s in zip(d_real, d_fake)])  # noqa: B905
    assert losses.discriminator_loss(*judged, "log").item() == pytest.approx(log, rel=1e-5)
    fooled = -np.mean([np.log(s).mean() for s in d_fake])
    assert losses.adversarial_loss(judged[1], "log").item() == pytest.approx(fooled, rel=1e-5)

    square = np.mean(
        [((w - 1) ** 2).mean() / 2 + (s**2).mean() / 2 for w, s in zip(real, fake)]  # noqa: B905
    )
    ours = losses.discriminator_loss(*judged, "least_squares").item()
    assert ours == pytest.approx(square, rel=1e-5)
    fooled = np.mean([((s - 1) ** 2).mean() for s in fake])
    ours = losses.adversarial_loss(judged[1], "least_squares").item()
    assert ours == pytest.approx(fooled, rel=1e-5)


def test_log_form_survives_a_discriminator_that_is_sure() -> None:
    logits = [torch.tensor([-200.0, 200.0], requires_grad=True)]
    losses.discriminator_loss(logits, logits, "log").backward()
    assert logits[0].grad.isfinite().all()
    sure = torch.tensor([-200.0], requires_grad=True)
    losses.adversarial_loss([sure], "log").backward()
    assert sure.grad.item() == pytest.approx(-1)  # log(1 - D(s)) would leave nothing


def test_who_comes_nearer_faces_the_camera() -> None:
    logits = RNG.normal(0, 2, 4)
    nearer = np.array([0.3, -0.02, 0.05, 0.0])
    faces = 1 / (1 + np.exp(-logits))
    sure = [1, 0.2, 0.5]
    terms = -np.log([faces[0], 1 - faces[1], faces[2]])
    ours = losses.facing_loss(tensor(logits), tensor(nearer)).item()
    assert ours == pytest.approx(np.dot(sure, terms) / 4, rel=1e-5)


def test_the_front_is_where_a_body_that_lies_goes_to() -> None:
    axis = RNG.normal(0, 0.5, (8, 2))
    motion = RNG.normal(0, 0.6, (8, 3)) * [1, 1, 0.3]
    motion[0] = np.nan  # no film
    motion[1] = [0.1, -0.1, 0]  # hardly moves
    motion[2] = [0.9, 0, 0.8]  # rears up
    motion[3] = [0, 3, 0.1]
    terms = np.zeros(8)
    for row in range(1, 8):
        way, growth = motion[row, :2], motion[row, 2]
        clear = np.hypot(*way) - abs(growth)
        sure = min(max((clear - 0.3) / (1.0 - 0.3), 0), 1)
        along = np.hypot(*axis[row]) * np.cos(np.arctan2(*axis[row]) - np.arctan2(*way))
        terms[row] = -sure * np.log(1 / (1 + np.exp(-4 * along)))
    assert (terms[:3] == 0).all()
    assert terms[3:].max() > 0
    ours = losses.heading_loss(tensor(axis), tensor(motion)).item()
    assert ours == pytest.approx(terms.mean(), rel=1e-5)


def test_heading_without_motion_leaves_the_axis_alone() -> None:
    motion = torch.tensor([[torch.nan] * 3, [0.0, 0.0, 0.0], [-1.0, 0.0, 0.0]])
    axis = torch.zeros(3, 2, requires_grad=True)
    losses.heading_loss(axis, motion).backward()
    assert axis.grad is not None
    assert (axis.grad[:2] == 0).all()
    assert axis.grad[2, 0] > 0  # a step down turns the front to the left
    assert axis.grad[2, 1] == 0


def test_images_face_the_camera_as_often_as_unpaired_poses() -> None:
    logits, of_images = RNG.normal(0, 2, 4), RNG.normal(1, 2, 6)
    right = 1 / (1 + np.exp(-logits * [1, -1, -1, 1]))
    expected = -np.log(right).mean() + (of_images.mean() - logits.mean()) ** 2
    faces = tensor(np.array([1.0, 0, 0, 1]))
    ours = losses.pose_facing_loss(tensor(logits), faces, tensor(of_images)).item()
    assert ours == pytest.approx(expected, rel=1e-5)


def test_equation_9() -> None:
    read, u = poses(JOINTS, 2), poses(JOINTS, 2)
    expected = np.mean([np.linalg.norm(a - b) ** 2 for a, b in zip(read, u, strict=True)])
    ours = losses.pose_from_skeleton_loss(tensor(read), tensor(u)).item()
    assert ours == pytest.approx(expected, rel=1e-5)
    drawn, s = RNG.uniform(size=(2, BATCH, 3, 8, 8))
    ours = losses.redraw_loss(tensor(drawn), tensor(s)).item()
    assert ours == pytest.approx(((drawn - s) ** 2).mean(), rel=1e-5)


def test_equations_4_and_5() -> None:
    a, b = poses(JOINTS, 3), poses(JOINTS, 3)
    lengths = np.linalg.norm((a - b).reshape(BATCH, -1), axis=1)
    pair = tensor(a), tensor(b)
    assert losses.loss_3d(*pair, "squared").item() == pytest.approx((lengths**2).mean(), rel=1e-5)
    assert losses.loss_3d(*pair, "elepose").item() == pytest.approx(lengths.mean(), rel=1e-5)
    a, b = a[..., :2], b[..., :2]
    pair = tensor(a), tensor(b)
    square, absolute = ((a - b) ** 2).sum((1, 2)).mean(), np.abs(a - b).sum((1, 2)).mean()
    assert losses.loss_2d(*pair, "squared").item() == pytest.approx(square, rel=1e-5)
    assert losses.loss_2d(*pair, "elepose").item() == pytest.approx(absolute, rel=1e-5)


@pytest.mark.parametrize("count", [BATCH, BATCH - 1])  # of an odd batch, the last has no partner
def test_equation_6(count: int) -> None:
    v_prime, v = poses(JOINTS, 3)[:count], poses(JOINTS, 3)[:count]
    changes = [
        np.linalg.norm((v_prime[j] - v_prime[k]) - (v[j] - v[k]))
        for j, k in ((0, 1), (2, 3), (4, 5))
        if k < count
    ]
    pair = tensor(v_prime), tensor(v)
    ours = losses.deformation_loss(*pair, "squared").item()
    assert ours == pytest.approx(np.square(changes).mean(), rel=1e-5)
    ours = losses.deformation_loss(*pair, "elepose").item()
    assert ours == pytest.approx(np.mean(changes), rel=1e-5)


def test_deformation_loss_ignores_what_changes_alike() -> None:
    v, shift = poses(JOINTS, 3), RNG.normal(size=(1, JOINTS, 3))
    assert losses.deformation_loss(tensor(v + shift), tensor(v), "squared").item() < 1e-10


@pytest.mark.parametrize("loss", [losses.loss_3d, losses.deformation_loss])
def test_unsquared_norm_has_a_gradient_at_zero(loss: Callable[..., torch.Tensor]) -> None:
    v = tensor(poses(JOINTS, 3)).requires_grad_()
    loss(v, v.detach().clone(), "elepose").backward()
    assert v.grad.isfinite().all()


def numpy_relative_bones(v: Array) -> Array:
    lengths = np.array([[np.linalg.norm(p[j] - p[i]) for i, j in SKELETON.bone_indices] for p in v])
    return lengths / lengths.mean(1, keepdims=True)


def test_equation_10_is_a_gaussian_up_to_its_constant() -> None:
    v, sigma = poses(JOINTS, 3), 0.1
    bones, b_bar = torch.tensor(SKELETON.bone_indices), SKELETON.relative_bone_lengths
    b = numpy_relative_bones(v)
    np.testing.assert_allclose(losses.relative_bone_lengths(tensor(v), bones), b, rtol=1e-4)
    constant = len(b_bar) * norm.logpdf(0, scale=sigma)
    expected = np.mean(-norm.logpdf(b, b_bar, sigma).sum(1)) + constant
    ours = losses.bone_length_loss(tensor(v), bones, tensor(b_bar), sigma).item()
    assert ours == pytest.approx(expected, rel=1e-4)
    elepose = 50 * ((b_bar - b) ** 2).sum(1).mean()
    assert ours == pytest.approx(elepose, rel=1e-4)  # sigma_b = 0.1


def test_typical_proportions_at_any_size_cost_nothing() -> None:
    v = np.zeros((1, JOINTS, 3))
    for (i, j), length in zip(SKELETON.bone_indices, SKELETON.bone_lengths_mm, strict=True):
        direction = RNG.normal(size=3)
        v[0, j] = v[0, i] + length * direction / np.linalg.norm(direction)
    bones, b_bar = torch.tensor(SKELETON.bone_indices), tensor(SKELETON.relative_bone_lengths)
    assert losses.bone_length_loss(tensor(v), bones, b_bar, 0.1) < 1e-8
    assert losses.bone_length_loss(tensor(v / 777), bones, b_bar, 0.1) < 1e-8


def test_mirrored_pose_and_its_loss() -> None:
    y = poses(JOINTS, 2)
    expected = y.copy()
    for left, right in SKELETON.pairs:
        i, j = SKELETON.index(left), SKELETON.index(right)
        expected[:, [i, j]] = y[:, [j, i]]
    expected[..., 0] *= -1
    swap = torch.tensor(SKELETON.swap)
    mirrored = mirror_pose(tensor(y), swap)
    np.testing.assert_allclose(mirrored, expected, rtol=1e-6)
    torch.testing.assert_close(mirror_pose(mirrored, swap), tensor(y))
    assert losses.mirror_loss(tensor(y), mirrored, swap) == 0
    other = poses(JOINTS, 2)
    ours = losses.mirror_loss(tensor(y), tensor(other), swap).item()
    assert ours == pytest.approx(((expected - other) ** 2).sum((1, 2)).mean(), rel=1e-5)


def test_silhouette_loss_is_least_where_the_pose_covers_the_mask() -> None:
    pose_config = ModelConfig(width=4, lifter_width=8)
    wide = objective(LossConfig(), pose_config).flesh
    u = tensor(RNG.uniform(-0.6, 0.6, (1, JOINTS, 2)))
    mask = (wide(u) > 0.5).float()
    covered = losses.silhouette_loss(wide(u), mask)
    assert covered.item() == pytest.approx(((wide(u) - mask) ** 2).mean().item(), rel=1e-5)
    for moved in (u + 0.2, u * 0.5):
        assert losses.silhouette_loss(wide(moved), mask) > 1.5 * covered


# --- the loop ------------------------------------------------------------------------------------


@pytest.fixture
def pose() -> PoseNet:
    torch.manual_seed(0)
    return PoseNet(ModelConfig(width=4, lifter_width=24), SKELETON, scale=1.0)


@pytest.fixture
def flow() -> PoseFlow:
    torch.manual_seed(1)
    flow = PoseFlow(JOINTS, pca=8, blocks=2, hidden=6)
    flow.fit_pca(torch.randn(50, JOINTS, 2) / 10)
    for block in flow.blocks:
        nn.init.normal_(block.subnet[-1].weight)
        nn.init.normal_(block.offset)
        nn.init.normal_(block.scale)
    return flow.requires_grad_(False)


NOISE = StepNoise.at(seed=3, step=5, batch=BATCH, device=torch.device("cpu"))


def weights_of(module: nn.Module) -> dict[str, Array]:
    return {name: t.detach().numpy().astype(np.float64) for name, t in module.state_dict().items()}


def numpy_linear(w: dict[str, Array], name: str, x: Array) -> Array:
    return x @ w[f"{name}.weight"].T + w[f"{name}.bias"]


def numpy_block(w: dict[str, Array], name: str, x: Array) -> Array:
    inner = x
    for layer in ("layers.0", "layers.2"):
        inner = numpy_linear(w, f"{name}.{layer}", inner)
        inner = np.where(inner > 0, inner, 0.01 * inner)
    return x + inner


def numpy_lifter(w: dict[str, Array], y: Array) -> tuple[Array, Array]:
    """Lambda as METHOD has it: depths (B, J) and elevations (B,)."""
    common = numpy_block(w, "trunk.1", numpy_linear(w, "trunk.0", y.reshape(len(y), -1)))
    heads = []
    for head in ("depth", "elevation"):
        x = numpy_block(w, f"{head}.1", numpy_block(w, f"{head}.0", common))
        heads.append(numpy_linear(w, f"{head}.2", x))
    return heads[0], heads[1][:, 0]


def numpy_nll(w: dict[str, Array], y: Array) -> Array:
    """Eq. 8 without its constant."""
    z = (y.reshape(len(y), -1) - w["mean"]) @ w["components"].T
    half, log_det = z.shape[1] // 2, np.zeros(len(y))
    for block in range(2):
        own = {k.removeprefix(f"blocks.{block}."): v for k, v in w.items()}
        hidden = np.maximum(numpy_linear(own, "subnet.0", z[:, :half]), 0)
        a, shift = np.split(numpy_linear(own, "subnet.2", hidden), 2, axis=1)
        log_scale, scale = 2 * np.tanh(0.1 * a), np.log1p(np.exp(own["scale"]))
        z = np.concatenate([z[:, :half], z[:, half:] * np.exp(log_scale) + 0.1 * shift], 1)
        z = (z * scale + own["offset"]) @ own["rotation"].T
        log_det += log_scale.sum(1) + np.log(scale).sum()
    return 0.5 * (z**2).sum(1) - log_det


def numpy_rotation(axis: str, angle: float) -> Array:
    c, s = np.cos(angle), np.sin(angle)
    if axis == "x":
        return np.array([[1, 0, 0], [0, c, -s], [0, s, c]])
    return np.array([[c, 0, s], [0, 1, 0], [-s, 0, c]])


def numpy_loop(lifter: dict[str, Array], flow: dict[str, Array], y: Array, norms: str) -> dict:
    """Eq. 1, 4-6, 8 and 10 on normalised poses, sample by sample."""

    def lift(y: Array) -> tuple[Array, Array]:
        d, elevation = numpy_lifter(lifter, y)
        d[:, SKELETON.root_index] = 0
        z = np.maximum(d + 10, 1)[..., None]
        v = np.concatenate([y * z, z], -1)
        return v - v[:, [SKELETON.root_index]], elevation

    def project(v: Array) -> Array:
        return v[..., :2] / (v[..., 2:] + 10)

    v, e = lift(y)
    fresh = e.mean() + e.std(ddof=1) * NOISE.elevation.numpy().astype(float)
    turns = NOISE.azimuth.numpy().astype(float)
    rotation = np.stack(
        [
            numpy_rotation("x", fresh[b]).T
            @ numpy_rotation("y", turns[b])
            @ numpy_rotation("x", e[b])
            for b in range(len(y))
        ]
    )
    v_hat = np.stack([(r @ p.T).T for r, p in zip(rotation, v, strict=True)])
    y_hat = project(v_hat)
    v_hat_prime, _ = lift(y_hat)
    v_prime = np.stack([(r.T @ p.T).T for r, p in zip(rotation, v_hat_prime, strict=True)])
    y_prime = project(v_prime)

    def length(difference: Array) -> float:
        lengths = np.linalg.norm(difference.reshape(len(difference), -1), axis=1)
        return float((lengths**2 if norms == "squared" else lengths).mean())

    order = NOISE.shuffle.numpy()
    change = (v_prime - v)[order]
    b = numpy_relative_bones(v)
    return {
        "l2d": length(y_prime - y)
        if norms == "squared"
        else np.abs(y_prime - y).sum((1, 2)).mean(),
        "l3d": length(v_hat_prime - v_hat),
        "deformation": length(change[0::2] - change[1::2]),
        "flow": numpy_nll(flow, y_hat).mean(),
        "bones": ((b - SKELETON.relative_bone_lengths) ** 2 / (2 * 0.1**2)).sum(1).mean(),
    }


def root_centred() -> Array:
    y = RNG.normal(0, 0.1, (BATCH, JOINTS, 2))
    return y - y[:, [SKELETON.root_index]]


@pytest.mark.parametrize("norms", NORMS)
def test_the_loop_is_the_papers(pose: PoseNet, flow: PoseFlow, norms: str) -> None:
    y, config = root_centred(), LossConfig(norms=norms)
    expected = numpy_loop(weights_of(pose.lifter), weights_of(flow), y, norms)
    ours = Lifting(config, pose)(tensor(y), NOISE, flow)
    assert ours.keys() == expected.keys()
    for name, value in expected.items():
        assert ours[name].item() == pytest.approx(value, rel=2e-4), name


def test_terms_are_weighted_and_left_out_at_weight_zero(pose: PoseNet, flow: PoseFlow) -> None:
    y = tensor(root_centred())
    plain = Lifting(LossConfig(), pose)(y, NOISE, flow)
    weighted = Lifting(LossConfig(l2d=3, flow=0.5, bones=0), pose)(y, NOISE, flow)
    assert weighted.keys() == plain.keys() - {"bones"}
    assert weighted["l2d"].item() == pytest.approx(3 * plain["l2d"].item())
    assert weighted["flow"].item() == pytest.approx(0.5 * plain["flow"].item())


def test_gradient_reaches_lambda_through_the_batchs_elevations(
    pose: PoseNet, flow: PoseFlow
) -> None:
    """The elevation head's last bias moves e_i and mu_e alike, its weights sigma_e too."""
    y = root_centred()
    head = pose.lifter.elevation[-1]
    sum(Lifting(LossConfig(), pose)(tensor(y), NOISE, flow).values()).backward()
    for name in ("weight", "bias"):
        direction = RNG.normal(size=getattr(head, name).shape)
        lifter, h = weights_of(pose.lifter), 1e-5

        def total(step: float, name: str = name, direction: Array = direction) -> float:
            moved = lifter[f"elevation.2.{name}"] + step * direction  # noqa: B023
            return sum(
                numpy_loop(
                    lifter | {f"elevation.2.{name}": moved},  # noqa: B023
                    weights_of(flow),
                    y,
                    "squared",
                ).values()
            )

        numeric = (total(h) - total(-h)) / (2 * h)
        ours = (getattr(head, name).grad.numpy() * direction).sum()
        assert ours == pytest.approx(numeric, rel=2e-3)


def test_a_perfect_lifter_has_nothing_to_gain_from_the_loop(flow: PoseFlow) -> None:
    """L_2d, L_3d and L_def vanish when the second lift finds the depths of the first pose."""

    class TrueDepth(nn.Module):
        """Test double of Lambda: knows the depths of the pose, before and after the rotation."""

        def __init__(self, d: torch.Tensor) -> None:
            super().__init__()
            self.d, self.calls = d, 0

        def forward(self, y: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            self.calls += 1
            if self.calls == 2:
                rotation = torch.stack(
                    [tensor(numpy_rotation("y", float(a))) for a in NOISE.azimuth]
                )
                return (self.v @ rotation.transpose(1, 2))[..., 2], torch.zeros(len(y))
            z = (self.d + 10).unsqueeze(-1)
            self.v = torch.cat([y * z, z - 10], -1)
            return self.d, torch.zeros(len(y))  # no elevation: R turns about y alone

        def depths(self, y: torch.Tensor) -> torch.Tensor:
            return self(y)[0]

    pose = PoseNet(ModelConfig(width=4, lifter_width=8), SKELETON, scale=1.0)
    d = RNG.normal(0, 0.3, (BATCH, JOINTS))
    d[:, SKELETON.root_index] = 0
    pose.lifter = TrueDepth(tensor(d))
    terms = Lifting(LossConfig(), pose)(tensor(root_centred()), NOISE, flow)
    assert max(terms[name] for name in ("l2d", "l3d", "deformation")) < 1e-8
    assert terms["bones"] > 1


# --- Eq. 12 --------------------------------------------------------------------------------------


def objective(loss: LossConfig, model: ModelConfig, size: int = 32) -> SelfSupervised:
    torch.manual_seed(0)
    pose = PoseNet(model, SKELETON, scale=1.0).train()
    return SelfSupervised(loss, pose, kappa_for(model, SKELETON, size))


def step(
    self_supervised: SelfSupervised,
    flow: PoseFlow,
    lift_images: bool = True,
    prior: int = 0,
    size: int = 32,
) -> tuple[dict[str, torch.Tensor], torch.Tensor, torch.Tensor, Discriminator, ImageBatch]:
    torch.manual_seed(1)
    camera = CropCamera(
        torch.full((BATCH, 3), 300.0), torch.full((BATCH, 2), 1000.0), torch.zeros(BATCH, 2)
    )
    images = ImageBatch(torch.rand(BATCH, 3, size, size), torch.ones(BATCH, 1, size, size), camera)
    u = torch.rand(BATCH, JOINTS, 2) - 0.5
    disc = Discriminator(self_supervised.kappa.channels, width=4, scales=1)
    noise = StepNoise.at(3, 5, prior + lift_images * BATCH, torch.device("cpu"))
    terms, w, s = self_supervised(
        images=images,
        u=u,
        lifted_prior=PRIOR[:prior],
        noise=noise,
        discriminator=disc,
        flow=flow,
        lift_images=lift_images,
    )
    torch.testing.assert_close(w, self_supervised.kappa(u))
    assert terms.pop("poses/variety") > 0
    return terms, w, s, disc, images


SMALL = ModelConfig(width=4, lifter_width=16)
PRIOR = tensor(root_centred())


def test_equation_12_holds_the_papers_terms(flow: PoseFlow) -> None:
    ours = objective(LossConfig(), SMALL)
    terms, w, s, disc, _ = step(ours, flow)
    assert set(terms) == {
        "gan", "omega", "render", "l2d", "l3d", "deformation", "flow", "bones"
    }  # fmt: skip
    d_s = torch.sigmoid(disc(s)[0]).double()
    assert terms["gan"].item() == pytest.approx(-d_s.log().mean().item(), rel=1e-4)
    y = ours.pose.omega(s)
    redrawn = 0.1 * (ours.kappa(y) - s).square().mean()
    assert terms["render"].item() == pytest.approx(redrawn.item(), rel=1e-4)
    d_w = torch.sigmoid(disc(w)[0]).double()
    seen = Discrimination("log", disc)(w, s)["discriminator"].item()
    assert seen == pytest.approx(-(d_w.log().mean() + (1 - d_s).log().mean()).item(), rel=1e-4)


def gradients(network: nn.Module) -> float:
    return sum(p.grad.abs().sum().item() for p in network.parameters() if p.grad is not None)


@pytest.mark.parametrize("scale", [0.0, 0.5, 1.0])
def test_gradient_of_lifting_losses_is_scaled_for_phi_and_omega(
    flow: PoseFlow, scale: float
) -> None:
    """Lambda learns from them in any case."""
    moved = []
    for share in (scale, 1.0):
        only_lifting = LossConfig(gan=0, omega=0, render=0, lift_grad_scale=share)
        ours = objective(only_lifting, SMALL)
        sum(step(ours, flow)[0].values()).backward()
        moved.append([gradients(n) for n in (ours.pose.phi, ours.pose.omega, ours.pose.lifter)])
    (phi, omega, lifter), (all_of_phi, all_of_omega, all_of_lifter) = moved
    assert phi == pytest.approx(scale * all_of_phi, rel=1e-4)
    assert omega == pytest.approx(scale * all_of_omega, rel=1e-4)
    assert lifter == pytest.approx(all_of_lifter, rel=1e-4)
    assert min(moved[1]) > 0


def test_moments_are_means_and_standard_deviations() -> None:
    y, u = (RNG.normal(i, 1 + i, (9, JOINTS, 2)) for i in range(2))
    expected = 0.0
    for joint in range(JOINTS):
        for axis in range(2):
            own, prior = (p[:, joint, axis] - p[:, :, axis].mean(1) for p in (y, u))
            expected += (own.mean() - prior.mean()) ** 2
            expected += (own.std(ddof=1) - prior.std(ddof=1)) ** 2
    assert losses.moments_loss(tensor(y), tensor(u)).item() == pytest.approx(expected, rel=1e-4)
    assert losses.moments_loss(tensor(u), tensor(u[::-1].copy())).item() < 1e-8


def test_departures_add_their_terms(flow: PoseFlow) -> None:
    config = LossConfig(silhouette=2.0, mirror=3.0, moments=1.0)
    ours = objective(config, SMALL)
    terms, _, s, _, images = step(ours, flow)
    y, y_mirrored = ours.pose.omega(s).split(BATCH)
    body = ours.flesh(y)
    expected = 2 * (body - images.mask).square().mean()
    assert terms["silhouette"].item() == pytest.approx(expected.item(), rel=1e-4)
    flipped = y.detach().numpy()[:, SKELETON.swap] * [-1, 1]
    expected = 3 * ((flipped - y_mirrored.detach().numpy()) ** 2).sum((1, 2)).mean()
    assert terms["mirror"].item() == pytest.approx(expected, rel=1e-4)
    plain = step(objective(LossConfig(), SMALL), flow)[0]
    assert set(terms) - set(plain) == {"silhouette", "mirror", "moments"}


def test_discriminator_may_see_the_redrawn_pose(flow: PoseFlow) -> None:
    ours = objective(LossConfig(disc_input="redrawn"), SMALL)
    terms, _, seen, disc, images = step(ours, flow)
    y = ours.pose.omega(ours.pose.phi(images.x))
    torch.testing.assert_close(seen, ours.kappa(y).detach(), atol=1e-3, rtol=0)
    expected = -torch.sigmoid(disc(seen)[0]).double().log().mean().item()
    assert terms["gan"].item() == pytest.approx(expected, rel=1e-4)


def test_poses_of_the_prior_are_lifted_alone_without_image_poses(flow: PoseFlow) -> None:
    ours = objective(LossConfig(gan=0, omega=0, render=0), SMALL)
    terms = step(ours, flow, lift_images=False, prior=4)[0]
    noise = StepNoise.at(3, 5, 4, torch.device("cpu"))
    alone = Lifting(LossConfig(), ours.pose)(PRIOR[:4], noise, flow)
    torch.testing.assert_close(terms, alone)
    sum(terms.values()).backward()
    assert gradients(ours.pose.phi) == gradients(ours.pose.omega) == 0
    assert gradients(ours.pose.lifter) > 0
    assert step(objective(LossConfig(), SMALL), flow, lift_images=False)[0].keys() == {
        "gan", "omega", "render"
    }  # fmt: skip


def test_paper_experiment_has_every_departure_switched_off() -> None:
    paper = compose(["experiment=paper"])
    weights = ("gan", "omega", "l2d", "l3d", "deformation", "flow", "bones")
    assert {name: getattr(paper.loss, name) for name in weights} == dict.fromkeys(weights, 1.0)
    assert paper.loss.render == 0.1  # lambda of Eq. 9
    assert (paper.loss.gan_form, paper.loss.norms) == ("log", "squared")
    off = replace(
        paper.loss,
        silhouette=0.0,
        mirror=0.0,
        lift_images_from=0,
        lift_grad_scale=1.0,
        disc_input="skeleton_image",
        lifted_prior=0,
    )
    assert paper.loss == off
    assert paper.model.squared  # Eq. 2 as printed
    assert paper.model.channels == "single"
    assert (paper.model.width, paper.model.disc_width, paper.model.lifter_width) == (32, 64, 1024)
    flow = PoseFlow(len(paper.body), paper.flow.pca, blocks=1, hidden=1)
    assert (flow.pca, paper.flow.blocks, paper.flow.hidden) == (26, 8, 1024)
    assert paper.skeleton["name"] == "h36m17"
    assert paper.data.size == 128
