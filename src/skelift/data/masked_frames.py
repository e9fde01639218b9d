"""The frames of a clip, each with the mask that it comes with or that is searched for."""

import sys
from collections.abc import Iterator

from skelift.data.clips import Clip
from skelift.data.images import (
    ALPHA,
    GIVEN,
    TWO_WAYS,
    ImageArray,
    Mask,
    UnsupportedImage,
    check_size,
    fits_two_ways,
    mask_of,
    read_mask,
)
from skelift.data.static_camera import SEARCHES, Search, cut_out_bodies
from skelift.data.videos import frame_count, read_video
from skelift.errors import InputError

MaskedFrame = tuple[int, ImageArray, Mask | None, str]


def masked_frames(clip: Clip, search: Search) -> Iterator[MaskedFrame]:
    """Yield (index, RGB image, mask, what gave the mask) of the frames in use.

    A mask file comes first, then the image's alpha channel, then what ``search`` finds. The mask is
    all 0 where there is no body; it is None, and what gave it empty, where none of them marks the
    body. InputError where an image or a video is broken, or its masks do not fit.
    """
    if clip.is_video and clip.masks:
        yield from _with_mask_video(clip)
        return
    searched = search.background in SEARCHES and not (clip.masks and all(clip.masks))
    frames = cut_out_bodies(clip, search) if searched else _own(clip)
    doubted = False  # one warning per clip
    for index, image, found, source in frames:
        file = clip.masks[index] if clip.masks else None
        mask, by = (read_mask(file, like=image), GIVEN) if file else (found, source)
        if file and not doubted and (doubted := fits_two_ways(clip.files[index], file)):
            print(f"{file}: warning: {TWO_WAYS}", file=sys.stderr)
        yield index, image, mask, by


def _own(clip: Clip) -> Iterator[MaskedFrame]:
    for index, image, alpha in clip.frames(clip.indices):
        yield index, image, alpha, "" if alpha is None else ALPHA


def _with_mask_video(clip: Clip) -> Iterator[MaskedFrame]:
    video, masks = clip.files[0], clip.masks[0]
    assert masks is not None
    if frame_count(video) != frame_count(masks):
        raise InputError(
            f"{masks}: has {frame_count(masks)} frames, its video {video} {frame_count(video)}; "
            "give one mask per frame"
        )
    pairs = zip(clip.frames(clip.indices), read_video(masks, clip.indices), strict=True)
    for (index, image, _), (_, mask) in pairs:
        check_size(masks, mask, image.shape)
        try:
            yield index, image, mask_of(mask, None), GIVEN
        except UnsupportedImage as error:
            raise InputError(f"{masks}, frame {index}: {error}") from None
