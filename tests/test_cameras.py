"""Calibrated cameras: read from several tools' files, and crops along a body's line of sight."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from tiny_run import random_model

from skelift.commands import predict
from skelift.data.cameras import (
    HALF,
    Camera,
    find_camera,
    implausible_focal,
    read_cameras,
    view_of_mask,
)
from skelift.data.crop import CropBox
from skelift.errors import InputError

K = [[900.0, 0.0, 310.0], [0.0, 910.0, 250.0], [0.0, 0.0, 1.0]]
LENS = [-0.11, 0.05, 0.002, -0.001, 0.01]
TURN = [0.2, -0.5, 0.1]  # Rodrigues' vector
MOVE = [100.0, -50.0, 3000.0]
POINTS = np.array([[0.0, 0, 0], [400, 300, 200], [-500, 100, -300]])


ROS = f"""image_width: 640
image_height: 480
camera_name: west
camera_matrix:
  rows: 3
  cols: 3
  data: {np.ravel(K).tolist()}
distortion_model: plumb_bob
distortion_coefficients:
  rows: 1
  cols: 5
  data: {LENS}
"""
# Entities of entities: some 10^10 letters.
LAUGHS = (
    '<!DOCTYPE c [<!ENTITY e0 "haha">'
    + "".join(f'<!ENTITY e{i + 1} "{f"&e{i};" * 10}">' for i in range(10))
    + "]><c>&e10;</c>"
)
OUTSIDE = '<!DOCTYPE c [<!ENTITY e SYSTEM "file:///etc/hostname">]><c>&e;</c>'


FISHEYE = f"[cam_0]\nname = 'west'\nmatrix = {K}\ndistortions = {LENS[:4]}\nfisheye = true\n"


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model with random weights."""
    return random_model(tmp_path_factory.mktemp("model") / "model")


def rotation() -> NDArray[np.float64]:
    angle = np.linalg.norm(TURN)
    x, y, z = np.array(TURN) / angle
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    return np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross


def project(points: NDArray[np.float64]) -> NDArray[np.float64]:
    """The textbook's formula, in pixels whose corner is (0, 0)."""
    at = points @ rotation().T + MOVE
    x, y = at[:, 0] / at[:, 2], at[:, 1] / at[:, 2]
    k1, k2, p1, p2, k3 = LENS
    r2 = x**2 + y**2
    radial = 1 + k1 * r2 + k2 * r2**2 + k3 * r2**3
    bent = (
        x * radial + 2 * p1 * x * y + p2 * (r2 + 2 * x**2),
        y * radial + p1 * (r2 + 2 * y**2) + 2 * p2 * x * y,
    )
    return np.stack([K[0][0] * bent[0] + K[0][2], K[1][1] * bent[1] + K[1][2]], axis=1) + 0.5


def as_json(path: Path) -> Path:
    known = {"K": K, "distortion": LENS, "R": rotation().tolist(), "t": MOVE}
    camera = known | {"image_size": [640, 480], "file": "left.mp4"}
    path.write_text(json.dumps({"cameras": {"west": camera, "east": {"K": K}}}))
    return path


def as_toml(path: Path) -> Path:
    path.write_text(
        f"[cam_0]\nname = 'west'\nsize = [640, 480]\nmatrix = {K}\ndistortions = {LENS}\n"
        f"rotation = {TURN}\ntranslation = {MOVE}\n[metadata]\nerror = 0.3\n"
    )
    return path


def as_opencv(path: Path) -> Path:
    storage = cv2.FileStorage(str(path), cv2.FILE_STORAGE_WRITE)
    storage.write("image_width", 640)
    storage.write("image_height", 480)
    storage.write("camera_matrix", np.array(K))
    storage.write("distortion_coefficients", np.array([LENS]))
    storage.write("R", rotation())
    storage.write("T", np.array(MOVE)[:, None])
    storage.release()
    return path


