"""Frames of videos and their times come from the file itself, whatever its header says."""

import struct
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from skelift.data.videos import frame_count, frame_times, mean_rate, read_video
from skelift.errors import InputError

HEIGHT, WIDTH = 32, 48
Frame = NDArray[np.uint8]


def frames(count: int) -> list[Frame]:
    """Frames that tell their number by their level."""
    return [np.full((HEIGHT, WIDTH, 3), 6 * i, np.uint8) for i in range(count)]


def numbers(video: Path) -> list[int]:
    """The numbers that the frames tell."""
    count = frame_count(video)
    return [round(image.mean() / 6) for _, image in read_video(video, range(count))]


def element(name: str, payload: bytes) -> bytes:
    """An EBML element (RFC 8794) with a size of eight bytes."""
    return bytes.fromhex(name) + (len(payload) | 1 << 56).to_bytes(8) + payload


def number(name: str, value: int) -> bytes:
    return element(name, value.to_bytes(8))


def matroska(
    path: Path,
    images: Sequence[Frame],
    times_ms: Sequence[int],
    stated_s: float,
    live: bool = False,
) -> Path:
    """Motion JPEG with the given time stamps, in a file that says 25 frames/s (RFC 9559)."""
    header = element("1A45DFA3", element("4282", b"matroska"))
    size = number("B0", WIDTH) + number("BA", HEIGHT)
    track = number("D7", 1) + number("73C5", 1) + number("83", 1) + element("86", b"V_MJPEG")
    track += number("23E383", 40_000_000) + element("E0", size)
    duration = element("4489", struct.pack(">d", stated_s * 1000))
    content = element("1549A966", number("2AD7B1", 1_000_000) + duration)
    content += element("1654AE6B", element("AE", track))
    blocks = number("E7", 0)
    for image, time in zip(images, times_ms, strict=True):
        jpeg = cv2.imencode(".jpg", image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 100])[1].tobytes()
        blocks += element("A3", b"\x81" + struct.pack(">hB", time, 0x80) + jpeg)
    segment = element("18538067", content + element("1F43B675", blocks))
    if live:  # of unknown length
        segment = segment[:4] + b"\x01" + b"\xff" * 7 + segment[12:]
    path.write_bytes(header + segment)
    return path


def written(path: Path, images: Sequence[Frame], code: str = "MJPG", rate: float = 25) -> Path:
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*code), rate, (WIDTH, HEIGHT))
    assert writer.isOpened()
    for image in images:
        writer.write(np.ascontiguousarray(image[..., ::-1]))
    writer.release()
    return path


@pytest.mark.parametrize("stated_s", [0.4, 1.48, 9.0], ids=["short", "true", "long"])
def test_times_are_those_of_the_frames(tmp_path: Path, stated_s: float) -> None:
    times = [*range(0, 330, 33), *range(330, 1500, 117)]
    video = matroska(tmp_path / "v.mkv", frames(len(times)), times, stated_s)
    np.testing.assert_allclose(frame_times(video), np.array(times) / 1000, atol=1e-6)
    assert numbers(video) == list(range(len(times)))
    assert mean_rate(video) == pytest.approx((len(times) - 1) / (times[-1] / 1000))


@pytest.mark.parametrize("stated", [3, 24, 999])
def test_every_frame_is_read_whatever_the_header_says(tmp_path: Path, stated: int) -> None:
    content = bytearray(written(tmp_path / "v.avi", frames(24)).read_bytes())
    main, stream = content.index(b"avih") + 8 + 16, content.index(b"strh") + 8 + 32
    assert struct.unpack_from("<I", content, main) == (24,)
    assert struct.unpack_from("<I", content, stream) == (24,)
    for place in (main, stream):
        struct.pack_into("<I", content, place, stated)
    (tmp_path / "v.avi").write_bytes(content)
    assert numbers(tmp_path / "v.avi") == list(range(24))


