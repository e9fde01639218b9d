"""``python -m skelift.synth.sample FILE``: a rendered image of one person, for trying a model."""

import argparse
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from skelift.config import compose
from skelift.files import atomic_file
from skelift.synth.generate import open_studio
from skelift.synth.splits import TEST

SIZE = 480


def sample_images(count: int, size: int = SIZE) -> NDArray[np.uint8]:
    """(count, size, size, 3) RGB images of the quickstart's test persons, on black."""
    config = compose(["data=quickstart", f"data.size={size}"])
    assert config.data.synth is not None
    studio, _ = open_studio(config, config.data.synth)
    images, _, _ = studio.photograph(studio.cast.scenes(TEST, range(count)))
    return images


def main() -> None:
    """Write one as PNG."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file", type=Path, metavar="FILE", help="a .png to write")
    file: Path = parser.parse_args().file
    encoded = cv2.imencode(".png", sample_images(1)[0][..., ::-1])[1]
    with atomic_file(file) as unfinished:
        unfinished.write_bytes(encoded.tobytes())
    print(file)


if __name__ == "__main__":
    main()
