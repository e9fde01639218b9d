"""Orders of joints and the files they come in: named conversions, DeepLabCut's tables."""

import pickle
from pathlib import Path

import h5py
import numpy as np
import pytest
from tiny import load_skeleton

from skelift.cli import main
from skelift.data.crop import to_source
from skelift.data.deeplabcut import read_deeplabcut
from skelift.data.joints import LAYOUTS, joint_weights
from skelift.data.poses import read_poses
from skelift.data.raw_poses import SURE, seen
from skelift.errors import InputError

BODY = load_skeleton("h36m17")
# Where the joints of h36m17 are in each layout, one after the other as the owners of the layouts
# publish them: an index, or the indices of which it is the middle; None is not checked here.
# coco17: cocodataset.org; openpose25: BODY_25 of OpenPose's documentation (1 Neck, 8 MidHip);
# mpi17: the order that pose lifters use for MPI-INF-3DHP; mpi28: its calibration's joint list.
PUBLISHED = {
    "coco17": [
        *((11, 12), 12, 14, 16, 11, 13, 15, (5, 6, 11, 12), (5, 6), 0, None),
        *(5, 7, 9, 6, 8, 10),
    ],
    "openpose25": [8, 9, 10, 11, 12, 13, 14, (2, 5, 9, 12), 1, 0, None, 5, 6, 7, 2, 3, 4],
    "h36m17": list(range(17)),
    "mpi17": [14, 8, 9, 10, 11, 12, 13, 15, 1, 16, 0, 5, 6, 7, 2, 3, 4],
    "mpi28": [4, 23, 24, 25, 18, 19, 20, 3, 5, 6, 7, 9, 10, 11, 14, 15, 16],
}
SIZES = {"coco17": 17, "openpose25": 25, "h36m17": 17, "mpi17": 17, "mpi28": 28}


@pytest.mark.parametrize("layout", PUBLISHED)
def test_layouts_become_the_body_as_published(layout: str, tmp_path: Path) -> None:
    assert len(LAYOUTS[layout]) == SIZES[layout]
    source = np.random.default_rng(3).uniform(100, 300, (4, SIZES[layout], 2))
    np.savez(tmp_path / "p.npz", poses_2d=source)
    poses = read_poses(tmp_path / "p.npz", BODY, 64, 0.1, layout)
    pixels = to_source(poses.poses_2d.astype(float), poses.samples["crop"].astype(float), 64)
    for joint, indices in enumerate(PUBLISHED[layout]):
        if indices is not None:
            expected = source[:, np.atleast_1d(indices)].mean(axis=1)
            np.testing.assert_allclose(
                pixels[:, joint], expected, atol=0.01, err_msg=BODY.joints[joint]
            )


def test_layouts_agree_about_one_body() -> None:
    """The middle of the hips is the pelvis, that of the shoulders OpenPose's neck."""
    rng = np.random.default_rng(4)
    names = sorted({name for layout in LAYOUTS.values() for name in layout})
    place = {name: rng.uniform(size=2) for name in names}
    place["pelvis"] = (place["l_hip"] + place["r_hip"]) / 2
    place["thorax"] = (place["l_shoulder"] + place["r_shoulder"]) / 2
    place["spine"] = (place["pelvis"] + place["thorax"]) / 2
    ears = (place["l_ear"] + place["r_ear"]) / 2
    place["head"] = ears + 0.7 * (ears - place["thorax"])
    for layout in LAYOUTS.values():
        converted = joint_weights(BODY, layout) @ np.stack([place[name] for name in layout])
        np.testing.assert_allclose(converted, [place[name] for name in BODY.joints])


def test_two_layouts_of_mpi_pick_the_same_joints() -> None:
    relevant = [7, 5, 14, 15, 16, 9, 10, 11, 23, 24, 25, 18, 19, 20, 4, 3, 6]
    assert tuple(LAYOUTS["mpi28"][i] for i in relevant) == LAYOUTS["mpi17"]


def test_unknown_layout_is_named(tmp_path: Path) -> None:
    np.savez(tmp_path / "p.npz", poses_2d=np.zeros((1, 17, 2)))
    with pytest.raises(InputError, match="joints=coco: choose one of coco17"):
        read_poses(tmp_path / "p.npz", BODY, 64, 0.1, "coco")


# DeepLabCut. The fixtures are written as its versions 2 and 3 write through pandas.

PARTS = ("nose", "left_ear", "tail")
VALUES = np.random.default_rng(0).uniform(10, 400, (5, 3, 3))
VALUES[..., 2] = 0.99
VALUES[3, 1, 2] = 0.1  # the model does not trust this ear


def predicted_csv(path: Path) -> Path:
    columns = [(part, coord) for part in PARTS for coord in ("x", "y", "likelihood")]
    lines = [
        "scorer," + ",".join(["DLC_resnet50"] * 9),
        "bodyparts," + ",".join(part for part, _ in columns),
        "coords," + ",".join(coord for _, coord in columns),
    ]
    lines += [f"{i}," + ",".join(map(str, row)) for i, row in enumerate(VALUES.reshape(5, 9))]
    path.write_text("\n".join(lines) + "\n")
    return path


