"""Optional networks, fitted after the core: one file and one entry here per head."""

from skelift.models.heads.front_back import FrontBack
from skelift.models.heads.head import FitData, Head
from skelift.models.heads.joint_facing import JointFacing
from skelift.models.heads.pose_facing import PoseFacing
from skelift.models.heads.refiner import Refiner
from skelift.models.heads.upright import Upright

# In the order in which they change a 2D pose; the names are those of the section ``heads``.
HEADS: dict[str, type[Head]] = {
    "upright": Upright,
    "refiner": Refiner,
    "pose_facing": PoseFacing,
    "front_back": FrontBack,
    "joint_facing": JointFacing,
}

__all__ = [
    "HEADS",
    "FitData",
    "FrontBack",
    "Head",
    "JointFacing",
    "PoseFacing",
    "Refiner",
    "Upright",
]
