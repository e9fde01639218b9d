"""Predicted poses in rerun: images, 2D and 3D joints on one timeline."""

import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from skelift.data.clips import is_video_file
from skelift.data.images import read_image, read_video
from skelift.errors import InputError
from skelift.files import atomic_file
from skelift.inference.pose_files import PoseTable, read_pose_table
from skelift.reporting.draw import bone_colours, enlarge

APPLICATION = "skelift"
HEIGHT = 480  # of the images in a recording, in pixels
BONE_RADIUS_MM, JOINT_RADIUS_MM = 14.0, 20.0


@dataclass(frozen=True)
class Track:
    """Poses that belong together: of one video, or of the images of one folder.

    Attributes:
        name: its place in the recording.
        rows: their rows in the file of poses, in temporal order.
    """

    name: str
    rows: NDArray[np.int64]


def view(file: Path, save: Path | None = None) -> str:
    """Open a file of poses in the viewer, or write it as a recording.

    Images are read again from where ``skelift predict`` read them; those that are gone are named
    on stderr, and the joints are shown without them.

    Returns:
        What was written or opened.

    Raises:
        InputError: not a file of poses, no rerun, or no display to open a window on.
    """
    poses = read_pose_table(file)
    rr = _rerun()
    recording = rr.RecordingStream(APPLICATION, recording_id=file.stem)
    tracks = find_tracks(poses)
    if save is None:
        if not _has_display():
            raise InputError(
                "no display to open a window on; write a recording with --save FILE.rrd and "
                "open it elsewhere with `rerun FILE.rrd`"
            )
        recording.spawn(default_blueprint=_blueprint(tracks))
        _log_all(rr, recording, poses, tracks)
        recording.flush()
        return "the viewer is open"
    if save.suffix != ".rrd":
        raise InputError(f"{save}: end the name in .rrd")
    with atomic_file(save, suffix=".tmp.rrd") as unfinished:
        recording.save(unfinished, default_blueprint=_blueprint(tracks))
        _log_all(rr, recording, poses, tracks)
        recording.disconnect()
    return str(save)


def find_tracks(poses: PoseTable) -> list[Track]:
    """One track per video and one per folder of images, in the order of the file."""
    owner = [
        image if frame >= 0 else str(Path(image).parent)
        for image, frame in zip(poses.images, poses.frames, strict=True)
    ]
    names: dict[str, str] = {}
    for path in dict.fromkeys(owner):
        name = Path(path).stem or "images"
        taken = sum(other.split("#")[0] == name for other in names.values())
        names[path] = f"{name}#{taken + 1}" if taken else name
    where = np.array(owner)
    return [Track(name, np.flatnonzero(where == path)) for path, name in names.items()]


def _log_all(rr: Any, recording: Any, poses: PoseTable, tracks: list[Track]) -> None:
    colours = bone_colours(poses.skeleton)
    bones = poses.skeleton.bone_indices
    names = list(poses.skeleton.joints)
    for track in tracks:
        body, flat_view = f"{track.name}/body", f"{track.name}/image"
        recording.log(body, rr.ViewCoordinates.RDF, static=True)
        for position, (row, image) in enumerate(_with_images(poses, track)):
            frame = int(poses.frames[row])
            recording.set_time("frame", sequence=frame if frame >= 0 else position)
            if frame >= 0:
                recording.set_time("time", duration=float(poses.times[row]))
            joints, flat = poses.joints_3d_mm[row], poses.joints_2d_px[row]
            recording.log(
                f"{body}/bones",
                rr.LineStrips3D(joints[bones], colors=colours, radii=BONE_RADIUS_MM),
            )
            recording.log(
                f"{body}/joints",
                rr.Points3D(joints, labels=names, show_labels=False, radii=JOINT_RADIUS_MM),
            )
            if image is not None:
                flat = flat * HEIGHT / image.shape[0]
                recording.log(flat_view, _encoded(rr, enlarge(image, HEIGHT)))
            recording.log(
                f"{flat_view}/bones", rr.LineStrips2D(flat[bones], colors=colours, radii=2.5)
            )
            recording.log(
                f"{flat_view}/joints", rr.Points2D(flat, labels=names, show_labels=False, radii=3.5)
            )


def _with_images(poses: PoseTable, track: Track) -> Iterator[tuple[int, NDArray[np.uint8] | None]]:
    """Yield (row, RGB image or None) of a track, reading one image at a time."""
    first = Path(poses.images[track.rows[0]])
    if not is_video_file(first):
        for row in track.rows.tolist():
            file = Path(poses.images[row])
            yield row, read_image(file) if _is_there(file) else None
    elif not _is_there(first):
        yield from ((row, None) for row in track.rows.tolist())
    else:
        row_of = {int(poses.frames[row]): row for row in track.rows.tolist()}
        for index, image in read_video(first, row_of):
            yield row_of[index], image


def _is_there(file: Path) -> bool:
    if not file.exists():
        print(f"{file}: not found, so it is not shown", file=sys.stderr)
    return file.exists()


def _encoded(rr: Any, image: NDArray[np.uint8]) -> Any:
    data = cv2.imencode(".jpg", image[..., ::-1])[1].tobytes()
    return rr.EncodedImage(contents=data, media_type="image/jpeg")


def _blueprint(tracks: list[Track]) -> Any:
    import rerun.blueprint as rrb

    tabs = [
        rrb.Horizontal(
            rrb.Spatial2DView(origin=f"{track.name}/image", name="2D"),
            rrb.Spatial3DView(origin=f"{track.name}/body", name="3D, mm"),
            name=track.name,
        )
        for track in tracks
    ]
    return rrb.Blueprint(rrb.Tabs(*tabs) if len(tabs) > 1 else tabs[0])


def _rerun() -> Any:
    try:
        import rerun
    except ImportError:
        raise InputError("view needs rerun; install it with: pip install 'skelift[view]'") from None
    return rerun


def _has_display() -> bool:
    return not sys.platform.startswith("linux") or any(
        os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY")
    )