def as_qualisys(path: Path) -> Path:
    """Its axes: x right, y up, z towards us; its pixels 1/64; its place in the world."""
    axes = np.diag([1.0, -1, -1]) @ rotation()
    place = -rotation().T @ MOVE
    r = " ".join(f'r{i + 1}{j + 1}="{axes[i, j]!r}"' for i in range(3) for j in range(3))
    r = re.sub(r"np\.float64\((.*?)\)", r"\1", r)
    k1, k2, p1, p2, k3 = LENS
    path.write_text(
        "<calibration><cameras><camera serial='west'>"
        "<fov_video left='10' right='649' top='20' bottom='499'/>"
        f"<transform {r} x='{place[0]}' y='{place[1]}' z='{place[2]}'/>"
        f"<intrinsic focalLengthU='{64 * K[0][0]}' focalLengthV='{64 * K[1][1]}' "
        f"centerPointU='{64 * (K[0][2] + 10)}' centerPointV='{64 * (K[1][2] + 20)}' "
        f"radialDistortion1='{k1}' radialDistortion2='{k2}' radialDistortion3='{k3}' "
        f"tangentalDistortion1='{p1}' tangentalDistortion2='{p2}'/>"
        "</camera></cameras></calibration>"
    )
    return path


@pytest.mark.parametrize(
    ("name", "write"),
    [("c.json", as_json), ("c.toml", as_toml), ("west.yml", as_opencv), ("c.txt", as_qualisys)],
)
def test_every_format_gives_the_same_camera(
    tmp_path: Path, name: str, write: Callable[[Path], Path]
) -> None:
    camera = read_cameras(write(tmp_path / name))[0]
    assert camera.name == "west"
    assert camera.size == (640, 480)
    pixels = camera.project(camera.from_world(POINTS))
    np.testing.assert_allclose(pixels, project(POINTS), atol=1e-6)
    rays = camera.rays(pixels)
    at = camera.from_world(POINTS)
    np.testing.assert_allclose(rays, at / at[:, 2:], atol=1e-9)


