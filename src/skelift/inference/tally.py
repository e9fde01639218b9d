"""What became of the images that were to be predicted, and what is said of it at the end."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from skelift.data.cameras import implausible_focal
from skelift.data.mask_checks import MaskFaults, mask_fault
from skelift.data.static_camera import PERSON
from skelift.errors import InputError
from skelift.inference.cropping import TYPICAL, WHOLE_IMAGE
from skelift.inference.frames import Frame, left_out
from skelift.inference.pose_files import Entry


@dataclass
class Tally:
    """Counts images while they pass."""

    inputs: Sequence[Path]  # files and folders that were asked for
    background: str  # see ``Source.frames``
    contrast: str = "any"  # the same
    boxed: bool = False  # bodies were looked for in a box alone
    nobody: int = 0  # images without a body
    crops_from: Counter[str] = field(default_factory=Counter)  # of the others, as their masks
    masks_from: Counter[str] = field(default_factory=Counter)
    focals: Counter[str] = field(default_factory=Counter)  # doubts about focal lengths
    fps: bool = False  # whether images were said to be a film
    untold: int = 0  # images of which the model does not tell which way the body faces
    faults: MaskFaults = field(default_factory=MaskFaults)

    def add(self, frame: Frame, entry: Entry | None) -> None:
        """Count a frame with its entry of an answer; None where no body is visible."""
        if entry is None:
            self.nobody += 1
            return
        self.untold += entry["facing"] is None
        self.crops_from[entry["crop"]["from"]] += 1
        self.masks_from[entry["mask"]] += 1
        if entry["warnings"] and frame.mask is not None and (fault := mask_fault(frame.mask)):
            self.faults.add(frame.label, fault)
        focal = entry["focal_px"]
        doubt = implausible_focal(focal["value"], *entry["image_size"])
        if doubt and focal["from"] != TYPICAL:
            self.focals[doubt] += 1

    def check(self) -> None:
        """InputError where no image shows a body."""
        if self.crops_from:
            return
        raise InputError(f"{self.inputs[0]}: no body in any of {self.nobody} images; {self._fix()}")

    def _fix(self) -> str:
        options = [f"--contrast {self.contrast}"] if self.contrast != "any" else []
        options += ["--box"] if self.boxed else []
        if options:
            return f"check {' and '.join(options)}, or give masks"
        if self.background == PERSON:
            return "give masks"
        return (
            "a mask marks it with 255, and before a static camera (median, subtractor) it has to "
            "move"
        )

    def report(self) -> Iterator[str]:
        """Lines that say which images have no pose, or one that is not to be trusted."""
        if self.faults.first:
            yield (
                f"poses of {self.faults.summary()} are not to be trusted: a mask marks the body "
                "with white (above 127)"
            )
        for doubt, count in self.focals.items():
            yield f"poses of {count} images are not to be trusted: {doubt}"
        if self.fps and self.untold:
            yield "--fps: the model does not tell front from back, so each image stands alone"
        if self.nobody:
            yield f"images left out, without a body: {self.nobody}"
        if whole := self.crops_from[WHOLE_IMAGE]:
            yield (
                f"images taken whole: {whole}, as nothing marks the body; no model is trained for "
                "that: give masks, or --background person (of other bodies: median before a "
                "static camera, or remove)"
            )
        if self.background == PERSON:
            used = (f"{source} ({count})" for source, count in self.masks_from.most_common())
            yield f"masks used: {', '.join(used)}"
        yield from left_out(self.inputs)
