"""What is minimised: the paper's objective (Eq. 12).

Each objective is a module whose forward gives the weighted terms of one step, so that
DistributedDataParallel sees one forward and one backward.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from skelift import losses
from skelift.collective import gather
from skelift.config import LossConfig
from skelift.data.loading import ImageBatch
from skelift.flesh import Flesh
from skelift.geometry import project, random_view, rotate, variety
from skelift.models.discriminator import Discriminator
from skelift.models.flow import PoseFlow
from skelift.models.posenet import PoseNet
from skelift.render import Kappa
from skelift.training.loop import Terms
from skelift.training.paint import Painter


@dataclass(frozen=True)
class StepNoise:
    """The random numbers of a step for the global batch, derived from (seed, step) alone."""

    azimuth: Tensor  # (B,) uniform in [-pi, pi]
    elevation: Tensor  # (B,) standard normal, for the fresh elevation
    shuffle: Tensor  # (B,) permutation, for the pairs of Eq. 6

    @classmethod
    def at(cls, seed: int, step: int, batch: int, device: torch.device) -> "StepNoise":
        """Numbers of one step; the same on every process and device."""
        rng = torch.Generator().manual_seed((seed << 32) + step)
        azimuth = (2 * torch.rand(batch, generator=rng) - 1) * torch.pi
        elevation = torch.randn(batch, generator=rng)
        shuffle = torch.randperm(batch, generator=rng)
        return cls(*(t.to(device, non_blocking=True) for t in (azimuth, elevation, shuffle)))


def cycle_weight(step: int, loss: LossConfig) -> float:
    """Factor on L_base: ``loss.cycle_weight_init`` at step 0, 1 from ``cycle_weight_steps`` on.

    From scratch the flow and the bone lengths drown the loop (their gradients are 50 times as
    long), and the depths of near and far joints never agree with each other. So the loop leads
    first, and the terms meet as equals later.
    """
    left = max(1 - step / loss.cycle_weight_steps, 0.0) if loss.cycle_weight_steps else 0.0
    return float(loss.cycle_weight_init**left)


class Lifting(nn.Module):
    """The rotation loop on normalised 2D poses: L_base (Eq. 11), L_NF (Eq. 8), L_bl (Eq. 10)."""

    def __init__(self, config: LossConfig, pose: PoseNet) -> None:
        super().__init__()
        self.config = config
        self.pose = pose

    def forward(
        self, y: Tensor, noise: StepNoise, flow: PoseFlow, cycle_weight: float = 1.0
    ) -> Terms:
        """Weighted terms for (B, J, 2) normalised poses; ``cycle_weight`` multiplies L_base."""
        with torch.autocast(y.device.type, enabled=False):
            return self._terms(y.float(), noise, flow, cycle_weight)

    def _terms(self, y: Tensor, noise: StepNoise, flow: PoseFlow, cycle_weight: float) -> Terms:
        c = self.config
        v, elevation = self.pose.lift(y)
        rotation = random_view(elevation, noise.azimuth, noise.elevation)
        v_hat = rotate(rotation, v)
        y_hat = project(v_hat)
        v_hat_prime = self.pose.lift_again(y_hat)
        v_prime = rotate(rotation.transpose(1, 2), v_hat_prime)
        y_prime = project(v_prime)
        pairs = noise.shuffle
        bones, b_bar = self.pose.bone_indices, self.pose.b_bar
        return _weighted(
            {
                "l2d": (cycle_weight * c.l2d, lambda: losses.loss_2d(y_prime, y, c.norms)),
                "l3d": (cycle_weight * c.l3d, lambda: losses.loss_3d(v_hat_prime, v_hat, c.norms)),
                "deformation": (
                    cycle_weight * c.deformation,
                    lambda: losses.deformation_loss(v_prime[pairs], v[pairs], c.norms),
                ),
                "flow": (c.flow, lambda: flow.nll(y_hat).mean()),
                "bones": (c.bones, lambda: losses.bone_length_loss(v, bones, b_bar, c.sigma_b)),
            }
        )


@dataclass(frozen=True)
class Seen:
    """What kappa, Phi and Omega make of poses u of the prior, and of images x."""

    u: Tensor  # (B, J, 2)
    w: Tensor  # kappa(u)
    read: Tensor  # Omega(w)
    s: Tensor  # Phi(x), of mirrored images too with ``loss.mirror``
    s_painted: Tensor  # Phi of painted bodies
    redrawn: Tensor  # kappa(Omega(s))
    by_d: Tensor  # s or redrawn: see ``loss.disc_input``
    y: Tensor  # (B, J, 2) Omega(s)
    y_mirrored: Tensor  # the same of the mirrored images, if there are any


class SelfSupervised(nn.Module):
    """Eq. 12 as Phi, Omega and Lambda see it."""

    def __init__(
        self, config: LossConfig, pose: PoseNet, kappa: Kappa, painter: Painter | None = None
    ) -> None:
        super().__init__()
        self.config = config
        self.pose = pose
        self.lifting = Lifting(config, pose)
        self.kappa = kappa
        self.flesh = painter.flesh if painter else Flesh(pose.skeleton, kappa.size)
        self.painter = painter

    def forward(
        self,
        images: ImageBatch,
        u: Tensor,
        lifted_prior: Tensor,
        noise: StepNoise,
        discriminator: Discriminator,
        flow: PoseFlow,
        lift_images: bool,
        cycle_weight: float = 1.0,
        painted: Tensor | None = None,
    ) -> tuple[Terms, Tensor, Tensor]:
        """One step.

        Args:
            images: this process's share of the images.
            u: (B, J, 2) poses of the prior, this process's share.
            lifted_prior: (P, J, 2) normalised poses of the prior that Lambda lifts besides.
            noise: random numbers of the lifted poses of the global batch.
            discriminator: D, whose weights are not moved here.
            flow: the frozen flow.
            lift_images: whether the images' poses enter the lifting losses.
            cycle_weight: factor on L_base.
            painted: (B, 3, S, S) painted bodies of the poses u, where there is a painter.

        Returns:
            The weighted terms, beside them how much the poses vary over how much those of the prior
            do (``poses/variety``: 0 where all have collapsed to one), and what D learns from:
            kappa(u) and Phi(x) (or kappa(y)), both detached.
        """
        seen = self._see(images.x, u, painted)
        terms = self._of_the_paper(seen, discriminator)
        if self.painter:
            self.painter.look(seen.y.detach(), images)
        terms |= self._departures(seen, images)
        terms["poses/variety"] = _relative_variety(seen.y, u)
        lifted = [lifted_prior]
        if lift_images:
            lifted.append(self._normalised(seen.y, images))
        if any(map(len, lifted)):
            terms |= self.lifting(torch.cat(lifted), noise, flow, cycle_weight)
        return terms, seen.w.detach(), seen.by_d.detach().float()

    def _see(self, x: Tensor, u: Tensor, painted: Tensor | None) -> Seen:
        """Pass a step's images and poses through the networks, all at once."""
        count = len(x)
        x = torch.cat([x, x.flip(3)]) if self.config.mirror else x
        w = self.kappa(u)
        painted = x[:0] if painted is None else painted
        s, s_painted = self.pose.phi(torch.cat([x, painted])).split([len(x), len(painted)])
        y, read = self.pose.omega(s, w.to(s.dtype)).split([len(s), len(u)])
        redrawn = self.kappa(y)
        return Seen(
            u=u,
            w=w,
            read=read,
            s=s,
            s_painted=s_painted,
            redrawn=redrawn,
            by_d=redrawn if self.config.disc_input == "redrawn" else s,
            y=y[:count],
            y_mirrored=y[count:],
        )

    def _of_the_paper(self, seen: Seen, discriminator: Discriminator) -> Terms:
        """The terms of the images in Eq. 12."""
        c = self.config
        return _weighted(
            {
                "gan": (
                    c.gan,
                    lambda: losses.adversarial_loss(discriminator(seen.by_d), c.gan_form),
                ),
                "omega": (c.omega, lambda: losses.pose_from_skeleton_loss(seen.read, seen.u)),
                "render": (c.render, lambda: losses.redraw_loss(seen.redrawn, seen.s)),
            }
        )

    def _departures(self, seen: Seen, images: ImageBatch) -> Terms:
        """The terms of the images beyond the paper."""
        c, y, u = self.config, seen.y, seen.u
        return _weighted(
            {
                "painted": (
                    c.painted,
                    lambda: losses.painted_loss(
                        self.pose.omega(seen.s_painted), u, seen.s_painted, seen.w
                    ),
                ),
                "silhouette": (
                    c.silhouette,
                    lambda: losses.silhouette_loss(self.flesh(y), images.mask),
                ),
                "moments": (
                    c.moments,
                    lambda: losses.moments_loss(gather(y.float()), gather(u)),
                ),
                "heading": (c.heading, lambda: self._heading(y, images)),
                "mirror": (
                    c.mirror,
                    lambda: losses.mirror_loss(y, seen.y_mirrored, self.pose.swap),
                ),
            }
        )

    def _normalised(self, y: Tensor, images: ImageBatch) -> Tensor:
        """The poses y of the global batch as Lambda sees them."""
        scaled = _scale_gradient(y.float(), self.config.lift_grad_scale)
        return gather(self.pose.normalise(scaled, images.camera))

    def _heading(self, y: Tensor, images: ImageBatch) -> Tensor:
        assert images.motion is not None
        rear, front = self.pose.skeleton.axis_path[[0, -1]]
        return losses.heading_loss(y[:, front] - y[:, rear], images.motion)


