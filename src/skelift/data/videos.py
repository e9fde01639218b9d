"""Videos: when each frame was taken, and its pixels.

Frame rates and lengths in a file's header are estimates, and wrong for variable rates and streams.
So the file itself is read once to its end: what counts are its frames and their time stamps.
"""

import os
import struct
import sys
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import BinaryIO

import cv2
import numpy as np
from numpy.typing import NDArray

from skelift.errors import InputError
from skelift.files import ascii_name

UNSTATED_RATE = 25.0  # frames per second
RETRIES = 300  # packets without a frame after which a video has ended

_BOXES = b"ftyp moov mdat moof mfra free skip wide uuid sidx styp".split()  # outermost, of MP4

# The library's own complaints about broken files would hide the one line that says what to do.
os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_ERROR)


def frame_times(video: Path) -> tuple[float, ...]:
    """Seconds since the video's start of each frame, by its own time stamp.

    The file is decoded once to its end; the answer is kept as long as the file does not change.

    Raises:
        InputError: the file is missing, not a video, cut off, or a frame cannot be decoded.
    """
    if not video.is_file():
        raise InputError(f"{video}: not found; name an existing video")
    status = video.stat()
    return _frame_times(video, status.st_size, status.st_mtime_ns)


def frame_count(video: Path) -> int:
    """Number of frames; InputError as of ``frame_times``."""
    return len(frame_times(video))


def mean_rate(video: Path) -> float:
    """Frames per second on average; of a single frame as the header says."""
    times = frame_times(video)
    if times[-1] > times[0]:
        return (len(times) - 1) / (times[-1] - times[0])
    return stated_rate(video) or UNSTATED_RATE


def stated_rate(video: Path) -> float:
    """Frames per second, as the header says; 0 where it does not."""
    with _opened(video) as capture:
        return float(capture.get(cv2.CAP_PROP_FPS))


def stated_count(video: Path) -> int:
    """Number of frames, as the header says; counted where it does not."""
    with _opened(video) as capture:
        stated = int(capture.get(cv2.CAP_PROP_FRAME_COUNT))
    return stated if stated > 0 else frame_count(video)


