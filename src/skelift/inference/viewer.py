"""Predicted poses in rerun: images, 2D and 3D joints on one timeline."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from skelift.data.images import read_image
from skelift.data.listing import is_video_file
from skelift.data.videos import read_video
from skelift.errors import InputError
from skelift.files import atomic_file, check_file
from skelift.inference.pose_files import PoseTable, read_pose_table
from skelift.reporting.draw import bone_colours, enlarge

APPLICATION = "skelift"
HEIGHT = 480  # of the images in a recording, in pixels
# Name -> rows of the file, in temporal order: the poses of one video, or of one folder of images.
Tracks = dict[str, NDArray[np.int64]]
RADII_MM, RADII_PX = (14.0, 20.0), (2.5, 3.5)  # of bones and joints


def view(file: Path, save: Path | None = None) -> str:
    """Open a file of poses in the viewer, or write it as a recording; says what was opened.

    Images are read again from where ``skelift predict`` read them; those that are gone are named
    on stderr, and the joints are shown without them.

    Raises:
        InputError: not a file of poses, no rerun, or no display to open a window on.
    """
    if save is not None:
        check_file(save)
    poses = read_pose_table(file)
    rr = _rerun()
    recording = rr.RecordingStream(APPLICATION, recording_id=file.stem)
    tracks = _find_tracks(poses)
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


def _find_tracks(poses: PoseTable) -> Tracks:
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
    return {name: np.flatnonzero(where == path) for path, name in names.items()}


def _log_all(rr: Any, recording: Any, poses: PoseTable, tracks: Tracks) -> None:
    colours = bone_colours(poses.skeleton)
    ends = poses.skeleton.bone_indices
    names = list(poses.skeleton.joints)
    for track, rows in tracks.items():
        body, flat_view = f"{track}/body", f"{track}/image"
        recording.log(body, rr.ViewCoordinates.RDF, static=True)
        for position, (row, image) in enumerate(_with_images(poses, rows.tolist())):
            frame = int(poses.frames[row])
            recording.set_time("frame", sequence=frame if frame >= 0 else position)
            if np.isfinite(poses.times[row]):
                recording.set_time("time", duration=float(poses.times[row]))
            flat = poses.joints_2d_px[row]
            if image is not None:
                flat = flat * HEIGHT / image.shape[0]
                recording.log(flat_view, _encoded(rr, enlarge(image, HEIGHT)))
            for where, lines, dots, points, (thin, thick) in (
                (body, rr.LineStrips3D, rr.Points3D, poses.joints_3d_mm[row], RADII_MM),
                (flat_view, rr.LineStrips2D, rr.Points2D, flat, RADII_PX),
            ):
                bones = lines(points[ends], colors=colours, radii=thin)
                joints = dots(points, labels=names, show_labels=False, radii=thick)
                recording.log(f"{where}/bones", bones)
                recording.log(f"{where}/joints", joints)


def _with_images(
    poses: PoseTable, rows: list[int]
) -> Iterator[tuple[int, NDArray[np.uint8] | None]]:
    """Yield (row, RGB image or None) of a track, reading one image at a time."""
    first = Path(poses.images[rows[0]])
    if not is_video_file(first):
        for row in rows:
            file = Path(poses.images[row])
            yield row, read_image(file) if _is_there(file) else None
    elif not _is_there(first):
        yield from ((row, None) for row in rows)
    else:
        row_of = {int(poses.frames[row]): row for row in rows}
        for index, image in read_video(first, row_of):
            yield row_of[index], image


def _is_there(file: Path) -> bool:
    if not file.exists():
        print(f"{file}: not found, so it is not shown", file=sys.stderr)
    return file.exists()


def _encoded(rr: Any, image: NDArray[np.uint8]) -> Any:
    data = cv2.imencode(".jpg", image[..., ::-1])[1].tobytes()
    return rr.EncodedImage(contents=data, media_type="image/jpeg")


def _blueprint(tracks: Tracks) -> Any:
    import rerun.blueprint as rrb

    tabs = [
        rrb.Horizontal(
            rrb.Spatial2DView(origin=f"{track}/image", name="2D"),
            rrb.Spatial3DView(origin=f"{track}/body", name="3D, mm"),
            name=track,
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