class Discrimination(nn.Module):
    """Eq. 3 as D sees it."""

    def __init__(self, form: str, discriminator: Discriminator) -> None:
        super().__init__()
        self.form = form
        self.discriminator = discriminator

    def forward(self, w: Tensor, s: Tensor) -> Terms:
        """D's loss on drawn poses w and skeleton images s, both (B, C, S, S)."""
        scales = [
            logits.split([len(w), len(s)]) for logits in self.discriminator(torch.cat([w, s]))
        ]
        real, fake = ([scale[side] for scale in scales] for side in (0, 1))
        return {"discriminator": losses.discriminator_loss(real, fake, self.form)}


def _relative_variety(y: Tensor, u: Tensor) -> Tensor:
    """How much the poses y of the global batch vary, over how much the poses u do."""
    of_all = variety(gather(y.detach().float())), variety(gather(u))
    return of_all[0] / of_all[1].clamp(min=1e-6)


def _scale_gradient(y: Tensor, factor: float) -> Tensor:
    """The identity, whose gradient is multiplied by ``factor``."""
    if factor == 1:
        return y
    if factor == 0:
        return y.detach()
    return y.detach() + factor * (y - y.detach())


def _weighted(terms: Mapping[str, tuple[float, Callable[[], Tensor]]]) -> Terms:
    """Compute the terms whose weight is not zero, weighted."""
    return {name: weight * loss() for name, (weight, loss) in terms.items() if weight}
