"""The whole way from a crop's pixels to its answer as one graph: what serving runs and exports."""

import torch
from torch import Tensor, nn

from skelift.geometry import View
from skelift.models.posenet import PoseNet

INPUTS = ("crop_rgb", "crop_box", "focal_px")
OUTPUTS = ("joints_3d_mm", "joints_2d_px", "spread_px", "skeleton_image")


class CropToPose(nn.Module):
    """Phi, Omega and Lambda with the crop's geometry around them.

    Args:
        pose: the trained networks.
    """

    def __init__(self, pose: PoseNet) -> None:
        super().__init__()
        self.pose = pose

    def forward(
        self, crop_rgb: Tensor, crop_box: Tensor, focal_px: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Crops -> poses.

        Args:
            crop_rgb: (B, S, S, 3) uint8, background black.
            crop_box: (B, 3) float32 centre x, centre y and side, pixels of the image.
            focal_px: (B, 1) float32 focal length, pixels of the image.

        Returns:
            (B, J, 3) mm, root-relative, camera frame; (B, J, 2) pixels of the image; (B, J)
            their spread in the same pixels; (B, C, S, S) skeleton images.
        """
        x = crop_rgb.permute(0, 3, 1, 2).float() / 255
        skeleton_image, y, spread = self.pose.see(x)
        view = View(crop_box, torch.cat([focal_px, focal_px], 1), crop_box[:, :2])
        v, _ = self.pose.lift(self.pose.normalise(y, view))
        centre, half = crop_box[:, None, :2], crop_box[:, 2:] / 2
        return self.pose.in_mm(v), centre + y * half[:, None], spread * half, skeleton_image
