"""A picture to look a data set over: of each camera, images with their masks, and the crops.

It shows random samples, and the smallest and the largest crops: where masks are wrong, these are.
"""

from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np

from skelift.data.clips import Clip
from skelift.data.crop import CropBox
from skelift.data.format import CONTACT_SHEET
from skelift.data.images import ImageArray, Mask

RANDOM, EXTREME = 8, 4  # columns of a camera's row
MOST_ROWS = 24  # cameras, or clips where no camera is named
TILE = 144  # pixels
WIDE = 1.2  # free border around the body, over its larger side
LINE = 16  # height of a line of text
OUTLINE, WHITE = (60, 255, 60), (255, 255, 255)


@dataclass(frozen=True)
class Tile:
    """One frame: a part of its image with the mask's outline, and its crop below."""

    side: float  # of the crop, in pixels of the image
    pixels: ImageArray


@dataclass
class Row:
    """What is shown of a camera, out of the frames that were seen so far."""

    random: list[Tile] = field(default_factory=list)
    smallest: list[Tile] = field(default_factory=list)
    largest: list[Tile] = field(default_factory=list)
    seen: int = 0


class ContactSheet:
    """Collects a few frames of each camera while all of them pass."""

    def __init__(self) -> None:
        self._rows: dict[str, Row] = {}
        self._rng = np.random.default_rng(0)

    def add(
        self, clip: Clip, index: int, image: ImageArray, mask: Mask, crop: ImageArray, side: float
    ) -> None:
        """Show a frame perhaps.

        Args:
            clip: its clip.
            index: its number there.
            image: (H, W, 3) of the source.
            mask: (H, W), 255 on the body.
            crop: (S, S, 3) that is in the data set.
            side: of the crop, in pixels of the image.
        """
        name = clip.camera or clip.name
        if name not in self._rows and len(self._rows) == MOST_ROWS:
            return
        row = self._rows.setdefault(name, Row())
        row.seen += 1
        # Each frame so far is shown with the same chance (reservoir sampling).
        place = int(self._rng.integers(row.seen))
        shown = place < RANDOM
        small = len(row.smallest) < EXTREME or side < row.smallest[-1].side
        large = len(row.largest) < EXTREME or side > row.largest[-1].side
        if not (shown or small or large):
            return
        tile = Tile(side, _tile(f"{clip.name} {index}", image, mask, crop, side))
        if shown and len(row.random) < RANDOM:
            row.random.append(tile)
        elif shown:
            row.random[place] = tile
        if small:
            row.smallest = sorted([*row.smallest, tile], key=lambda t: t.side)[:EXTREME]
        if large:
            row.largest = sorted([*row.largest, tile], key=lambda t: -t.side)[:EXTREME]

    def write(self, folder: Path) -> None:
        """Write the sheet into a folder; nothing where no frame was added."""
        if not self._rows:
            return
        sheet = np.vstack([_draw(name, row) for name, row in self._rows.items()])
        options = [cv2.IMWRITE_JPEG_QUALITY, 85]
        _, encoded = cv2.imencode(".jpg", cv2.cvtColor(sheet, cv2.COLOR_RGB2BGR), options)
        (folder / CONTACT_SHEET).write_bytes(encoded.tobytes())


def _draw(name: str, row: Row) -> ImageArray:
    height = 2 * TILE + 2 * LINE
    strip = np.zeros((LINE + height, (RANDOM + 2 * EXTREME) * TILE, 3), np.uint8)
    groups = ("any", 0, row.random), ("smallest", RANDOM, row.smallest)
    for title, first, tiles in (*groups, ("largest", RANDOM + EXTREME, row.largest)):
        _write(strip, f"{name}: {title} of {row.seen}", first * TILE, LINE - 4)
        for column, tile in enumerate(tiles, first):
            strip[LINE:, column * TILE : (column + 1) * TILE] = tile.pixels
    return strip


def _tile(name: str, image: ImageArray, mask: Mask, crop: ImageArray, side: float) -> ImageArray:
    box = CropBox.around_mask(mask, WIDE)
    around = box.cut(image, TILE)
    outlines, _ = cv2.findContours(box.cut(mask, TILE), cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
    cv2.drawContours(around, outlines, -1, OUTLINE, 1)
    text = np.zeros((2 * LINE, TILE, 3), np.uint8)
    _write(text, name, 2, LINE - 4)
    _write(text, f"side {side:.0f} px", 2, 2 * LINE - 4)
    shown = cv2.resize(crop, (TILE, TILE), interpolation=cv2.INTER_AREA)
    return np.vstack([text, around, np.asarray(shown, np.uint8)])


def _write(image: ImageArray, text: str, x: int, y: int) -> None:
    plain = text.encode("ascii", "replace").decode()  # all that the font has
    cv2.putText(image, plain, (x, y), cv2.FONT_HERSHEY_SIMPLEX, 0.36, WHITE, 1, cv2.LINE_AA)
