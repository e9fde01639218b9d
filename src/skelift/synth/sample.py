"""``python -m skelift.synth.sample FILE``: a rendered picture of one person, for trying a model."""

import sys
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from skelift.config import compose
from skelift.synth.generate import open_studio
from skelift.synth.splits import TEST

SIZE = 480


def sample_pictures(count: int, size: int = SIZE) -> NDArray[np.uint8]:
    """(count, size, size, 3) RGB pictures of the quickstart's test persons, on black."""
    config = compose(["data=quickstart", f"data.size={size}"])
    assert config.data.synth is not None
    studio, _ = open_studio(config, config.data.synth)
    pictures, _, _ = studio.photograph(studio.cast.scenes(TEST, range(count)))
    return pictures


if __name__ == "__main__":
    from skelift.inference.drawings import write_png

    write_png(Path(sys.argv[1]), sample_pictures(1)[0])
    print(sys.argv[1])
