"""Calibrated cameras, read from files, and the view of a body along its own line of sight.

A network sees every body as if it stood in the middle of an ideal image. ``View`` makes that so:
the crop is what an ideal camera at the same place would see, turned until it looks at the body,
with the lens distortion undone (the perspective crop of Yu et al., "PCLs", CVPR 2021). Poses found
in it are turned back.

Pixels are continuous, as everywhere here: the centre of the first pixel is (0.5, 0.5). Calibration
files count from its centre, so half a pixel is added to their principal points.
"""

import json
import re
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import cv2
import numpy as np
from numpy.typing import NDArray

from skelift.config.skeleton_file import read_names
from skelift.data.crop import CropBox
from skelift.data.images import binary
from skelift.data.names import check_names
from skelift.errors import InputError

Array = NDArray[np.float64]

HALF = np.array([[0, 0, 0.5], [0, 0, 0.5], [0, 0, 0]])  # between the two ways to count pixels
FOCAL_PX = (10.0, 1e6)  # what a camera may have
LEAST_FOCAL = 0.3  # of an image's longer side, from which on it is likely in pixels
SIXTY_FOURTH = 64.0  # Qualisys gives pixels in this fraction
DISTORTIONS = (0, 4, 5, 8, 12, 14)  # counts of coefficients that OpenCV's model has
ROS_MODELS = ("plumb_bob", "rational_polynomial")  # of distortion, which are OpenCV's
KEYS = ("K", "distortion", "R", "t", "image_size", "file")  # of a camera in a .json
_OPENCV = dict.fromkeys(("D", "dist", "distCoeffs", "dist_coeffs"), "distortion")
BEYOND = 1.0  # how far outside the principal point may lie, over the image's side
MOST_BYTES = 10 * 2**20  # of a calibration file


@dataclass(frozen=True)
class Camera:
    """A calibrated camera: x_camera = R x_world + t in mm, pixel = K distort(x / z, y / z)."""

    name: str
    matrix: Array  # K (3, 3), continuous pixels
    distortion: Array = field(default_factory=lambda: np.zeros(0))  # OpenCV's k1 k2 p1 p2 [k3 ...]
    rotation: Array | None = None  # R (3, 3)
    translation: Array | None = None  # t (3,) mm
    size: tuple[int, int] | None = None  # width and height of its images
    aliases: tuple[str, ...] = ()  # other names, such as its video's
    calibration: str = ""  # the file that it was read from

    def __str__(self) -> str:
        """Its file and name, for a message."""
        return f"{self.calibration}: camera {self.name}".removeprefix(": ")

    @property
    def focal(self) -> float:
        """Focal length in pixels, the mean over both axes."""
        return float(self.matrix[0, 0] + self.matrix[1, 1]) / 2

    def rays(self, pixels: NDArray[np.floating]) -> Array:
        """Directions (x / z, y / z, 1) (N, 3) of the lines of sight of pixels (N, 2)."""
        points = np.ascontiguousarray(pixels, dtype=np.float64).reshape(-1, 1, 2)
        stop = (cv2.TERM_CRITERIA_COUNT | cv2.TERM_CRITERIA_EPS, 100, 1e-12)
        ideal = cv2.undistortPoints(points, self.matrix, self.distortion, criteria=stop)
        return np.concatenate([ideal.reshape(-1, 2), np.ones((len(points), 1))], axis=1)

    def project(self, points: NDArray[np.floating]) -> Array:
        """Pixels (..., 2) of points (..., 3) in the camera frame."""
        flat = np.ascontiguousarray(points, dtype=np.float64).reshape(-1, 1, 3)
        still = np.zeros(3)
        pixels, _ = cv2.projectPoints(flat, still, still, self.matrix, self.distortion)
        return np.asarray(pixels, np.float64).reshape(*np.shape(points)[:-1], 2)

    def from_world(self, points_mm: NDArray[np.floating]) -> Array:
        """World coordinates (..., 3) in the camera frame, mm; InputError without R and t."""
        if self.rotation is None or self.translation is None:
            raise InputError(f"{self}: has no R and t, which 3D in the world needs; add them")
        return np.asarray(points_mm @ self.rotation.T + self.translation, np.float64)

    def look_at(self, pixel: NDArray[np.floating]) -> "View":
        """The view whose axis is the line of sight of a pixel (2,)."""
        ray = self.rays(np.asarray(pixel)[None])[0]
        return View(self, _turn_onto_axis(ray), np.asarray(pixel, np.float64))

    def check_size(self, width: int, height: int, image: str = "the image") -> None:
        """InputError unless images of this size can be its own, by K and by the calibration.

        The principal point may lie outside of an image that was cut, but not far. ``image`` names
        one for the message.
        """
        if self.size and self.size != (width, height):
            raise InputError(
                f"{self}: calibrated for {self.size[0]} x {self.size[1]} pixels, {image} has "
                f"{width} x {height}; give images as they were calibrated"
            )
        if fault := _far_principal(self.matrix, (width, height)):
            raise InputError(f"{self}: {fault}" + (f": {image}" if image != "the image" else ""))


