"""Find the 3D pose in images and videos.

Each image shows one body on black, or has a mask: beside it (NAME.mask.png) or in --masks; of
ordinary photos and videos of people, --background person makes one. The answer has 3D joints in mm
(root-relative, camera frame) and 2D joints in pixels of the image.
One image gives no scale: mm come from the typical body size stored with the model.

Examples:
  skelift predict person.png --out pose.json
  skelift predict horse.png --model models/horse/model --out pose.json
  skelift predict holiday.jpg --background person --out pose.json --draw drawn/
  skelift predict walk.mp4 --background person --out walk.csv --draw drawn/
  skelift predict walk.mp4 --background person --out walk.csv --draw drawn/ --turn --every 3
  skelift predict frames/ --masks masks/ --fps 30 --out poses.npz
  skelift predict mouse.mp4 --model mouse --background median --contrast darker --out mouse.csv
  skelift predict videos/ --background median --camera calibration.toml --out poses.npz
  skelift predict person.png --endpoint http://127.0.0.1:8080 --out pose.json
"""

import sys
from argparse import ArgumentParser, ArgumentTypeError
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from skelift.commands.options import add_model
from skelift.errors import InputError
from skelift.numbers import count, positive

if TYPE_CHECKING:
    from skelift.config import Contrast
    from skelift.data.cameras import Camera
    from skelift.inference.cropping import Box, Facing
    from skelift.inference.drawings import Drawings
    from skelift.inference.frames import Frame, Source
    from skelift.inference.pose_files import Entry, Header
    from skelift.inference.steady import Found
    from skelift.inference.tally import Tally


def add_arguments(parser: ArgumentParser) -> None:
    """Declare the options that ``run`` takes."""
    parser.add_argument(
        "images", nargs="+", type=_path, metavar="INPUT", help="an image, a video or a folder"
    )
    add_model(parser)
    parser.add_argument(
        "--out", type=_path, required=True, metavar="FILE", help="poses: .json, .csv or .npz"
    )
    parser.add_argument(
        "--draw", type=_path, metavar="DIR", help="also draw there: PNG of images, MP4 of videos"
    )
    parser.add_argument(
        "--turn",
        action="store_true",
        help="with --draw: animated WebP of both instead, in which the 3D pose turns",
    )
    parser.add_argument("--masks", type=_path, metavar="DIR", help="masks with the inputs' stems")
    parser.add_argument(
        "--background",
        choices=["keep", "person", "remove", "median", "subtractor"],
        default="keep",
        help="person: cut the largest person out, by a small network; remove: cut the body out by "
        "its colours; median, subtractor: the camera is static, the body moves (default: keep)",
    )
    parser.add_argument(
        "--contrast",
        choices=["any", "darker", "brighter"],
        default="any",
        help="with --background median: what the body is against its background "
        "(data.folder.body.contrast)",
    )
    parser.add_argument(
        "--box",
        nargs=4,
        type=float,
        metavar=("X", "Y", "WIDTH", "HEIGHT"),
        help="around the body in every image, in pixels, for --background person and remove; with "
        "--contrast: where the body can be",
    )
    parser.add_argument(
        "--every",
        type=count,
        default=1,
        metavar="N",
        help="every n-th frame of a video, and every n-th image of a folder (data.folder.every)",
    )
    parser.add_argument(
        "--facing",
        choices=["front", "back"],
        help="front: all bodies are known to face the camera; back: to face away",
    )
    parser.add_argument(
        "--fps",
        type=positive,
        metavar="N",
        help="the images of each folder are frames of a film, N per second (before --every), and "
        "are steadied as those of a video",
    )
    parser.add_argument(
        "--each-frame",
        action="store_true",
        help="find the pose of each frame of a video by itself, not steadied over half a second",
    )
    parser.add_argument(
        "--focal", type=positive, metavar="PX", help="focal length of all images, in pixels"
    )
    parser.add_argument(
        "--camera",
        type=_calibration,
        metavar="FILE[:NAME]",
        help="calibration of the camera (docs/datasets.md), in place of --focal; without NAME the "
        "camera is called as the input's folder or video, or is the only one",
    )


