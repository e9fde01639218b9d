"""Stage: images, folders and videos -> poses, with a model here or behind an endpoint."""

import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path

from skelift.data.static_camera import BACKGROUNDS
from skelift.errors import InputError
from skelift.files import staged_folder
from skelift.inference.cropping import KEEP, REMOVE, WHOLE_IMAGE
from skelift.inference.drawings import drawing, drawn_names
from skelift.inference.engines import choose_engine
from skelift.inference.frames import Source, find_sources
from skelift.inference.pose_files import Entry, Header, check_suffix, write_poses
from skelift.inference.run import predict_frames

NOBODY = "nobody"


def run(
    images: list[Path],
    model: Path | None,
    out: Path,
    draw: Path | None = None,
    masks: Path | None = None,
    focal: float | None = None,
    background: str = KEEP,
    every: int = 1,
    endpoint: str | None = None,
) -> Path:
    """Predict the pose in each image and video frame, and write one file.

    Args:
        images: images, videos and folders of them; one body in each image.
        model: folder of a trained model; None takes the one that ships with skelift.
        out: .json, .csv or .npz to write.
        draw: folder for the drawings: one PNG per image, one video per video.
        masks: folder of masks with the images' stems; NAME.mask.png beside an image counts too.
        focal: focal length in pixels of the images, where known.
        background: keep, remove, median or subtractor, see ``Source.frames``.
        every: keep every n-th frame of a video.
        endpoint: address of a server to ask instead of a model here.

    Raises:
        InputError: an image, mask or the model is missing or broken; nothing is written then.
        RunError: the endpoint does not answer; nothing is written then.
    """
    choices = (KEEP, REMOVE, *BACKGROUNDS)
    if background not in choices:
        raise InputError(f"--background {background}: choose one of {', '.join(choices)}")
    check_suffix(out)
    sources = find_sources(images, masks, every)
    names = drawn_names(sources) if draw else {}
    engine, _ = choose_engine(model, endpoint)
    counts: Counter[str] = Counter()

    def poses() -> Iterator[tuple[Header, Entry]]:
        with _staged(draw) as staged, _progress(sources) as advance:
            for source in sources:
                with drawing(source, staged, names) if staged else nullcontext() as drawer:
                    frames = source.frames(background)
                    for frame, header, entry in predict_frames(engine, frames, focal):
                        counts[entry["crop"]["from"] if entry else NOBODY] += 1
                        if drawer:
                            drawer(frame, entry, header)
                        if entry:
                            yield header, entry
                        advance()
            if counts[NOBODY] == counts.total():
                raise InputError(
                    f"{images[0]}: no body in any of {counts[NOBODY]} images; before a static "
                    "camera it has to move, and a mask marks it with 255"
                )

    write_poses(out, poses())
    _report(counts)
    return out


def _staged(draw: Path | None) -> AbstractContextManager[Path | None]:
    return staged_folder(draw) if draw else nullcontext()


@contextmanager
def _progress(sources: list[Source]) -> Iterator[Callable[[], None]]:
    """A bar with the time that remains, on stderr; yields what moves it on by one frame."""
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("Predicting", total=sum(len(s.clip.indices) for s in sources))
        yield lambda: progress.advance(task)


def _report(counts: Counter[str]) -> None:
    """Say on stderr what a reader of the file may not expect."""
    if counts[NOBODY]:
        print(f"{counts[NOBODY]} images without a body were left out", file=sys.stderr)
    if counts[WHOLE_IMAGE]:
        print(
            f"{counts[WHOLE_IMAGE]} images were taken whole, as nothing marks the body; no model "
            "is trained for that: give masks, --background median (static camera) or remove",
            file=sys.stderr,
        )