@dataclass(frozen=True)
class View:
    """An ideal camera at a real one's place, turned to look along a line of sight.

    Its pixels are named after the real image's: the axis meets ``centre`` in both.
    """

    camera: Camera
    rotation: Array  # (3, 3), camera frame -> the view's
    centre: Array  # (2,) pixels: principal point of the view

    @property
    def focal(self) -> float:
        """Focal length in pixels, along both axes."""
        return self.camera.focal

    def turn(self, points: NDArray[np.floating]) -> Array:
        """Points (..., 3) of the camera frame in the view's frame."""
        return np.asarray(points @ self.rotation.T, np.float64)

    def turn_back(self, points: NDArray[np.floating]) -> Array:
        """Points (..., 3) of the view's frame in the camera frame."""
        return np.asarray(points @ self.rotation, np.float64)

    def from_image(self, pixels: NDArray[np.floating]) -> Array:
        """Pixels (..., 2) of the real image -> pixels of the view."""
        rays = self.turn(self.camera.rays(np.reshape(pixels, (-1, 2))))
        return (rays[:, :2] / rays[:, 2:] * self.focal + self.centre).reshape(np.shape(pixels))

    def to_image(self, pixels: NDArray[np.floating]) -> Array:
        """Pixels (..., 2) of the view -> pixels of the real image."""
        ideal = (np.asarray(pixels, np.float64) - self.centre) / self.focal
        rays = np.concatenate([ideal, np.ones_like(ideal[..., :1])], axis=-1)
        return self.camera.project(self.turn_back(rays))

    def crop_around_mask(self, mask: NDArray[np.uint8], margin: float) -> CropBox:
        """The crop of the view around the pixels above 127 of a mask of the real image."""
        corners = self.from_image(_corners_of(mask))
        return CropBox.around(corners.min(axis=0), corners.max(axis=0), margin)

    def cut(self, image: NDArray[np.uint8], box: CropBox, size: int) -> NDArray[np.uint8]:
        """``CropBox.cut`` of the view, straight from the real image: (size, size[, C])."""
        fine = box.fine(size)
        scale = fine / box.side
        # OpenCV counts from pixel centres, the project from edges: hence the halves.
        x, y = (self.centre - (box.x, box.y)) * scale + fine / 2 - 0.5
        ideal = np.array([[self.focal * scale, 0, x], [0, self.focal * scale, y], [0, 0, 1]])
        where = cv2.initUndistortRectifyMap(
            self.camera.matrix - HALF,
            self.camera.distortion,
            self.rotation,
            ideal,
            (fine, fine),
            cv2.CV_32FC1,
        )
        square = cv2.remap(image, *where, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT)
        if fine > size:
            square = cv2.resize(square, (size, size), interpolation=cv2.INTER_AREA)
        return square  # type: ignore[return-value]