def labelled_csv(path: Path) -> Path:
    """Several animals, the image's path in three columns, an empty cell where nothing is seen."""
    columns = [(who, part, xy) for who in ("a", "b") for part in PARTS for xy in "xy"]
    lines = [
        "scorer,,," + ",".join(["me"] * 12),
        "individuals,,," + ",".join(who for who, _, _ in columns),
        "bodyparts,,," + ",".join(part for _, part, _ in columns),
        "coords,,," + ",".join(xy for *_, xy in columns),
    ]
    for i, row in enumerate(VALUES[:2, :, :2].reshape(2, 6)):
        other = [""] * 6 if i else [str(value + 1) for value in row]
        lines.append(f"labeled-data,clip,img{i}.png," + ",".join([*map(str, row), *other]))
    path.write_text("\n".join(lines) + "\n")
    return path


def names() -> list[tuple[str, str, str]]:
    return [("DLC", part, coord) for part in PARTS for coord in ("x", "y", "likelihood")]


def appendable_h5(path: Path, kind: bytes | None = None) -> Path:
    rows = np.zeros(5, dtype=[("index", "<i8"), ("values_block_0", "<f8", (9,))])
    rows["values_block_0"] = VALUES.reshape(5, 9)
    with h5py.File(path, "w") as file:
        table = file.create_group("df_with_missing").create_dataset("table", data=rows)
        pickled = pickle.dumps(names(), protocol=0) if kind is None else kind
        table.attrs["values_block_0_kind"] = np.bytes_(pickled)
    return path


def put_names(group: h5py.Group, axis: str, columns: list[tuple[str, ...]]) -> None:
    """As pandas stores a MultiIndex: the values of each level, and codes."""
    group.attrs[f"{axis}_nlevels"] = len(columns[0])
    for level in range(len(columns[0])):
        column = [name[level] for name in columns]
        values = sorted(set(column))
        group[f"{axis}_level{level}"] = np.array(values, dtype="S")
        group[f"{axis}_label{level}"] = [values.index(name) for name in column]


def fixed_h5(path: Path) -> Path:
    with h5py.File(path, "w") as file:
        group = file.create_group("df_with_missing")
        group.attrs["nblocks"] = 1
        for axis in ("axis0", "block0_items"):
            put_names(group, axis, names())
        group["block0_values"] = VALUES.reshape(5, 9)
    return path


def check_predicted(path: Path) -> None:
    poses = read_deeplabcut(path)
    assert tuple(poses.names) == PARTS
    np.testing.assert_allclose(poses.places, VALUES[..., :2])
    np.testing.assert_allclose(poses.confidence, VALUES[..., 2])
    unseen = np.argwhere(~seen(poses, SURE)).tolist()
    assert unseen == [[3, 1]]
    assert poses.samples["frame"].tolist() == [0, 1, 2, 3, 4]


def test_predicted_tables_are_read_in_every_form(tmp_path: Path) -> None:
    check_predicted(predicted_csv(tmp_path / "a.csv"))
    check_predicted(appendable_h5(tmp_path / "b.h5"))
    check_predicted(fixed_h5(tmp_path / "c.h5"))


def test_labelled_table_of_two_animals(tmp_path: Path) -> None:
    poses = read_deeplabcut(labelled_csv(tmp_path / "a.csv"))
    assert tuple(poses.names) == PARTS
    assert poses.samples["frame"].tolist() == [0, 1, 0, 1]
    visible = seen(poses, SURE).all(axis=1)
    assert visible.tolist() == [True, True, True, False]  # one frame without b
    expected = np.concatenate([VALUES[:2, :, :2], VALUES[:1, :, :2] + 1])
    np.testing.assert_allclose(poses.places[visible], expected)


class _Trap:
    def __reduce__(self) -> tuple[object, ...]:
        return Path.touch, (Path("sprung"),)


@pytest.mark.parametrize(
    ("name", "content", "complaint"),
    [
        ("a.csv", b"x,y\n1,2\n", "no line `coords`"),
        ("a.csv", b"\xff\xfe\x00", "cannot be read as CSV"),
        ("a.csv", b"scorer,me,me\nbodyparts,nose,nose\ncoords,x,y\n0,1,two\n", "line 4 is broken"),
        ("a.csv", b"scorer,me,me\nbodyparts,nose,nose\ncoords,x,y\n0,1,2\n", "no joint for"),
        ("a.h5", b"not hdf", "cannot be read as a DeepLabCut table"),
        ("trap.h5", pickle.dumps([_Trap()]), "it names the class"),
    ],
)
def test_bad_tables_are_one_clear_line(
    name: str,
    content: bytes,
    complaint: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("images").mkdir()
    if name.startswith("trap"):
        appendable_h5(tmp_path / name, kind=content)
    else:
        (tmp_path / name).write_bytes(content)
    paths = [f"data.folder.poses={name}", "data.folder.images=images", "paths.data=out"]
    assert main(["prepare", "data=folder", *paths]) == 2
    message = capsys.readouterr().err.strip()
    assert name in message
    assert complaint in message
    assert "\n" not in message
    assert not Path("sprung").exists()
    assert not Path("out").exists()
