"""The only inference forward: evaluate, predict, the server and the exported graph all run it."""

from collections.abc import Mapping
from typing import NamedTuple, cast

import torch
from torch import Tensor, nn

from skelift.geometry import CropCamera, bone_lengths, mirror_pose, turn_2d, turn_image
from skelift.models.heads.head import FacingHead, Head
from skelift.models.heads.upright import Upright
from skelift.models.posenet import PoseNet

INPUTS = ("crop_rgb", "crop_box", "focal_px", "facing_prior")


class Poses(NamedTuple):
    """Poses of B crops."""

    joints_3d_mm: Tensor  # (B, J, 3) mm, root-relative, camera frame, of a typical body's size
    joints_2d_px: Tensor  # (B, J, 2) pixels of the image
    spread_px: Tensor  # (B, J) spread of the 2D joints in the same pixels
    # (B,) log-odds, by the image alone, that the body faces the camera; NaN without facing heads
    front_log_odds: Tensor
    skeleton_image: Tensor  # (B, C, S, S) skeleton images Phi(x)


OUTPUTS = Poses._fields


class _Upright(NamedTuple):
    """What is read in B crops, the roll taken out."""

    s: Tensor  # (B, C, S, S) skeleton images, of the crops as they are
    y: Tensor  # (B, J, 2) poses
    spread: Tensor  # (B, J)
    front_log_odds: Tensor  # (B,)
    roll: Tensor | None  # (B,) that was taken out; None: it is not estimated


class PosePipeline(nn.Module):
    """Crops -> 3D poses: the core, the heads that were fitted after it, the crop's geometry.

    Args:
        core: Phi, Omega and Lambda.
        heads: name -> fitted head, in the order in which they change a 2D pose.
        flip: also predict the mirrored image and take the mean; twice the time.
    """

    def __init__(
        self, core: PoseNet, heads: Mapping[str, Head] | None = None, flip: bool = False
    ) -> None:
        super().__init__()
        self.core = core
        self.heads = nn.ModuleDict(dict(heads or {}))
        self.flip = flip

    def forward(
        self,
        crop_rgb: Tensor,
        crop_box: Tensor,
        focal_px: Tensor,
        facing_prior: Tensor | None = None,
    ) -> Poses:
        """Predict poses.

        Args:
            crop_rgb: (B, S, S, 3) uint8, background black.
            crop_box: (B, 3) float32 centre x, centre y and side, pixels of the image.
            focal_px: (B, 1) float32 focal length, pixels of the image.
            facing_prior: (B,) float32 log-odds that the body faces the camera, as far as that is
                known without the image: 0 nothing, inf a front, -inf a back. Facing heads add
                theirs; without such heads nothing depends on it.
        """
        x = crop_rgb.permute(0, 3, 1, 2).float() / 255
        s, y, spread, front, roll = self._predict_upright(x, facing_prior)
        camera = CropCamera(crop_box, torch.cat([focal_px, focal_px], 1), crop_box[:, :2])
        v, _ = self.core.lift(self.core.normalise(y.float(), camera))
        if roll is not None:
            v = torch.cat([turn_2d(v[..., :2], roll), v[..., 2:]], -1)
            y = turn_2d(y, roll)
        centre, half = crop_box[:, None, :2], crop_box[:, 2:] / 2
        return Poses(self.in_mm(v), centre + y * half[:, None], spread * half, front, s)

    def predict_2d(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(B, 3, S, S) images -> skeleton images, 2D poses (B, J, 2), spread (B, J)."""
        s, y, spread, _, roll = self._predict_upright(x)
        return s, y if roll is None else turn_2d(y, roll), spread

    def _predict_upright(self, x: Tensor, facing_prior: Tensor | None = None) -> _Upright:
        s, y, spread = self.core.predict_2d(x)
        if self.flip:
            _, mirrored, mirrored_spread = self.core.predict_2d(x.flip(3))
            y = (y + mirror_pose(mirrored, self.core.swap)) / 2
            spread = (spread + mirrored_spread[:, self.core.swap]) / 2
        roll = None
        if "upright" in self.heads:
            roll = cast(Upright, self.heads["upright"]).roll(y.float())
            x, y = turn_image(x, -roll), turn_2d(y, -roll)
        read = y
        for head in self.heads.values():
            y, spread = head(x, read, y, spread)
        facing = [head for head in self.heads.values() if isinstance(head, FacingHead)]
        log_odds = y.new_full(y.shape[:1], torch.nan)
        if facing:
            logits = [head.facing_logits(x, read, self.core.phi) for head in facing]
            log_odds = torch.stack(logits).sum(0)
            front = (log_odds + (0 if facing_prior is None else facing_prior) > 0)[:, None]
            y = torch.where(front[..., None], y[:, self.core.swap], y)
            spread = torch.where(front, spread[:, self.core.swap], spread)
        return _Upright(s, y, spread, log_odds, roll)

    def in_mm(self, v: Tensor) -> Tensor:
        """Give poses (B, J, 3) the size of a typical body: its mean bone, in mm.

        One image gives no scale; every pose is taken to be of a body of typical size.
        """
        lengths = self.core.skeleton.bone_lengths_mm
        typical = sum(lengths) / len(lengths)
        mean = bone_lengths(v, self.core.bone_indices).mean(1)
        return v * (typical / mean)[:, None, None]