def implausible_focal(focal_px: float, width: int, height: int) -> str:
    """What is wrong with a focal length that can hardly be one in pixels of an image; else empty.

    Lenses are named in millimetres, such as 35, which is some 1000 pixels. NaN is an unknown one.
    """
    side = max(width, height)
    if not focal_px < LEAST_FOCAL * side:
        return ""
    return (
        f"a focal length of {focal_px:g} px is {focal_px / side:.2g} of the image's longer side "
        f"({side} px), which hardly any lens has; give pixels, not millimetres (mm x image width / "
        "sensor width)"
    )


def view_of_mask(camera: Camera, mask: NDArray[np.uint8], image: str = "the image") -> View:
    """The view along the line of sight of a mask's middle.

    InputError where the mask is empty, or of another size than the camera's images; ``image`` names
    its own for the message.
    """
    camera.check_size(mask.shape[1], mask.shape[0], image)
    box = CropBox.around_mask(mask, 0)
    return camera.look_at(np.array([box.x, box.y]))


def find_camera(cameras: Sequence[Camera], name: str, path: Path) -> Camera:
    """The camera of a name; without a name the only one. InputError lists what there is."""
    for camera in cameras:
        if name in (camera.name, *camera.aliases):
            return camera
    if not name and len(cameras) == 1:
        return cameras[0]
    there = ", ".join(camera.name for camera in cameras)
    if not name:
        raise InputError(
            f"{path}: has {len(cameras)} cameras ({there}), and nothing says which; name it: "
            f"--camera {path}:{cameras[0].name} in predict, the level camera of data.folder.layout "
            "in prepare"
        )
    raise InputError(
        f"{path}: has no camera {name}, but {there}; name the camera as the file does (in predict: "
        f"--camera {path}:{cameras[0].name})"
    )


def read_cameras(path: Path) -> tuple[Camera, ...]:
    """Cameras of a calibration file; docs/datasets.md describes the formats.

    Args:
        path: ``.json`` (the project's), ``.toml`` (Anipose, Pose2Sim), ``.yaml`` or ``.yml``
            (OpenCV or ROS, one camera) or ``.xml`` or ``.qca.txt`` (Qualisys).

    Raises:
        InputError: the file is missing, broken, or lacks what a camera needs.
    """
    reader = _READERS.get(path.suffix.lower())
    if reader is None:
        raise InputError(
            f"{path}: not a calibration that can be read; give one of {', '.join(_READERS)}"
        )
    try:
        if path.stat().st_size > MOST_BYTES:
            raise ValueError(f"has more than {MOST_BYTES} bytes")
        cameras = tuple(reader(path))
    except FileNotFoundError:
        raise InputError(f"{path}: not found; name a calibration file") from None
    except KeyError as error:
        raise InputError(f"{path}: lacks {error}; give a complete calibration") from None
    except (
        ValueError,
        TypeError,
        OSError,
        AttributeError,
        RecursionError,
        ElementTree.ParseError,
    ) as error:
        raise InputError(
            f"{path}: cannot be read as a calibration ({error}); correct or export it again"
        ) from None
    except (cv2.error, SystemError):  # of its own binding, for a file that it cannot parse
        raise InputError(f"{path}: OpenCV cannot read it; export the calibration again") from None
    if not cameras:
        raise InputError(f"{path}: has no camera in it; export the calibration again")
    names = [camera.name for camera in cameras]
    if repeated := {name for name in names if names.count(name) > 1}:
        raise InputError(f"{path}: {', '.join(sorted(repeated))} twice; give each its own name")
    return tuple(replace(camera, calibration=str(path)) for camera in cameras)


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8-sig")  # some editors put a byte order mark before it