def fewest_frames(count: int) -> int:
    """Frames from which on a video of stated length ``count`` is whole: some headers round it."""
    return count - max(2, count // 50)


def read_video(video: Path, wanted: Collection[int]) -> Iterator[tuple[int, NDArray[np.uint8]]]:
    """``read_frames``, turned to RGB."""
    for index, frame in read_frames(video, wanted):
        yield index, cv2.cvtColor(frame, cv2.COLOR_BGR2RGB)  # type: ignore[misc]


def read_frames(
    video: Path, wanted: Collection[int], threads: int = 0
) -> Iterator[tuple[int, NDArray[np.uint8]]]:
    """Yield (index, BGR frame) of the wanted frames, one at a time; later ones are not decoded.

    Frames are turned upright as the file says.

    Args:
        video: the file.
        wanted: indices of the frames.
        threads: threads of the decoder; 0 leaves that to it.

    Raises:
        InputError: the file is missing, not a video, or ends before the wanted frames.
    """
    end = max(wanted, default=-1) + 1
    with _opened(video, threads) as capture:
        for index in range(end):
            if not _grab(capture, video, index):
                if index >= fewest_frames(end):
                    return
                raise InputError(
                    f"{video}: ends after {index} of {end} frames; it is truncated, restore it"
                )
            if index in wanted:
                decoded, frame = capture.retrieve()
                if not decoded:
                    raise _damaged(video, index)
                yield index, frame  # type: ignore[misc]


@lru_cache(maxsize=256)
def _frame_times(video: Path, size: int, changed_ns: int) -> tuple[float, ...]:
    _check_whole(video, size)
    times: list[float] = []
    with _opened(video) as capture:
        while _grab(capture, video, len(times)):
            times.append(round(capture.get(cv2.CAP_PROP_POS_MSEC) / 1000, 4))
        rate = capture.get(cv2.CAP_PROP_FPS) or UNSTATED_RATE
    if not times:
        raise InputError(f"{video}: holds no frames; replace or remove the file")
    if (np.diff(times) <= 0).any():
        print(
            f"{video}: its time stamps do not rise; times are those of {rate:g} frames per second",
            file=sys.stderr,
        )
        times = [round(index / rate, 4) for index in range(len(times))]
    return tuple(times)


def _grab(capture: cv2.VideoCapture, video: Path, index: int) -> bool:
    """Decode the next frame; False at the end, InputError where one in between is broken."""
    if capture.grab():
        return True
    if any(capture.grab() for _ in range(RETRIES)):
        # A recording that was cut begins with frames that depend on lost ones.
        if index:
            raise _damaged(video, index)
        return True
    return False


def _damaged(video: Path, index: int) -> InputError:
    return InputError(f"{video}: frame {index} cannot be decoded; restore the file")


@contextmanager
def _opened(path: Path, threads: int = 0) -> Iterator[cv2.VideoCapture]:
    if not path.is_file():
        raise InputError(f"{path}: not found; name an existing video")
    options = [cv2.CAP_PROP_N_THREADS, threads] if threads else []
    with ascii_name(path) as name:
        capture = cv2.VideoCapture(name, cv2.CAP_FFMPEG, options)
        if not capture.isOpened():
            raise InputError(
                f"{path}: cannot be decoded; give a video that OpenCV reads (H.264 .mp4)"
            )
        try:
            yield capture
        finally:
            capture.release()


def _check_whole(video: Path, size: int) -> None:
    """InputError where a container's parts, by their own lengths, go on after the file's end.

    A decoder takes the end of a file for the end of the video.
    """
    with video.open("rb") as stream:
        start = stream.read(8)
        if start[4:] == b"ftyp":
            end = max(_ends_of_boxes(stream, size))
        elif start[:4] == b"RIFF":
            end = max(_ends_of_chunks(stream, size))
        elif start[:4] == b"\x1a\x45\xdf\xa3":
            end = max(_ends_of_elements(stream, size))
        else:
            return
    if end > size + 1:  # some writers leave out the byte that makes a chunk even
        raise InputError(f"{video}: is truncated after {size} of {end} bytes; restore it")


def _ends_of_boxes(stream: BinaryIO, size: int) -> list[int]:
    """Where the outer boxes of an MP4 or QuickTime file end (ISO/IEC 14496-12, 4.2)."""
    ends = [0]
    while ends[-1] < size:
        stream.seek(ends[-1])
        header = stream.read(16).ljust(16, b"\0")
        length, kind = struct.unpack(">I4s", header[:8])
        if length == 1:
            length = struct.unpack(">Q", header[8:])[0]
        if kind not in _BOXES or length < 8:  # up to the file's end, or nothing of the format's
            break
        ends.append(ends[-1] + length)
    return ends


def _ends_of_chunks(stream: BinaryIO, size: int) -> list[int]:
    """Where the outer chunks of an AVI end; of a long file there are several."""
    ends = [0]
    while ends[-1] < size:
        stream.seek(ends[-1])
        kind, length = struct.unpack("<4sI", stream.read(8).ljust(8, b"\0"))
        if kind != b"RIFF" or not length:
            break
        ends.append(ends[-1] + 8 + length)
    return ends


def _ends_of_elements(stream: BinaryIO, size: int) -> list[int]:
    """Where header and segment of a Matroska or WebM file end (RFC 8794); live ones do not say."""
    ends = [0]
    while len(ends) < 3 and ends[-1] < size:
        stream.seek(ends[-1] + 4)  # both have an ID of four bytes
        first = (stream.read(1) or b"\0")[0]
        width = 9 - first.bit_length()
        digits = bytes([first & (0x7F >> (width - 1))]) + stream.read(width - 1)
        length = int.from_bytes(digits)
        if not first or length == 2 ** (7 * width) - 1:
            break
        ends.append(ends[-1] + 4 + width + length)
    return ends
