"""A walking horse of capsules, for docs/own_data.md: images, masks, a DeepLabCut table.

    python docs/examples/horse.py example/

writes ``example/images/CLIP/FRAME.png``, ``example/masks/...`` and ``example/poses.csv``. The
poses are those of other clips than the images: nothing is paired.
"""

import csv
import sys
from pathlib import Path

import cv2
import numpy as np
import yaml

SIZE, FRAMES, CLIPS = 256, 40, 4
FOCAL, DISTANCE = 600.0, 4500.0  # pixels, mm
SKELETON = Path(__file__).with_name("horse12.yaml")


def horse(phase: float, stride: float) -> dict[str, np.ndarray]:
    """Joints in mm: x ahead, y down, z to its right, the withers at the origin."""
    joints = {
        "withers": (0, 0, 0),
        "croup": (-900, 30, 0),
        "poll": (450, -420 + 40 * np.sin(phase), 0),
        "muzzle": (700, -200 + 40 * np.sin(phase), 0),
    }
    for end, x, y in (("front", 0, 0), ("hind", -900, 30)):
        for side, z in (("l", -150), ("r", 150)):
            swing = phase + (side == "r") * np.pi + (end == "hind") * np.pi / 2
            angle = stride * np.sin(swing)
            bend = 0.5 * max(0.0, np.cos(swing))
            knee = np.array([x + 550 * np.sin(angle), y + 550 * np.cos(angle), z])
            hoof = knee + 550 * np.array([np.sin(angle - bend), np.cos(angle - bend), 0])
            joints |= {f"{side}_{end}_knee": knee, f"{side}_{end}_hoof": hoof}
    return {name: np.asarray(place, dtype=float) for name, place in joints.items()}


def project(joints: dict[str, np.ndarray], azimuth: float) -> dict[str, np.ndarray]:
    """Pixels seen by a camera that is turned about the vertical."""
    c, s = np.cos(azimuth), np.sin(azimuth)
    pixels = {}
    for name, (x, y, z) in joints.items():
        x = x + 300  # the middle of the body
        depth = DISTANCE - s * x + c * z
        pixels[name] = FOCAL * np.array([c * x + s * z, y - 300]) / depth + SIZE / 2
    return pixels


def draw(
    pixels: dict[str, np.ndarray], bones: list[list[str]], coat: np.ndarray, seed: int
) -> tuple:
    """An image of a horse with a coat of a colour (B, G, R), and its mask."""
    image = np.random.default_rng(seed).integers(90, 160, (SIZE, SIZE, 3), dtype=np.uint8)
    mask = np.zeros((SIZE, SIZE), dtype=np.uint8)
    for number, (parent, child) in enumerate(bones):
        ends = [tuple(np.round(pixels[name]).astype(int).tolist()) for name in (parent, child)]
        width = 34 if {parent, child} == {"withers", "croup"} else 13
        shade = coat * (0.6 + 0.4 * number / len(bones))
        cv2.line(image, *ends, shade.tolist(), width)
        cv2.line(mask, *ends, 255, width)
    return image, mask


def main(out: Path) -> None:
    """Write the images, masks and poses."""
    body = yaml.safe_load(SKELETON.read_text())
    rng, rows = np.random.default_rng(0), []
    for clip in range(2 * CLIPS):
        azimuths = rng.uniform(-np.pi, np.pi) + np.linspace(0, 1, FRAMES)
        stride, start = rng.uniform(0.3, 0.5), rng.uniform(0, 2 * np.pi)
        coat = rng.uniform(20, 230, 3)
        for frame, azimuth in enumerate(azimuths):
            pixels = project(horse(start + 0.35 * frame, stride), azimuth)
            if clip >= CLIPS:
                rows.append([frame, *np.ravel([(*pixels[n], 1) for n in body["joints"]]).round(2)])
                continue
            for kind, image in zip(
                ("images", "masks"),
                draw(pixels, body["bones"], coat, 1000 * clip + frame),
                strict=True,
            ):
                file = out / kind / f"clip{clip}" / f"{frame:03d}.png"
                file.parent.mkdir(parents=True, exist_ok=True)
                cv2.imwrite(str(file), image)
    columns = [(joint, coord) for joint in body["joints"] for coord in ("x", "y", "likelihood")]
    with (out / "poses.csv").open("w", newline="") as stream:
        table = csv.writer(stream, lineterminator="\n")
        table.writerow(["scorer", *["capsules"] * len(columns)])
        table.writerow(["bodyparts", *(joint for joint, _ in columns)])
        table.writerow(["coords", *(coord for _, coord in columns)])
        table.writerows(rows)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