@pytest.mark.parametrize("name", ["v.avi", "v.mkv", "v.mp4"])
def test_cut_off_file_is_called_truncated(tmp_path: Path, name: str) -> None:
    code = "MJPG" if name == "v.avi" else "mp4v"
    noise = np.random.default_rng(0).integers(0, 255, (30, HEIGHT, WIDTH, 3), np.uint8)
    video = written(tmp_path / name, list(noise), code)
    assert frame_count(video) == 30
    video.write_bytes(video.read_bytes()[: video.stat().st_size * 6 // 10])
    with pytest.raises(InputError, match=rf"{name}: is truncated after \d+ of \d+ bytes"):
        frame_count(video)


def test_live_recording_has_the_frames_that_it_has(tmp_path: Path) -> None:
    video = matroska(tmp_path / "v.webm", frames(9), range(0, 360, 40), 0, live=True)
    assert numbers(video) == list(range(9))


def test_broken_frame_in_the_middle_is_named(tmp_path: Path) -> None:
    video = matroska(tmp_path / "v.mkv", frames(9), range(0, 360, 40), 0.36)
    content = bytearray(video.read_bytes())
    start = -1
    for _ in range(5):
        start = content.index(b"\xff\xd8\xff", start + 1)
    end = content.index(b"\xff\xd9", start)
    content[start:end] = bytes(end - start)
    video.write_bytes(content)
    with pytest.raises(InputError, match=r"v\.mkv: frame 4 cannot be decoded"):
        frame_count(video)


@pytest.mark.parametrize("quarter", range(4))
def test_frames_are_turned_as_the_file_says(tmp_path: Path, quarter: int) -> None:
    image = np.full((HEIGHT, WIDTH, 3), 30, np.uint8)
    image[:16, :16] = 220  # the upper left corner
    video = written(tmp_path / "v.mp4", [image] * 3, "mp4v")
    content = bytearray(video.read_bytes())
    cos, sin = ((1, 0), (0, 1), (-1, 0), (0, -1))[quarter]
    matrix = [cos << 16, sin << 16, 0, -sin << 16, cos << 16, 0, 0, 0, 1 << 30]
    struct.pack_into(">9i", content, content.index(b"tkhd") + 4 + 40, *matrix)
    video.write_bytes(content)
    ((_, turned),) = read_video(video, [1])
    expected = np.rot90(image, -quarter)
    assert turned.shape == expected.shape
    np.testing.assert_allclose(turned, expected, atol=40)


def test_one_frame_is_a_video(tmp_path: Path) -> None:
    video = written(tmp_path / "v.avi", frames(3)[2:])
    assert frame_times(video) == (0.0,)
    assert mean_rate(video) == 25


def test_video_without_a_frame_is_refused(tmp_path: Path) -> None:
    video = matroska(tmp_path / "v.mkv", [], [], 0)
    with pytest.raises(InputError, match=r"v\.mkv: (holds no frames|cannot be decoded)"):
        frame_count(video)


def test_time_stamps_that_stand_still_are_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    video = matroska(tmp_path / "v.mkv", frames(4), [0, 0, 0, 0], 0.16)
    assert frame_times(video) == (0.0, 0.04, 0.08, 0.12)
    assert "v.mkv: its time stamps do not rise" in capsys.readouterr().err


@pytest.mark.parametrize("name", [b"caf\xe9.avi", "Türe 1.avi".encode(), b"12:30.avi", b"%02d.avi"])
def test_videos_of_any_name_are_read(
    tmp_path: Path, name: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    import os

    written(tmp_path / "v.avi", frames(4)).rename(tmp_path / os.fsdecode(name))
    monkeypatch.chdir(tmp_path)
    assert numbers(Path(os.fsdecode(name))) == [0, 1, 2, 3]


@pytest.mark.parametrize("suffix", ["m4v", "ts", "mov", "wmv", "mpg"])
def test_containers_of_cameras_are_read(tmp_path: Path, suffix: str) -> None:
    code = {"wmv": "WMV2", "mpg": "mpg1"}.get(suffix, "mp4v")
    assert frame_count(written(tmp_path / f"v.{suffix}", frames(12), code)) == 12