def _from_json(path: Path) -> list[Camera]:
    content = json.loads(_text(path), object_pairs_hook=_without_repeats)
    if not isinstance(content, dict):
        raise ValueError('it must be {"cameras": {NAME: {"K": ...}}}')
    cameras = content["cameras"]
    if not (isinstance(cameras, dict) and all(isinstance(v, dict) for v in cameras.values())):
        raise ValueError('"cameras" must be {NAME: {"K": ...}}')
    for name, values in cameras.items():
        check_names(path, values, KEYS, _OPENCV, f"camera {name}")
    return [_from_mapping(name, values) for name, values in cameras.items()]


def _without_repeats(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    _check_repeats([key for key, _ in pairs])
    return dict(pairs)


def _check_repeats(keys: Sequence[str]) -> None:
    """ValueError where a key is there twice: readers take the first or the last of them."""
    if repeated := {key for key in keys if keys.count(key) > 1}:
        raise ValueError(f"{', '.join(sorted(repeated))} is there twice")


def _from_mapping(name: str, values: Mapping[str, Any]) -> Camera:
    size = values.get("image_size")
    file = values.get("file")
    return _camera(
        name,
        values["K"],
        values.get("distortion", ()),
        values.get("R"),
        values.get("t"),
        size,
        aliases=(Path(file).stem,) if file else (),
    )


def _from_toml(path: Path) -> list[Camera]:
    return [
        _from_section(section, values)
        for section, values in tomllib.loads(_text(path)).items()
        if isinstance(values, Mapping) and "matrix" in values
    ]


def _from_section(section: str, values: Mapping[str, Any]) -> Camera:
    name = str(values.get("name", section))
    if values.get("fisheye", False) is not False:
        raise ValueError(
            f"{name}: fisheye = {str(values['fisheye']).lower()}: that model cannot be read; "
            "undistort the images, or calibrate with fisheye = false"
        )
    return _camera(
        name,
        values["matrix"],
        values["distortions"],
        values.get("rotation"),
        values.get("translation"),
        values.get("size"),
        aliases=(section,),
    )


def _from_yaml(path: Path) -> list[Camera]:
    text = _text(path)
    return _from_opencv(path, text) if text.startswith("%YAML") else _from_ros(path)


def _from_ros(path: Path) -> list[Camera]:
    """What ROS' ``camera_calibration`` writes: a ``camera_info``, with OpenCV's numbers."""
    content = read_names(path)
    if not isinstance(content, dict) or not isinstance(content.get("camera_matrix"), dict):
        raise ValueError("it is neither OpenCV's %YAML:1.0 nor a camera_info of ROS")
    model = content.get("distortion_model", ROS_MODELS[0])
    if model not in ROS_MODELS:
        raise ValueError(f"distortion_model is {model}; {' or '.join(ROS_MODELS)} can be read")
    sides = [content.get(f"image_{side}") for side in _SIDES]
    return [
        _camera(
            content.get("camera_name", path.stem),
            np.array(content["camera_matrix"]["data"], dtype=np.float64).reshape(3, 3),
            content.get("distortion_coefficients", {}).get("data", ()),
            None,
            None,
            sides if all(sides) else None,
            aliases=(path.stem,),
        )
    ]


def _from_opencv(path: Path, text: str) -> list[Camera]:
    _check_repeats(re.findall(r"^(\w+) *:", text, re.MULTILINE))
    storage = cv2.FileStorage(text, cv2.FILE_STORAGE_READ | cv2.FILE_STORAGE_MEMORY)
    try:

        def matrix(*names: str) -> Any:
            nodes = (storage.getNode(name) for name in names)
            return next((node.mat() for node in nodes if not node.empty()), None)

        k = matrix("camera_matrix", "cameraMatrix", "K")
        if k is None:
            raise KeyError("camera_matrix")
        distortion = matrix("distortion_coefficients", "distCoeffs", "D")
        rotation, translation = matrix("R", "rvec"), matrix("T", "t", "tvec")
        width, height = (int(storage.getNode(f"image_{side}").real()) for side in _SIDES)
        size = (width, height) if width and height else None
        return [
            _camera(
                path.stem,
                k,
                () if distortion is None else distortion,
                rotation,
                translation,
                size,
            )
        ]
    finally:
        storage.release()


def _from_qualisys(path: Path) -> list[Camera]:
    cameras: list[Camera] = []
    # Expat opens no external entity, and ends where entities in entities would fill the memory.
    for element in ElementTree.parse(path).getroot().iter("camera"):  # noqa: S314
        lens, place = element.find("intrinsic"), element.find("transform")
        if lens is None or place is None:
            continue
        number = _numbers_of(lens)
        video = element.find("fov_video")
        frame = _numbers_of(video) if video is not None else None
        left, top = (frame("left"), frame("top")) if frame else (0.0, 0.0)
        matrix = np.array(
            [
                [number("focalLengthU"), 0, number("centerPointU") - SIXTY_FOURTH * left],
                [0, number("focalLengthV"), number("centerPointV") - SIXTY_FOURTH * top],
                [0, 0, SIXTY_FOURTH],
            ]
        )
        # "tangental" is Qualisys' spelling.
        distortion = [
            number(name)
            for name in (
                *("radialDistortion1", "radialDistortion2"),
                *("tangentalDistortion1", "tangentalDistortion2", "radialDistortion3"),
            )
        ]
        at = _numbers_of(place)
        # Rows are the camera's axes in the world, with y up and z backwards.
        axes = np.array([[at(f"r{i}{j}") for j in (1, 2, 3)] for i in (1, 2, 3)])
        rotation = np.diag([1.0, -1, -1]) @ axes
        position = np.array([at("x"), at("y"), at("z")])
        size = None
        if frame:
            size = round(frame("right") - left + 1), round(frame("bottom") - top + 1)
        name = str(element.get("serial") or len(cameras))
        matrix = matrix / SIXTY_FOURTH
        cameras.append(_camera(name, matrix, distortion, rotation, -rotation @ position, size))
    return cameras


def _numbers_of(element: ElementTree.Element) -> Callable[[str], float]:
    def number(name: str) -> float:
        return float(element.attrib[name])

    return number


_SIDES = ("width", "height")
_READERS: Mapping[str, Callable[[Path], list[Camera]]] = {
    ".json": _from_json,
    ".toml": _from_toml,
    ".yaml": _from_yaml,
    ".yml": _from_yaml,
    ".xml": _from_qualisys,
    ".txt": _from_qualisys,
}


def _camera(
    name: str,
    matrix: Any,
    distortion: Any,
    rotation: Any,
    translation: Any,
    size: Any,
    aliases: tuple[str, ...] = (),
) -> Camera:
    """A camera of a file's numbers, checked; ValueError says what is wrong with them."""
    k = _array(f"{name}: K", matrix, (3, 3)) + HALF
    if not np.allclose([*k[2], k[1, 0], k[0, 1]], [0, 0, 1, 0, 0], atol=1e-6 * abs(k[0, 0])):
        raise ValueError(f"{name}: K must be [[fx, 0, cx], [0, fy, cy], [0, 0, 1]], without skew")
    fewest, most = FOCAL_PX
    if min(k[0, 0], k[1, 1]) < fewest or np.abs(k).max() > most:
        raise ValueError(
            f"{name}: the focal lengths in K must be above 0 and, as the rest, in pixels; they are "
            f"{k[0, 0]:g} and {k[1, 1]:g}"
        )
    lens = _numbers(f"{name}: distortion", distortion).ravel()
    if not np.isfinite(lens).all():
        raise ValueError(f"{name}: distortion holds NaN or infinity; give numbers, or leave it out")
    if len(lens) not in DISTORTIONS:
        raise ValueError(f"{name}: distortion has {len(lens)} numbers; OpenCV's has k1 k2 p1 p2 k3")
    turned = moved = None
    if (rotation is None) != (translation is None):
        raise ValueError(f"{name}: R and t go together")
    if rotation is not None:
        given = _numbers(f"{name}: R", rotation)
        turned = _rotation(name, cv2.Rodrigues(given)[0] if given.size == 3 else given)
        moved = _array(f"{name}: t", _numbers(f"{name}: t", translation).ravel(), (3,))
    width_height = None if size is None else _array(f"{name}: size", size, (2,))
    sides = None if width_height is None else (int(width_height[0]), int(width_height[1]))
    if sides and (fault := _far_principal(k, sides)):
        raise ValueError(f"{name}: {fault}")
    camera = Camera(name, k, lens, turned, moved, sides, aliases)
    _check_lens(camera)
    return camera


def _far_principal(matrix: Array, size: tuple[int, int]) -> str:
    """What is wrong where the principal point is far outside of an image; else empty."""
    middle, sides = matrix[:2, 2], np.array(size)
    if ((middle >= -BEYOND * sides) & (middle <= (1 + BEYOND) * sides)).all():
        return ""
    return (
        f"its principal point {middle[0]:g}, {middle[1]:g} is far outside of an image of "
        f"{size[0]} x {size[1]} pixels; K must be of images of this size"
    )


def _check_lens(camera: Camera) -> None:
    """ValueError where distortion folds the image: two lines of sight would meet in one pixel.

    From the principal point to the image's sides, pixels must move outwards with their rays. In
    the corners, which calibrations seldom know, they need not.
    """
    if not camera.distortion.any():
        return
    middle = camera.matrix[:2, 2]
    half = np.array(camera.size) / 2 if camera.size else middle
    angles = np.linspace(0, 2 * np.pi, 32, endpoint=False)
    edge = middle + half * np.stack([np.cos(angles), np.sin(angles)], axis=1)
    rays = camera.rays(edge)
    along = rays[:, None] * [1, 1, 0] * np.linspace(0, 1, 64)[:, None] + [0, 0, 1]
    reach = np.linalg.norm(camera.project(along) - middle, axis=-1)
    missed = np.linalg.norm(camera.project(rays) - edge, axis=-1)
    if not ((np.diff(reach) > 0).all() and (missed < 1).all()):
        raise ValueError(
            f"{camera.name}: its distortion folds the image; give k1 k2 p1 p2 k3 as OpenCV has "
            "them, for K in pixels"
        )


def _array(what: str, values: Any, shape: tuple[int, ...]) -> Array:
    array = _numbers(what, values)
    if array.shape != shape or not np.isfinite(array).all():
        raise ValueError(f"{what} must be {shape} finite numbers")
    return array


def _numbers(what: str, values: Any) -> Array:
    """Values as an array; ValueError names them where they are words, or rows of unlike lengths."""
    try:
        return np.asarray(values, dtype=np.float64)
    except (ValueError, TypeError):
        given = " ".join(repr(values).split())
        given = given if len(given) < 40 else f"{given[:36]} ..."
        raise ValueError(f"{what} is {given}; it must be numbers") from None


def _rotation(name: str, values: Any) -> Array:
    rotation = _array(f"{name}: R", values, (3, 3))
    if not np.allclose(rotation @ rotation.T, np.eye(3), atol=1e-3) or np.linalg.det(rotation) < 0:
        raise ValueError(f"{name}: R is not a rotation")
    return rotation


def _turn_onto_axis(ray: Array) -> Array:
    """The smallest rotation (3, 3) that takes a direction (3,) in front of a camera onto z."""
    x, y, z = ray / np.linalg.norm(ray)
    cross = np.array([[0.0, 0, -x], [0, 0, -y], [x, y, 0]])
    return np.eye(3) + cross + cross @ cross / (1 + z)


def _corners_of(mask: NDArray[np.uint8]) -> Array:
    """(N, 2) corners of the pixels on the convex hull of a mask: what bounds it in any view."""
    points = cv2.findNonZero(binary(mask))
    if points is None:
        raise InputError("the mask is empty; give one that marks the body with 255")
    hull = cv2.convexHull(points).reshape(-1, 1, 2).astype(np.float64)
    corners = np.array([[0, 0], [1, 0], [0, 1], [1, 1]])
    return (hull + corners).reshape(-1, 2)