def test_ros_gives_the_same_camera_without_a_place(tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text(ROS)
    (camera,) = read_cameras(tmp_path / "c.yaml")
    (same,) = read_cameras(as_opencv(tmp_path / "west.yml"))
    assert (camera.name, camera.size, camera.rotation) == ("west", (640, 480), None)
    np.testing.assert_array_equal(camera.matrix, same.matrix)
    np.testing.assert_array_equal(camera.distortion, same.distortion)
    assert find_camera([camera], "c", tmp_path) is camera


@pytest.mark.parametrize(
    ("name", "write"),
    [("c.json", as_json), ("c.toml", as_toml), ("west.yml", as_opencv), ("c.xml", as_qualisys)],
)
def test_a_byte_order_mark_is_no_content(
    tmp_path: Path, name: str, write: Callable[[Path], Path]
) -> None:
    path = write(tmp_path / name)
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert read_cameras(path)[0].name == "west"


def test_strong_lenses_are_no_folded_ones(tmp_path: Path) -> None:
    wide = {"K": [[900.0, 0, 960], [0, 900, 540], [0, 0, 1]], "image_size": [1920, 1080]}
    for lens in ([-0.28, 0.09, 0.001, -0.0005, -0.012], [0.3, 0.1, 0, 0], [-0.1, 0.01, 0, 0]):
        (tmp_path / "c.json").write_text(
            json.dumps({"cameras": {"a": wide | {"distortion": lens}}})
        )
        assert read_cameras(tmp_path / "c.json")[0].name == "a"


def test_cameras_are_found_by_name_or_by_their_video(tmp_path: Path) -> None:
    path = as_json(tmp_path / "c.json")
    cameras = read_cameras(path)
    assert find_camera(cameras, "left", path).name == "west"
    assert find_camera(cameras[:1], "", path).name == "west"
    with pytest.raises(InputError, match=r"c\.json: has no camera north, but west, east; name"):
        find_camera(cameras, "north", path)
    with pytest.raises(InputError, match=r"has 2 cameras .* --camera \S*c\.json:west in predict"):
        find_camera(cameras, "", path)
    with pytest.raises(InputError, match="has no camera north"):
        find_camera(cameras[:1], "north", path)
    with pytest.raises(InputError, match="east: has no R and t"):
        cameras[1].from_world(POINTS)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("c.json", None, "not found"),
        ("c.json", "{", "cannot be read as a calibration"),
        ("c.json", '{"cameras": {}}', "has no camera in it"),
        ("c.json", "[]", r'it must be \{"cameras": \{NAME'),
        ("c.json", '{"cameras": [1]}', r'"cameras" must be \{NAME'),
        ("c.json", '{"cameras": {"a": 3}}', r'"cameras" must be \{NAME'),
        ("c.json", {"K": K, "distorsion": LENS}, "a: distorsion is not known, call it distortion"),
        ("c.json", {"K": K, "distCoeffs": LENS}, "distCoeffs is not known, call it distortion"),
        ("c.json", {"K": K, "imageSize": [9, 9]}, "imageSize is not known, call it image_size"),
        ("c.json", {"K": K, "distortion": [float("nan"), 0, 0, 0]}, "distortion holds NaN"),
        ("c.json", {"K": K, "image_size": [100, 480]}, "principal point .* of 100 x 480 pixels"),
        ("c.toml", FISHEYE, r"c\.toml.*west: fisheye = true: .*undistort the images"),
        ("c.json", '{"cameras": {"a": {"R": 1}}}', "lacks 'K'"),
        ("c.json", '{"cameras": {"a": {"K": [[1, 2]]}}}', r"a: K must be \(3, 3\) finite"),
        ("c.json", {"K": np.diag([-1.0, 1, 1]).tolist()}, "focal lengths in K must be above 0"),
        ("c.json", {"K": K, "distortion": [1, 2]}, "distortion has 2 numbers"),
        ("c.json", {"K": K, "distortion": "none"}, "a: distortion is 'none'; it must be numbers"),
        ("c.json", {"K": K, "R": np.eye(3).tolist(), "t": ["x", 0, 0]}, r"a: t is \['x', 0, 0\]"),
        ("c.json", {"K": K, "R": np.eye(3).tolist()}, "R and t go together"),
        ("c.json", {"K": K, "R": (2 * np.eye(3)).tolist(), "t": MOVE}, "R is not a rotation"),
        ("c.toml", "x = ", "cannot be read as a calibration"),
        ("c.json", f'{{"cameras": {{"a": {{"K": {K}}}, "a": {{"K": {K}}}}}}}', "a is there twice"),
        ("c.json", f'{{"cameras": {{"a": {{"K": {K}, "K": {K}}}}}}}', "K is there twice"),
        ("c.json", {"K": K, "distortion": [-2.0, 0, 0, 0]}, "a: its distortion folds the image"),
        ("c.json", {"K": K, "distortion": [-110, 50, 2, -1, 10]}, "distortion folds the image"),
        ("c.json", " " * (10 * 2**20 + 1), "has more than 10485760 bytes"),
        ("c.yml", "text", "neither OpenCV's %YAML:1.0 nor a camera_info of ROS"),
        ("c.yml", "%YAML:1.0\n---\nK: [1, 2", "OpenCV cannot read it; export"),
        ("c.yml", "%YAML:1.0\n---\nK: 1\nK: 2\n", "K is there twice"),
        ("c.yml", ROS.replace("plumb_bob", "equidistant"), "distortion_model is equidistant"),
        ("c.yml", ROS + "camera_matrix: 3\n", "camera_matrix is there twice"),
        ("c.yml", ROS.replace("900.0", "x"), "cannot be read as a calibration"),
        ("c.xml", LAUGHS, "cannot be read as a calibration"),
        ("c.xml", OUTSIDE, "cannot be read as a calibration"),
        ("c.yml", None, "not found"),
        ("c.txt", "<calibration>", "cannot be read as a calibration"),
        ("c.csv", "", "not a calibration that can be read; give one of .json"),
    ],
)
def test_a_bad_file_is_refused_in_one_line(
    tmp_path: Path, name: str, content: Any, message: str
) -> None:
    path = tmp_path / name
    if isinstance(content, dict):
        content = json.dumps({"cameras": {"a": content}})
    if content is not None:
        path.write_text(content)
    with pytest.raises(InputError, match=message) as error:
        read_cameras(path)
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


