"""What must hold of a data set, in plain words, and what came of each rule."""

from collections.abc import Sequence
from dataclasses import dataclass

from skelift.data.anatomy import FEWEST_JOINTS
from skelift.data.cameras import LEAST_FOCAL
from skelift.data.mask_checks import MOST
from skelift.data.prior_measures import FARTHEST_JOINT

_NAMES = "correct the order or the names of the poses' joints"


@dataclass(frozen=True)
class Rule:
    """A column of a table (see ``measures``) and the range that its values must lie in."""

    table: str
    column: str
    says: str  # the expectation in plain words
    low: float | None = None
    high: float | None = None
    mostly: float = 1.0  # share of the rows that must fulfil it
    warning: bool = False  # a fault is reported and stops nothing


def _none(table: str, column: str, says: str, mostly: float = 1.0) -> Rule:
    """A rule against flagged or counted rows."""
    return Rule(table, column, says, low=0, high=0, mostly=mostly)


def _focal(table: str) -> Rule:
    return Rule(
        table,
        "focal_share",
        f"focal lengths are {LEAST_FOCAL:g} or more of the image's longer side: give pixels, not "
        "millimetres",
        low=LEAST_FOCAL,
        warning=True,
    )


RULES = (
    _none("arrays", "wrong_rows", "every array has the rows that dataset.json counts"),
    _none("arrays", "wrong_joints", "poses have the skeleton's joints"),
    _none("arrays", "wrong_size", "images and masks have the data set's size"),
    _none("samples", "wrong_crop", "crop boxes are finite and not empty"),
    _none("samples", "person_shared", "train and test show different persons"),
    _none("samples", "clip_shared", "train and test come from different clips"),
    _none("samples", "time_overlaps", "test frames come after all training frames of their clip"),
    _none("samples", "moment_shared", "no training image shows a test image's moment, or one near"),
    _none("samples", "copy", "images of a split differ from one another", mostly=0.99),
    _none("samples", "copy_of_other_split", "no image is both in train and in test"),
    # Of static cameras whose bodies were searched for. Small ones may enter the image.
    Rule(
        "samples",
        "intruder",
        "no crop is suddenly 3 times larger than usual in its take: masks show the same body",
        high=3,
    ),
    Rule(
        "samples",
        "unusual_side",
        "crops are not suddenly 3 times larger or smaller than usual in their take",
        low=1 / 3,
        high=3,
        warning=True,
    ),
    Rule(
        "samples",
        "jump",
        "crops do not jump: masks follow the same body",
        high=0,
        warning=True,
    ),
    _focal("samples"),
    _none("samples", "non_finite_2d", "2D joints are finite"),
    Rule("samples", "outside", "2D joints lie inside the crop, to 10 %", high=0.1),
    Rule(
        "samples",
        "labelled",
        f"test images have {FEWEST_JOINTS} labelled joints or more",
        low=FEWEST_JOINTS,
    ),
    Rule(
        "samples",
        "labels_outside",
        "labels lie in the crop: their frame, camera and units are right",
        high=0.25,
        mostly=0.95,
    ),
    _none("samples", "non_finite_3d", "3D joints are finite"),
    Rule("samples", "depth_mm", "3D joints lie in front of the camera", low=1),
    Rule("samples", "size_factor", "3D is in mm: bones are 1/3 to 3 times the skeleton's", high=3),
    Rule("samples", "bone_factor", "relative bone lengths are 1/2.5 to 2.5 times its", high=2.5),
    # A bone may span a joint that the skeleton leaves out: from thorax to nose it measures half its
    # length more or less with the chin up or down.
    Rule("samples", "bone_drift", "a person's relative bone lengths vary by up to 60 %", high=0.6),
    Rule("samples", "reprojection", "3D projects onto 2D, to 1 % of the crop", high=0.01),
    # A lens off the image's middle, and its distortion, are in no focal length.
    Rule(
        "samples",
        "near_reprojection",
        "3D labels project onto 2D by focal_px, to 10 % of the crop: both are of this camera, "
        "x right, y down, z forward",
        high=0.1,
        mostly=0.95,
    ),
    Rule(
        "samples",
        "labels_upside_down",
        "3D labels have y down: most do not stand on their heads",
        high=0,
        mostly=0.5,
        warning=True,
    ),
    Rule(
        "samples",
        "labels_jump",
        "labels of left and right do not swap from one frame to the next",
        high=0,
        warning=True,
    ),
    # Of a body seen from the side x hardly varies, and labels are noisy.
    Rule(
        "samples",
        "agreement",
        "3D and 2D agree on what is right and what is down",
        low=0.5,
        mostly=0.9,
    ),
    # A turn of more than 90 degrees between hips and shoulders is rare.
    _none("samples", "twisted", "hips and shoulders agree on left and right", mostly=0.98),
    _none("samples", "sides_jump", "left and right do not swap from one frame to the next"),
    Rule(
        "samples",
        "knee_bend",
        "knees bend forward: no sides are swapped, no axis is mirrored",
        low=-0.02,
    ),
    Rule("images", "mask_coverage", "the mask covers 1 to 90 % of the crop", low=0.01, high=0.9),
    Rule("images", "mask_on_border", "the mask leaves most of its image's border free", high=MOST),
    Rule(
        "images",
        "mirrored",
        "masks do not hold what the floor mirrors of the body (set data.folder.body.contrast)",
        high=0.65,
        mostly=0.9,
        warning=True,
    ),
    Rule("images", "background_level", "the background is black", high=4),
    Rule("images", "brightest", "images are not blank", low=16),
    Rule(
        "images",
        "off_body",
        "at least 9 of 10 joints in the source image lie on the mask",
        high=0.1,
        mostly=0.98,
    ),
    # Labels by hand, on masks that were found: some joints are hidden by the mask's faults.
    Rule(
        "images",
        "labels_off_body",
        "at least 3 of 4 labelled joints lie on or near the mask: masks, labels and cameras agree",
        high=0.25,
        mostly=0.9,
        warning=True,
    ),
    Rule(
        "images",
        "labels_off_body",
        "half of the labelled joints lie on or near the mask in some images: correct the cameras, "
        "the frames or the axes of the labels",
        high=0.5,
        mostly=0.1,
    ),
    Rule(
        "images",
        "labels_mirrored",
        "labels have x right and y down: on most masks they do not lie clearly better mirrored",
        high=0.1,
        mostly=0.5,
    ),
    Rule("images", "likeness", "no test image nearly equals a training image", high=0.995),
    _none("prior", "wrong_crop", "crop boxes of the prior are finite and not empty"),
    _none("prior", "non_finite_2d", "prior poses are finite"),
    Rule("prior", "outside", "prior poses lie inside the crop, to 10 %", high=0.1),
    Rule("prior", "extent", "prior poses fill at least a third of the crop", low=1 / 3),
    Rule(
        "prior",
        "upside_down",
        "prior poses have y down: most do not stand on their heads",
        high=0,
        mostly=0.5,
        warning=True,
    ),
    Rule(
        "prior",
        "lying",
        "most prior poses stand: unless they are of bodies that lie, exchange x and y, they may be "
        "(row, column)",
        high=0,
        mostly=0.5,
        warning=True,
    ),
    Rule(
        "prior",
        "copy",
        "prior poses differ from one another: leave copies out",
        high=0,
        mostly=0.95,
        warning=True,
    ),
    _none("prior", "same_pose", "most prior poses are not copies of a single one", mostly=0.5),
    Rule(
        "prior",
        "farthest",
        f"joints of the prior are at most {FARTHEST_JOINT:g} times as far from their pose's middle "
        "as is typical of it: mark outliers as not seen (NaN, or confidence 0)",
        high=FARTHEST_JOINT,
        mostly=0.998,
        warning=True,
    ),
    Rule(
        "prior",
        "outside_image",
        "at most a quarter of a prior pose's joints lie outside of its image: correct the width "
        "and height that its file states, or the unit of its joints",
        high=0.25,
        mostly=0.95,
        warning=True,
    ),
    _focal("prior"),
    # Definitions of joints differ: COCO's ears make a head 2.5 times as long as another's.
    Rule(
        "prior_bones",
        "length_factor",
        f"over many prior poses bones are 1/3 to 3 times as long as bone_lengths_mm says: {_NAMES}"
        ", or bone_lengths_mm of the skeleton",
        high=3,
        warning=True,
    ),
    Rule(
        "prior_bones",
        "length_factor",
        f"over many prior poses no bone is 5 times as long or short as bone_lengths_mm says: "
        f"{_NAMES}, or bone_lengths_mm of the skeleton",
        high=5,
    ),
    Rule(
        "prior_bones",
        "order",
        "over many prior poses a joint reaches as far from the one before last as the last does, "
        f"to 35 %: {_NAMES}",
        low=0.65,
        warning=True,
    ),
    Rule(
        "prior_pairs",
        "crossed",
        "the left of two neighbouring pairs of joints is on the same side in most prior poses: "
        "left and right are exchanged in some of them, correct their order or names",
        high=0.5,
        warning=True,
    ),
    _none("prior", "clip_shared", "prior poses come from other clips than the images"),
    Rule(
        "published",
        "frames_missing",
        "the set has the published number of frames, to 2 %",
        low=-0.02,
        high=0.02,
        warning=True,
    ),
)


@dataclass(frozen=True)
class Outcome:
    """What came of one rule."""

    rule: Rule
    success: bool
    rows: int  # that were checked and know the property
    unexpected: int  # how many of them are out of range
    examples: Sequence[str]  # up to three of those

    @property
    def stops(self) -> bool:
        """Whether the data set cannot be used."""
        return not self.success and not self.rule.warning

    def fault(self) -> str:
        """A sentence on the rows that fail."""
        example = f", such as {self.examples[0]}" if self.examples else ""
        return (
            f"expected that {self.rule.says}, but {self.unexpected} of {self.rows} rows "
            f"fail{example}"
        )

    def as_json(self) -> dict[str, object]:
        """The rule and what came of it, for ``validation.json``."""
        return {
            "table": self.rule.table,
            "column": self.rule.column,
            "says": self.rule.says,
            "success": self.success,
            "rows": self.rows,
            "unexpected": self.unexpected,
            "examples": list(self.examples),
            "warning": self.rule.warning,
        }
