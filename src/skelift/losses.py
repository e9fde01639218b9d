"""The losses of the paper, one function per equation, and the departures, one function each.

Symbols: u poses of the prior, y poses of images (both in [-1, 1] over the crop); s = Phi(x)
skeleton images; v 3D poses (B, J, 3); ``_hat`` after the random rotation, ``_prime`` after the
second lift. Every loss is summed over the pose and averaged over the batch.
"""

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits, softplus

from skelift.geometry import mirror_pose

PAINTED_PIXELS = 20.0  # weight of the pixels of a painted body's skeleton image
SURE_RADIAL_MOTION = 0.1  # from here on radial motion counts in full
# Of the way less the growth, in sides of the box. A real mouse over 0.7 s, judged by eye: its front
# lay ahead in 22 of 39 images below the first, in 31 of 36 between the two, and in all 16 above.
CLEAR_HEADING_MOTION, SURE_HEADING_MOTION = 0.3, 1.0
HEADING_GAIN = 4.0  # log-odds per half crop by which the front lies ahead of the rear


def discriminator_loss(on_prior: list[Tensor], on_images: list[Tensor], form: str) -> Tensor:
    """What D minimises: the negative of Eq. 3 (``log``), or ``least_squares`` (KeypointGAN).

    ``on_prior`` are D's logits on kappa(u), ``on_images`` on Phi(x), one map per scale.
    """
    if form == "least_squares":
        terms = [
            0.5 * ((real - 1).square().mean() + fake.square().mean())
            for real, fake in zip(on_prior, on_images, strict=True)
        ]
    else:
        terms = [
            softplus(-real).mean() + softplus(fake).mean()
            for real, fake in zip(on_prior, on_images, strict=True)
        ]
    return torch.stack(terms).mean()


def adversarial_loss(on_images: list[Tensor], form: str) -> Tensor:
    """Eq. 3 as Phi sees it: its skeleton images should pass for drawn ones.

    The log form is the non-saturating one, -log D(s), which has the same fixed point as
    log(1 - D(s)) and a gradient where D is sure (Goodfellow et al., Section 3).
    """
    if form == "least_squares":
        return torch.stack([(fake - 1).square().mean() for fake in on_images]).mean()
    return torch.stack([softplus(-fake).mean() for fake in on_images]).mean()


def pose_from_skeleton_loss(read: Tensor, u: Tensor) -> Tensor:
    """First term of Eq. 9: |Omega(kappa(u)) - u|^2, for ``read`` = Omega(kappa(u))."""
    return _squared(read - u)


def redraw_loss(drawn: Tensor, s: Tensor) -> Tensor:
    """Second term of Eq. 9: |kappa(y) - s|^2, as a mean over pixels."""
    return (drawn - s).square().mean()


def loss_3d(v_hat_prime: Tensor, v_hat: Tensor, norms: str) -> Tensor:
    """Eq. 4: |v_hat' - v_hat|^2. ``elepose``: the unsquared L2 norm of the pose vector."""
    return _norm(v_hat_prime - v_hat, norms)


def loss_2d(y_prime: Tensor, y: Tensor, norms: str) -> Tensor:
    """Eq. 5: |y' - y|^2. ``elepose``: the L1 norm."""
    if norms == "elepose":
        return (y_prime - y).abs().flatten(1).sum(1).mean()
    return _squared(y_prime - y)


def deformation_loss(v_prime: Tensor, v: Tensor, norms: str) -> Tensor:
    """Eq. 6 on the pairs (0, 1), (2, 3), ... of the batch, which comes shuffled.

    |(v'^(j) - v'^(k)) - (v^(j) - v^(k))|^2: the change of the difference between two samples.
    """
    even = len(v) // 2 * 2
    change = (v_prime - v)[:even]
    return _norm(change[0::2] - change[1::2], norms)


def bone_length_loss(v: Tensor, bones: Tensor, b_bar: Tensor, sigma_b: float) -> Tensor:
    """Eq. 10 without its constant: sum_n (b_n - b_bar_n)^2 / (2 sigma_b^2).

    Args:
        v: (B, J, 3) poses of the first lift.
        bones: (N, 2) joint indices.
        b_bar: (N,) typical bone lengths over their mean.
        sigma_b: standard deviation of relative bone lengths; 0.1 gives ElePose's weight of 50.
    """
    b = relative_bone_lengths(v, bones)
    return ((b - b_bar).square() / (2 * sigma_b**2)).sum(1).mean()


def relative_bone_lengths(v: Tensor, bones: Tensor) -> Tensor:
    """b_n: bone lengths (B, N) of (B, J, 3) poses over the mean bone of the same pose."""
    lengths = (v[:, bones[:, 1]] - v[:, bones[:, 0]]).square().sum(-1).add(1e-12).sqrt()
    return lengths / lengths.mean(1, keepdim=True)