# Views.


def off_axis() -> Camera:
    return Camera("c", np.array(K) + HALF, np.array(LENS))


def test_a_view_sees_a_point_where_its_turned_pinhole_projects_it() -> None:
    """Bright dots at the pixels of 3D points are found in the crop at their ideal places."""
    camera = off_axis()
    points = np.array([[-600.0, -450, 2000], [-520, -300, 2100], [-560, -380, 1900]])
    image = np.zeros((480, 640, 3), np.uint8)
    for x, y in camera.project(points):
        at = round(16 * (x - 0.5)), round(16 * (y - 0.5))
        cv2.circle(image, at, 16, (255, 255, 255), cv2.FILLED, cv2.LINE_AA, 4)
    mask = image.max(axis=-1)
    view = view_of_mask(camera, mask)
    box = view.crop_around_mask(mask, 0.2)
    size = 400
    cut = view.cut(image, box, size)[..., 0]
    turned = view.turn(points)
    axis = view.turn(camera.rays(view.centre[None]))[0]
    np.testing.assert_allclose(axis[:2], 0, atol=1e-9)
    ideal = turned[:, :2] / turned[:, 2:] * view.focal + view.centre
    expected = ((ideal - [box.x, box.y]) / box.side + 0.5) * size
    count, _, _, centres = cv2.connectedComponentsWithStats((cut > 100).astype(np.uint8))
    assert count == 4
    found = sorted((centres[1:] + 0.5).tolist())
    quarter_of_a_pixel = 0.25 * size / box.side  # of the image
    np.testing.assert_allclose(found, sorted(expected.tolist()), atol=quarter_of_a_pixel)
    # ... which is not where a plain crop of the distorted image would have them.
    plain = camera.project(points)
    assert np.abs((plain - plain[0]) - (ideal - ideal[0])).max() > 3


def test_a_view_is_undone() -> None:
    camera = off_axis()
    view = camera.look_at(np.array([30.0, 40.0]))
    pixels = np.array([[[30.0, 40], [300, 200]], [[600, 20], [15, 470]]])
    np.testing.assert_allclose(view.to_image(view.from_image(pixels)), pixels, atol=1e-6)
    np.testing.assert_allclose(view.turn_back(view.turn(POINTS)), POINTS, atol=1e-9)
    np.testing.assert_allclose(view.from_image(view.centre), view.centre, atol=1e-9)


@pytest.mark.parametrize("size", [48, 300])
def test_a_view_down_the_axis_of_an_ideal_camera_is_a_plain_crop(size: int) -> None:
    camera = Camera("c", np.array([[800.0, 0, 320], [0, 800, 240], [0, 0, 1]]))
    noise = np.random.default_rng(0).integers(0, 255, (480, 640, 3), dtype=np.uint8)
    image = np.asarray(cv2.GaussianBlur(noise, (0, 0), 3), dtype=np.uint8)
    mask = np.zeros((480, 640), np.uint8)
    mask[150:330, 270:370] = 255  # its middle is the principal point
    view = view_of_mask(camera, mask)
    box = view.crop_around_mask(mask, 0.13)
    plain = CropBox.around_mask(mask, 0.13)
    np.testing.assert_allclose(box.as_array(), plain.as_array(), atol=1e-4)
    apart = view.cut(image, box, size).astype(int) - plain.cut(image, size)
    assert np.abs(apart).max() <= 1


def test_keys_of_another_purpose_are_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "c.json").write_text(
        json.dumps({"cameras": {"a": {"K": K, "serial": 7, "centre_mm": [0, 0, 1]}}})
    )
    for _ in range(2):
        read_cameras(tmp_path / "c.json")
    assert capsys.readouterr().err == (
        f"{tmp_path / 'c.json'}: camera a: serial, centre_mm not read; known are K, distortion, R, "
        "t, image_size, file\n"
    )


