"""``from skelift import Predictor``: as the documents show it, and what it refuses."""

import re
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from tiny import draw, load_skeleton, random_pose
from tiny_run import random_model

import skelift
from skelift import Predictor, load_model
from skelift.errors import InputError
from skelift.weights import SHIPPED

ROOT = Path(__file__).parents[1]
SKELETON = load_skeleton("h36m17")
SIDE = 200


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with person.png before a grey wall, and its mask."""
    folder = tmp_path_factory.mktemp("api")
    joints = random_pose(SKELETON, np.random.default_rng(0))[:, :2]
    joints = (joints - joints.min(0)) / np.ptp(joints, axis=0).max() * 130 + 30
    image, mask = draw(SKELETON, joints, SIDE, (200, 120, 90))
    mask = (mask > 127) * np.uint8(255)
    cv2.imwrite(str(folder / "person.png"), np.where(mask[..., None] > 0, image, np.uint8(150)))
    cv2.imwrite(str(folder / "person.mask.png"), mask)
    return folder


@pytest.fixture(scope="module")
def predictor(tmp_path_factory: pytest.TempPathFactory) -> Predictor:
    return Predictor(str(random_model(tmp_path_factory.mktemp("model") / "model")))


@pytest.fixture(scope="module")
def image(folder: Path) -> NDArray[np.uint8]:
    decoded = cv2.imread(str(folder / "person.png"), cv2.IMREAD_COLOR_RGB)
    return np.asarray(decoded, dtype=np.uint8)


@pytest.mark.parametrize("document", ["README.md", "docs/predict.md"])
def test_documents_show_code_that_runs(
    document: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / document).read_text(), re.DOTALL)
    (shown,) = [block for block in blocks if "from skelift import Predictor" in block]
    monkeypatch.chdir(folder)
    names: dict[str, Any] = {}
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        exec(shown, names)  # noqa: S102  our own documents
    pose = names["pose"]
    assert pose.joints_3d_mm.shape == (17, 3)
    assert pose.joints_2d_px.shape == (17, 2)
    np.testing.assert_array_equal(pose.joints_3d_mm[SKELETON.root_index], 0)
    height = np.ptp(pose.joints_3d_mm[:, 1])
    assert 200 < height < 3000, "mm"


def test_files_and_arrays_give_the_same_pose(
    predictor: Predictor, folder: Path, image: NDArray[np.uint8]
) -> None:
    mask = cv2.imread(str(folder / "person.mask.png"), cv2.IMREAD_GRAYSCALE)
    assert mask is not None
    of_files = predictor(folder / "person.png", mask=str(folder / "person.mask.png"), focal_px=700)
    for array in (mask, mask > 0):
        of_arrays = predictor(image, mask=array, focal_px=700)
        np.testing.assert_array_equal(of_arrays.joints_3d_mm, of_files.joints_3d_mm)
        np.testing.assert_array_equal(of_arrays.joints_2d_px, of_files.joints_2d_px)
        assert of_arrays.prepared.crop == of_files.prepared.crop
    assert (of_files.prepared.crop_from, of_files.prepared.focal_px) == ("mask", 700)


def test_box_and_background_choose_the_crop(predictor: Predictor, image: NDArray[np.uint8]) -> None:
    boxed = predictor(image, box=(20, 30, 100, 140)).prepared
    assert boxed.crop_from == "box"
    assert (boxed.crop.x, boxed.crop.y) == (70, 100)
    assert boxed.crop.side == pytest.approx(140 * 1.13)
    assert predictor(image, background="remove").prepared.crop_from == "removed background"


@pytest.mark.parametrize(
    ("given", "complaint"),
    [
        ({"box": (500, 500, 9, 9)}, "box must be X Y WIDTH HEIGHT"),
        ({"box": (1, 2, 3)}, "box must be X Y WIDTH HEIGHT"),
        ({"box": (0, 0, float("nan"), 9)}, "box must be X Y WIDTH HEIGHT"),
        ({"focal_px": 0}, "focal_px=0: must be a number above 0"),
        ({"focal_px": float("nan")}, "focal_px=nan: must be"),
        ({"focal_px": -5.0}, "focal_px=-5.0: must be"),
        ({"background": "blur"}, "background must be one of keep, remove, person"),
        ({"mask": np.zeros((SIDE, SIDE), np.uint8)}, "mask is empty"),
        ({"mask": np.zeros((9, 9), np.uint8)}, r"mask must be .*\(200, 200\).*not \(9, 9\) uint8"),
        ({"mask": np.ones((SIDE, SIDE))}, "mask must be .*float64"),
        ({"mask": "nowhere.png"}, "nowhere.png: not found"),
        ({"image": "nowhere.png"}, "nowhere.png: not found"),
        ({"image": np.zeros((9, 9), np.uint8)}, r"image must be .*not \(9, 9\) uint8"),
        ({"image": np.zeros((9, 9, 3))}, "image must be .*float64"),
        ({"image": np.zeros((0, 9, 3), np.uint8)}, "no pixels"),
        ({"image": [[1]], "mask": "person.mask.png"}, "image must be .*not list"),
    ],
)
def test_bad_values_are_one_line(
    predictor: Predictor,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    given: dict[str, Any],
    complaint: str,
) -> None:
    monkeypatch.chdir(folder)
    with pytest.raises(InputError, match=complaint) as caught:
        predictor(**{"image": "person.png"} | given)
    assert "\n" not in str(caught.value)
    if "nowhere.png" not in complaint and "image" not in given:
        assert str(caught.value).startswith("person.png: ")


def test_folder_that_is_no_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="skelift train"):
        Predictor(tmp_path)


def test_importing_skelift_is_light_and_complete() -> None:
    code = "import sys, skelift; sys.exit('torch' in sys.modules or 'numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
    assert all(hasattr(skelift, name) for name in skelift.__all__)
    assert not hasattr(skelift, "Predicter")
    assert load_model.__module__ == "skelift.models.io"
    assert Predictor().card["name"] == Predictor(SHIPPED).card["name"]