def silhouette_loss(body: Tensor, mask: Tensor) -> Tensor:
    """Departure: the pose y drawn by a wide kappa, ``body``, covers the mask and nothing else.

    Ties the pose to the image, which nothing in Eq. 12 does. Both are (B, 1, S, S) in [0, 1].
    """
    return (body - mask).square().mean()


def painted_loss(read: Tensor, u: Tensor, s: Tensor, drawn: Tensor) -> Tensor:
    """Departure: the image of a painted body gives the pose that it was painted of.

    Args:
        read: (B, J, 2) poses that Omega reads off ``s``.
        u: (B, J, 2) the poses of the painted bodies.
        s: (B, C, S, S) skeleton images of the painted bodies.
        drawn: (B, C, S, S) kappa(u).
    """
    return _squared(read - u) + PAINTED_PIXELS * redraw_loss(drawn, s)


def facing_loss(facing: Tensor, radial_motion: Tensor) -> Tensor:
    """Departure: who approaches the camera faces it, for bodies mostly move forwards.

    Args:
        facing: (B,) log-odds that the body faces the camera.
        radial_motion: (B,) by how much it approaches, in its own size (``data.motion_cue``).
    """
    sure = (radial_motion.abs() / SURE_RADIAL_MOTION).clamp(max=1)
    return binary_cross_entropy_with_logits(facing, (radial_motion > 0).float(), sure)


def moments_loss(y: Tensor, u: Tensor) -> Tensor:
    """Departure: poses of images have the mean and the spread of unpaired ones; no collapse.

    Squared differences of the mean and of the standard deviation over the batch, summed over the
    coordinates. Both are (B, J, 2), and taken about the middle of each pose.
    """
    y, u = (pose - pose.mean(1, keepdim=True) for pose in (y, u))
    apart = (y.mean(0) - u.mean(0)).square() + (y.std(0) - u.std(0)).square()
    return apart.sum()


def heading_loss(axis_2d: Tensor, motion: Tensor) -> Tensor:
    """Departure: the front of a body that lies is mostly where it goes to.

    softplus(-gain (axis . way) / |way|), weighted by how clearly the body moves: |way| - |growth|.
    One that rears up, turns its head or loses its tail in the mask moves the middle of its box too,
    but about as much as it changes the box's side; it does not count, nor does one without a film.

    Args:
        axis_2d: (B, 2) from the rear to the front joint of the skeleton's axis, right and down, in
            [-1, 1] over the crop.
        motion: (B, 3) way right and down, and growth (``data.motion_cue.heading_motion_of``); NaN:
            unknown.
    """
    motion = motion.nan_to_num()
    way, speed = motion[:, :2], motion[:, :2].norm(dim=1)
    clear = speed - motion[:, 2].abs() - CLEAR_HEADING_MOTION
    sure = (clear / (SURE_HEADING_MOTION - CLEAR_HEADING_MOTION)).clamp(0, 1)
    ahead = (axis_2d * way).sum(1) / speed.clamp(min=CLEAR_HEADING_MOTION)
    return (sure * softplus(-HEADING_GAIN * ahead)).mean()


def pose_facing_loss(facing: Tensor, faces: Tensor, of_images: Tensor) -> Tensor:
    """Departure: unpaired poses say who faces the camera; images show as many fronts as they do.

    Args:
        facing: (B,) log-odds that unpaired poses face the camera.
        faces: (B,) whether they do, 0 or 1.
        of_images: (B,) log-odds for poses of images.
    """
    apart = of_images.mean() - facing.mean()
    return binary_cross_entropy_with_logits(facing, faces) + apart.square()


def refine_loss(refined: Tensor, u: Tensor) -> Tensor:
    """Departure: an unpaired pose u with noise on it is refined to the pose; both (B, J, 2)."""
    return _squared(refined - u)


def roll_loss(estimated: Tensor, roll: Tensor) -> Tensor:
    """Departure: by how much an unpaired pose was turned in the image plane; both (B,) radians."""
    return (estimated - roll).square().mean()


def mirror_loss(y: Tensor, y_mirrored: Tensor, swap: Tensor) -> Tensor:
    """Departure: a mirrored image shows the mirrored pose (``mirror_pose``); both (B, J, 2)."""
    return _squared(mirror_pose(y, swap) - y_mirrored)


def _squared(difference: Tensor) -> Tensor:
    return difference.square().flatten(1).sum(1).mean()


def _norm(difference: Tensor, norms: str) -> Tensor:
    if norms == "elepose":
        return difference.flatten(1).square().sum(1).add(1e-12).sqrt().mean()
    return _squared(difference)