def test_a_lens_that_is_no_fisheye_is_read(tmp_path: Path) -> None:
    (tmp_path / "c.toml").write_text(FISHEYE.replace("true", "false"))
    assert read_cameras(tmp_path / "c.toml")[0].name == "west"


def test_a_principal_point_far_outside_of_the_images_is_refused() -> None:
    k = np.array([[900.0, 0, 2400], [0, 900, 240], [0, 0, 1]])
    with pytest.raises(InputError, match="c: its principal point 2400, 240 is far outside"):
        view_of_mask(Camera("c", k), np.full((480, 480), 255, np.uint8))


def test_images_of_another_size_are_refused() -> None:
    camera = Camera("c", np.array(K), size=(640, 480))
    with pytest.raises(InputError, match="c: calibrated for 640 x 480 pixels, the image has 9 x 8"):
        view_of_mask(camera, np.full((8, 9), 255, np.uint8))


def test_images_of_another_size_are_refused_by_file_and_camera(tmp_path: Path) -> None:
    content = {"cameras": {"east": {"K": K, "image_size": [640, 480]}}}
    (tmp_path / "c.json").write_text(json.dumps(content))
    (camera,) = read_cameras(tmp_path / "c.json")
    expected = f"{tmp_path}/c.json: camera east: calibrated for 640 x 480 pixels, 3.png has 9 x 8;"
    with pytest.raises(InputError, match=re.escape(expected)):
        view_of_mask(camera, np.full((8, 9), 255, np.uint8), "3.png")


@pytest.mark.parametrize(
    ("focal", "says"),
    [(35, "a focal length of 35 px is 0.055 of the image's longer side (640 px)"), (191, "0.3")]
    + [(focal, "") for focal in (192, 900, 1e5, np.nan)],
)
def test_a_focal_length_in_millimetres_is_implausible(focal: float, says: str) -> None:
    for width, height in ((640, 480), (480, 640)):
        fault = implausible_focal(focal, width, height)
        assert says in fault
        assert bool(fault) == bool(says)


# predict --camera.


def scene(tmp_path: Path, name: str, centre: tuple[int, int]) -> Path:
    image = np.zeros((480, 640, 3), np.uint8)
    cv2.ellipse(image, centre, (40, 90), 20, 0, 360, (200, 180, 90), cv2.FILLED, cv2.LINE_AA)
    file = tmp_path / name / "a.png"
    file.parent.mkdir()
    assert cv2.imwrite(str(file), image)
    return file


def predicted(file: Path, model: Path, **options: Any) -> dict[str, Any]:
    out = predict.run([file], model, file.with_name("p.json"), **options)
    entry: dict[str, Any] = json.loads(out.read_text())["predictions"][0]
    return entry


def test_predict_lifts_a_body_in_its_own_line_of_sight(tmp_path: Path, model: Path) -> None:
    """A camera turned in place sees the same body elsewhere; its pose turns with it."""
    f, angle = 800.0, 0.3
    straight = scene(tmp_path, "straight", (320, 240))
    c, s = np.cos(angle), np.sin(angle)
    turn = np.array([[c, 0, s], [0, 1, 0], [-s, 0, c]])  # straight camera -> the turned one
    matrix = np.array([[f, 0, 320], [0, f, 240], [0, 0, 1]])
    image = cv2.imread(str(straight))
    assert image is not None
    turned = tmp_path / "turned" / "a.png"
    turned.parent.mkdir()
    warped = cv2.warpPerspective(image, matrix @ turn @ np.linalg.inv(matrix), (640, 480))
    assert cv2.imwrite(str(turned), warped)
    file = tmp_path / "c.json"
    file.write_text(json.dumps({"cameras": {"only": {"K": matrix.tolist()}}}))
    one = predicted(straight, model, camera=str(file))
    other = predicted(turned, model, camera=f"{file}:only")
    assert one["focal_px"] == {"value": f, "from": "camera"}
    pose = np.array(one["joints_3d_mm"])
    size = np.abs(pose).max()
    np.testing.assert_allclose(
        np.array(other["joints_3d_mm"]) / size, pose @ turn.T / size, atol=0.03
    )
    rays = np.array(one["joints_2d_px"]) - 0.5 - [320, 240]
    rays = np.concatenate([rays / f, np.ones((len(rays), 1))], 1) @ turn.T
    expected = rays[:, :2] / rays[:, 2:] * f + [320.5, 240.5]
    np.testing.assert_allclose(other["joints_2d_px"], expected, atol=1.0)
    # The plain focal length leaves the pose as if it stood in the middle.
    plain = np.array(predicted(turned, model, focal=f)["joints_3d_mm"])
    assert np.abs(plain - pose @ turn.T).max() > 0.1 * size


