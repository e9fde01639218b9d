"""Bodies that are searched for: the masks of a clip's frames, on all cores."""

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from hashlib import blake2b
from itertools import islice
from pathlib import Path

import numpy as np

from skelift.config import BodyConfig
from skelift.data.background import (
    SAMPLES,
    Background,
    MedianBackground,
    SubtractorBackground,
    shrink,
)
from skelift.data.clips import Clip
from skelift.data.contrast import ContrastBackground
from skelift.data.images import ALPHA, ImageArray, Mask, check_size
from skelift.data.person import LARGEST, Corners, Person, StaticPerson, is_static
from skelift.data.region import mask_file, read_region
from skelift.errors import InputError
from skelift.files import atomic_file
from skelift.processes import cores

FEWEST_FRAMES = 5  # that tell a background from a body
PRESENT = 0.3  # the least presence of a body of the contrast that it is said to have
BLOCK = 16  # frames in memory at a time, cut out by as many threads as there are cores
VERSION = 5  # of how masks are found: a new one makes kept masks again


BACKGROUNDS: dict[str, Callable[[Iterable[ImageArray]], Background]] = {
    "median": lambda frames: MedianBackground(frames, threads=cores()),
    "subtractor": SubtractorBackground,
}
PERSON = "person"  # a segmentation network, with the background where the camera is static
SEARCHES = (*BACKGROUNDS, PERSON)
ONE_AT_A_TIME = ("subtractor",)  # OpenCV's object keeps a state while it works


@dataclass(frozen=True)
class Search:
    """How the bodies in a clip are found where no mask marks them.

    Attributes:
        background: one of ``SEARCHES``; any other: they are not searched for.
        kept: folder in which masks wait, so that a run that is killed goes on from them.
        box: opposite corners of a box around the person in each image, for ``PERSON``; each image
            is then looked at by itself.
        body: what is known of it, for ``median``.
        scene: a clip of the same static camera, to learn the background from; None: the clip's own.
    """

    background: str
    kept: Path | None = None
    box: Corners | None = None
    body: BodyConfig | None = None
    scene: Clip | None = None


def cut_out_bodies(clip: Clip, search: Search) -> Iterator[tuple[int, ImageArray, Mask, str]]:
    """Yield (index, image, mask, what gave the mask) of a clip's frames in use.

    A mask is all 0 where there is no body. Where an image has an alpha channel, that is its mask.
    InputError if the clip is broken, or too short to find its background. Only with ``PERSON`` the
    camera need not be static.
    """
    background, kept = search.background, search.kept
    learned: Background | ContrastBackground | Person | None = None
    one_size, source = True, background
    if background == PERSON:
        learned = person = Person(search.box) if search.box else _learn_person(clip)
        one_size, source = not isinstance(person, Person), person.source
    known = search.body if search.body and search.body.contrast != "any" else None
    if known:
        source = known.contrast
    scene = search.scene or clip
    name = kept and kept / _digest((clip, scene), source, known)
    frames = _frames_of_one_size(clip, clip.indices) if one_size else clip.frames(clip.indices)
    if scene is not clip:
        frames = _of_size(clip, frames, scene)
    before: Mask | None = None  # the last mask with a body
    with ThreadPoolExecutor(1 if background in ONE_AT_A_TIME else cores()) as pool:
        while block := list(islice(frames, BLOCK)):
            images = [image for _, image, alpha in block if alpha is None]
            file = name and name.with_name(f"{name.name}-{block[0][0]}.npz")
            masks: list[Mask] = []
            if file and file.exists():
                masks = _load(file)
            elif images:
                learned = learned or _learn(scene, background, known)
                if isinstance(learned, ContrastBackground):
                    masks = learned.masks(images, pool, before)
                else:
                    masks = list(pool.map(learned.mask, images))
                if file:
                    _save(file, masks)
            before = next((mask for mask in reversed(masks) if mask.any()), before)
            found = iter(masks)
            for index, image, alpha in block:
                yield index, image, *((next(found), source) if alpha is None else (alpha, ALPHA))


def _learn(
    clip: Clip, background: str, known: BodyConfig | None
) -> Background | ContrastBackground:
    """The background of a clip, from frames spread over all of it."""
    if len(clip.indices) < FEWEST_FRAMES:
        raise InputError(
            f"{clip.files[0]}: a clip of {len(clip.indices)} frames is too short to find its "
            f"background; give {FEWEST_FRAMES} or more, or masks"
        )
    frames = _frames_of_one_size(clip, _spread(clip))
    images = (image for _, image, _ in frames)
    if known:
        found = ContrastBackground(
            images, known, lambda like: read_region(known, clip.camera, like)
        )
        if found.presence < PRESENT:
            raise InputError(
                f"{clip.files[0]}: contrast={known.contrast}, but what is found is not "
                f"{known.contrast} than what is around it: it is floor that another body has left; "
                "set the contrast that the body has, or give masks"
            )
        return found
    return BACKGROUNDS[background](images)


def _learn_person(clip: Clip) -> StaticPerson | Person:
    """With the background of a clip from a static camera, without that of any other."""
    if len(clip.indices) < FEWEST_FRAMES:
        return Person()
    frames = [shrink(image, LARGEST) for _, image, _ in clip.frames(_spread(clip))]
    return StaticPerson(frames, cores()) if is_static(frames) else Person()


def _spread(clip: Clip) -> set[int]:
    places = np.linspace(0, len(clip.indices) - 1, SAMPLES).round().astype(int)
    return {clip.indices[i] for i in places}


def _frames_of_one_size(
    clip: Clip, wanted: Collection[int]
) -> Iterator[tuple[int, ImageArray, Mask | None]]:
    """``Clip.frames``; InputError where one has another size."""
    shape: tuple[int, ...] | None = None
    for index, image, alpha in clip.frames(wanted):
        shape = shape or image.shape
        check_size(clip.file(index), image, shape)
        yield index, image, alpha


def _of_size(
    clip: Clip, frames: Iterator[tuple[int, ImageArray, Mask | None]], scene: Clip
) -> Iterator[tuple[int, ImageArray, Mask | None]]:
    """The frames; InputError where one has another size than those of ``scene``."""
    _, like, _ = next(scene.frames(scene.indices[:1]))
    for index, image, alpha in frames:
        check_size(clip.file(index), image, like.shape)
        yield index, image, alpha


def _digest(clips: Sequence[Clip], background: str, known: BodyConfig | None) -> str:
    """A name made of all that the masks depend on."""
    region = (mask_file(known, clips[0].camera),) if known and known.region_masks else ()
    files = (*(file for clip in clips for file in clip.files), *region)
    stats = [(str(file), file.stat().st_size, file.stat().st_mtime_ns) for file in files]
    indices = [clip.indices for clip in clips]
    identity = (VERSION, stats, indices, background, *([known] if known else []))
    return blake2b(repr(identity).encode(), digest_size=8).hexdigest()


def _save(file: Path, masks: Sequence[Mask]) -> None:
    bits = [np.packbits(mask > 0, axis=-1) for mask in masks]  # of images of any sizes
    widths = np.array([mask.shape[1] for mask in masks])
    with atomic_file(file) as unfinished, unfinished.open("wb") as stream:
        np.savez_compressed(stream, *bits, widths=widths)


def _load(file: Path) -> list[Mask]:
    with np.load(file, allow_pickle=False) as arrays:
        return [
            np.unpackbits(arrays[f"arr_{n}"], axis=-1, count=int(width)) * np.uint8(255)
            for n, width in enumerate(arrays["widths"])
        ]
