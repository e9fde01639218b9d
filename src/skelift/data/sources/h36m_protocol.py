"""What holds of Human3.6M in every layout: persons of each split, joints and frames."""

from dataclasses import dataclass
from pathlib import Path

from skelift.config import H36mConfig
from skelift.data.sources.recordings import Recording, part_frames

SUBJECTS = {
    **dict.fromkeys(("S1", "S5", "S6", "S7", "S8"), "train"),
    **dict.fromkeys(("S9", "S11"), "test"),
}
JOINTS = (0, 1, 2, 3, 6, 7, 8, 12, 13, 14, 15, 17, 18, 19, 25, 26, 27)  # of 32, as in h36m17
LICENCE = "Human3.6M licence: research only, not to be passed on; http://vision.imar.ro/human3.6m"


@dataclass(frozen=True, kw_only=True)
class H36mClip(Recording):
    """One clip from one camera."""

    folder: Path  # the subject's
    stem: str  # name of its files or folders, such as ``Sitting 2.54138969``
    source: H36mConfig

    def part_frames(self, count: int) -> tuple[range, range]:
        """Frames that give images, and of a training clip those after them that give poses."""
        if self.split == "train":
            return part_frames(count, self.source.every, self.source.prior)
        return part_frames(count, self.source.test_every, 0.0)