def test_predict_takes_the_camera_that_is_called_as_the_folder(tmp_path: Path, model: Path) -> None:
    image = scene(tmp_path, "east", (100, 240))
    file = as_json(tmp_path / "c.json")
    assert predicted(image, model, camera=str(file))["focal_px"]["value"] == 905
    with pytest.raises(InputError, match="has no camera north"):
        predicted(image, model, camera=f"{file}:north")
    with pytest.raises(InputError, match="--camera and --focal"):
        predicted(image, model, camera=str(file), focal=900.0)
    with pytest.raises(InputError, match="a server takes no calibration"):
        predicted(image, model, camera=str(file), endpoint="http://127.0.0.1:9")


@pytest.mark.parametrize("scale", [2, 1.5, 0.5])
def test_a_calibration_of_images_of_another_size_is_refused(
    scale: float, tmp_path: Path, model: Path
) -> None:
    image, file = scene(tmp_path, "east", (100, 240)), tmp_path / "c.json"
    matrix = np.array([[900, 0, 311], [0, 900, 246], [0, 0, 1]])  # of 640 x 480

    def state(camera: dict[str, Any]) -> str:
        file.write_text(json.dumps({"cameras": {"only": camera}}))
        return str(file)

    predicted(image, model, camera=state({"K": matrix.tolist()}))
    matrix[:2] = matrix[:2] * scale
    with pytest.raises(
        InputError, match=rf"^{image}: camera only: its principal point .* 640 x 480"
    ):
        predicted(image, model, camera=state({"K": matrix.tolist()}))
    part = {"K": matrix.tolist(), "image_size": [640, 480]}  # of a larger image, then
    predicted(image, model, camera=state(part))


def test_predict_tells_of_a_focal_length_in_millimetres(
    tmp_path: Path, model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    image, file = scene(tmp_path, "east", (100, 240)), tmp_path / "c.json"
    camera = {"K": [[35, 0, 320], [0, 35, 240], [0, 0, 1]]}
    file.write_text(json.dumps({"cameras": {"only": camera}}))
    for options in ({"focal": 35.0}, {"camera": str(file)}):
        (line,) = predicted(image, model, **options)["warnings"]
        assert line.startswith("a focal length of 35 px is 0.055 of the image's longer side (640")
        assert f"poses of 1 images are not to be trusted: {line}\n" in capsys.readouterr().err
    predicted(image, model, focal=350.0)
    assert "focal" not in capsys.readouterr().err


@pytest.mark.parametrize(
    ("matrix", "said"),
    [
        ([[900, 0, 0], [0, 900, 0], [320, 240, 1]], "without skew"),  # transposed
        ([[900, 80, 320], [0, 900, 240], [0, 0, 1]], "without skew"),
        ([[57600, 0, 20480], [0, 57600, 15360], [0, 0, 64]], "without skew"),
        ([[1.25, 0, 0.5], [0, 1.25, 0.5], [0, 0, 1]], "in pixels"),
        ([[900, 0, 1e7], [0, 900, 240], [0, 0, 1]], "in pixels"),
    ],
)
def test_a_matrix_of_another_form_is_refused(
    tmp_path: Path, matrix: list[list[float]], said: str
) -> None:
    file = tmp_path / "c.json"
    file.write_text(json.dumps({"cameras": {"left": {"K": matrix}}}))
    with pytest.raises(InputError, match=rf"c\.json.*{said}"):
        read_cameras(file)