def _path(text: str) -> Path:
    """A path; an empty one, as of a variable that is not set, is no name of this folder."""
    if not text.strip():
        raise ArgumentTypeError("is empty; name a file or folder")
    return Path(text)


def _calibration(text: str) -> str:
    """FILE or FILE:NAME."""
    if not text.strip() or text.rstrip().endswith(":"):
        raise ArgumentTypeError(f"{text!r}: must be FILE or FILE:NAME")
    return text


def run(
    images: list[Path],
    model: Path | None,
    out: Path,
    draw: Path | None = None,
    masks: Path | None = None,
    focal: float | None = None,
    background: str = "keep",
    every: int = 1,
    endpoint: str | None = None,
    camera: str | None = None,
    box: "Box | None" = None,
    turn: bool = False,
    contrast: "Contrast" = "any",
    facing: "Facing | None" = None,
    each_frame: bool = False,
    fps: float | None = None,
) -> Path:
    """Predict the pose in each image and video frame, and write one file.

    Raises:
        InputError: an image, mask or the model is missing or broken; nothing is written then.
        RunError: the endpoint does not answer; nothing is written then.
    """
    from skelift.files import check_file, check_folder
    from skelift.inference.drawings import drawn_names, is_drawing, staged_drawings
    from skelift.inference.engines import choose_engine, predict_frames
    from skelift.inference.frames import find_sources
    from skelift.inference.pose_files import check_suffix, is_pose_file, write_poses
    from skelift.inference.tally import Tally

    check_suffix(out)
    _check_options(background, box, contrast, masks, camera, focal, draw, turn, fps, each_frame)
    check_file(out)
    _check_own(out, is_pose_file, "--out")
    if draw:
        check_folder(draw)
    sources = find_sources(images, masks, every, fps)
    if fps is not None and all(source.clip.is_video for source in sources):
        raise InputError("--fps: is of images in folders; videos have times of their own")
    frames = [source.frames(background, box, contrast) for source in sources]
    if camera:
        cameras = [_camera_of(source, camera) for source in sources]
        frames = [_seen_by(*pair) for pair in zip(cameras, frames, strict=True)]
    if facing is not None:
        frames = [(replace(frame, facing=facing) for frame in part) for part in frames]
    if focal is not None:
        first: list[Frame] = []
        frames = [_of_one_size(part, "--focal, in pixels,", first) for part in frames]
    names = drawn_names(sources, turning=turn) if draw else {}
    _check_inputs_stay(
        {out: "--out"} | {draw / name: "--draw folder" for name in names.values() if draw},
        [file for s in sources for file in (*s.clip.files, *s.clip.masks) if file]
        + ([_calibration_file(camera)[0]] if camera else []),
    )
    if draw:
        _check_outside(draw, images)
        for name in names.values():
            _check_own(draw / name, is_drawing, "--draw folder")
    engine, _ = choose_engine(model, endpoint)
    drawings = staged_drawings(draw, names, turning=turn)
    tally = Tally(images, background, contrast, boxed=box is not None, fps=fps is not None)
    films = list(zip(sources, frames, strict=True))
    predict = partial(predict_frames, engine, focal=focal, steady=not each_frame)
    write_poses(out, _predict(predict, films, drawings, tally))
    for line in tally.report():
        print(line, file=sys.stderr)
    return out


def _check_options(
    background: str,
    box: "Box | None",
    contrast: str,
    masks: Path | None,
    camera: str | None,
    focal: float | None,
    draw: Path | None,
    turn: bool,
    fps: float | None,
    each_frame: bool,
) -> None:
    """InputError with the first pair of options that contradict each other."""
    from skelift.data.static_camera import PERSON
    from skelift.inference.cropping import REMOVE

    for wrong, message in (
        (
            box is not None and background not in (PERSON, REMOVE) and contrast == "any",
            "--box: needs --background person or remove, or a --contrast; a mask has its own place",
        ),
        (box is not None and masks, "--box and --masks: a mask has its own place; give one"),
        (
            camera and focal is not None,
            "--camera and --focal: a calibration has its focal length; give one",
        ),
        (
            contrast != "any" and background != "median",
            "--contrast: says how the body is searched for; give --background median",
        ),
        (
            contrast != "any" and masks,
            "--contrast and --masks: a mask needs no search; give one",
        ),
        (turn and not draw, "--turn: says how to draw; give --draw DIR too"),
        (
            fps is not None and each_frame,
            "--fps and --each-frame: the rate says over how many images to steady; give one",
        ),
    ):
        if wrong:
            raise InputError(message)


def _check_inputs_stay(targets: dict[Path, str], inputs: list[Path]) -> None:
    """InputError where a file to write (with the option that names it) is an input, or links to it.

    Nothing is lost to a drawing or to poses that take an image's, a mask's or a calibration's name.
    """
    read = {file.resolve() for file in inputs}
    for target, option in targets.items():
        if target.resolve() in read:
            raise InputError(
                f"{target}: is an input, and would be overwritten; give another {option}"
            )


def _check_own(target: Path, is_own: Callable[[Path], bool], option: str) -> None:
    """InputError where something is at a file to write that an earlier run has not made.

    ``option`` names the file.
    """
    if target.exists() and target.stat().st_size and not is_own(target):
        raise InputError(
            f"{target}: was not made by skelift predict, and would be lost; give another {option}, "
            "or remove it"
        )


def _check_outside(draw: Path, inputs: list[Path]) -> None:
    """InputError where drawings would be images of an input folder when it is read again."""
    place = draw.resolve()
    for folder in (path for path in inputs if path.is_dir()):
        if folder.resolve() in (place, *place.parents):
            raise InputError(
                f"{draw}: lies in the input folder {folder}, whose images its drawings would be "
                "the next time; give a --draw folder outside"
            )


def _predict(
    predict: "Callable[[Iterator[Frame]], Iterator[Found]]",
    films: "Sequence[tuple[Source, Iterator[Frame]]]",
    drawings: "AbstractContextManager[Drawings]",
    tally: "Tally",
) -> "Iterator[tuple[Header, Entry]]":
    """Poses of all frames, which are drawn and counted while they pass."""
    from skelift.progress import progress_bar

    with drawings as drawing_of, progress_bar() as bar:
        task = bar.add_task("Predicting", total=sum(len(s.clip.indices) for s, _ in films))
        for source, frames in films:
            with drawing_of(source) as draw:
                for frame, header, entry in predict(frames):
                    tally.add(frame, entry)
                    draw(frame, entry, header)
                    if entry:
                        yield header, entry
                    bar.advance(task)
        tally.check()


def _seen_by(camera: "Camera", frames: "Iterator[Frame]") -> "Iterator[Frame]":
    """Frames of a calibrated camera; InputError where one has another size than the first."""
    return (replace(frame, camera=camera) for frame in _of_one_size(frames, "a calibration", []))


def _of_one_size(frames: "Iterator[Frame]", what: str, first: "list[Frame]") -> "Iterator[Frame]":
    """Frames; InputError where one has another size than the first, which ``what`` is of.

    ``first`` takes up the first frame of all that share it.
    """
    for frame in frames:
        if not first:
            first.append(frame)
        (height, width), (other_height, other_width) = (
            each.image.shape[:2] for each in (frame, first[0])
        )
        if (height, width) != (other_height, other_width):
            raise InputError(
                f"{frame.label}: is {width} x {height} px, {first[0].label} is {other_width} x "
                f"{other_height}; {what} is of one size, predict them one by one"
            )
        yield frame


def _camera_of(source: "Source", given: str) -> "Camera":
    """The camera that ``--camera FILE[:NAME]`` gives to a source."""
    from skelift.data.cameras import find_camera, read_cameras
    from skelift.data.listing import is_video_file

    path, name = _calibration_file(given)
    cameras = read_cameras(path)
    first = source.clip.files[0]
    own = first.stem if is_video_file(first) else first.parent.name
    return find_camera(cameras, name or ("" if len(cameras) == 1 else own), path)


def _calibration_file(given: str) -> tuple[Path, str]:
    """The file and the name of FILE[:NAME]; the name is empty where none is given."""
    file, _, name = given.rpartition(":")
    return (Path(file), name) if file and not Path(given).exists() else (Path(given), "")
