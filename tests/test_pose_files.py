"""Poses of files as programs and people really write them: every one is read or refused."""

import csv
import json
import pickle
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from numpy.typing import NDArray
from tiny import load_skeleton, tiny_dataset

from skelift.data.crop import to_source
from skelift.data.deeplabcut import read_deeplabcut
from skelift.data.joints import LAYOUTS
from skelift.data.poses import UnpairedPoses, read_poses
from skelift.errors import InputError
from skelift.skeleton import Skeleton

BODY = load_skeleton("h36m17")
COCO = [name.replace("l_", "left_").replace("r_", "right_") for name in LAYOUTS["coco17"]]
POSES = np.random.default_rng(2).uniform(50, 400, (4, 17, 2)).round(2)
ANKLE = BODY.index("r_ankle")


def read(path: Path, layout: str = "", **options: Any) -> UnpairedPoses:
    return read_poses(path, BODY, 64, 0.1, layout, **options)


def pixels(poses: UnpairedPoses) -> NDArray[np.float64]:
    crops = poses.samples["crop"].astype(np.float64)
    return to_source(poses.poses_2d.astype(np.float64), crops, 64)


# Writers of the same four poses in each form. ``confidence`` None: the form's own way without.


def coco_file(
    folder: Path, places: NDArray[np.float64], confidence: NDArray[np.float64] | None
) -> Path:
    sure = np.full(places.shape[:2], 2.0) if confidence is None else confidence
    rows = np.concatenate([places, sure[..., None]], axis=-1)
    return coco(folder / "p.json", [{"keypoints": row.ravel().tolist()} for row in rows])


def coco(path: Path, annotations: Any, encoding: str = "utf-8", **changes: Any) -> Path:
    content: dict[str, Any] = {
        "categories": [{"id": 1, "name": "person", "keypoints": list(BODY.joints)}],
        "images": [{"id": 5, "width": 640, "height": 480}],
        "annotations": annotations,
    }
    if isinstance(annotations, list):
        content["annotations"] = [
            {"category_id": 1, "image_id": 5} | a if isinstance(a, dict) else a for a in annotations
        ]
    path.write_bytes(json.dumps(content | changes, ensure_ascii=False).encode(encoding))
    return path


def npz_file(
    folder: Path, places: NDArray[np.float64], confidence: NDArray[np.float64] | None
) -> Path:
    more = {} if confidence is None else {"confidence": confidence}
    np.savez(folder / "p.npz", poses_2d=places, **more)
    return folder / "p.npz"


def openpose_file(
    folder: Path, places: NDArray[np.float64], confidence: NDArray[np.float64] | None
) -> Path:
    sure = np.ones(places.shape[:2]) if confidence is None else confidence
    np.savez(folder / "p.npz", poses_2d=np.concatenate([places, sure[..., None]], axis=-1))
    return folder / "p.npz"


def table(
    places: NDArray[np.float64], confidence: NDArray[np.float64] | None
) -> tuple[list[tuple[str, str, str]], NDArray[np.float64]]:
    coords = ["x", "y"] if confidence is None else ["x", "y", "likelihood"]
    columns = [("me", joint, coord) for joint in BODY.joints for coord in coords]
    parts = [places] if confidence is None else [places, confidence[..., None]]
    return columns, np.concatenate(parts, axis=-1).reshape(len(places), -1)


def csv_file(
    folder: Path, places: NDArray[np.float64], confidence: NDArray[np.float64] | None
) -> Path:
    return write_csv(folder / "p.csv", *table(places, confidence))


def write_csv(path: Path, columns: Sequence[tuple[str, ...]], values: NDArray[Any]) -> Path:
    with path.open("w", newline="") as stream:
        writer = csv.writer(stream)
        for level, title in enumerate(("scorer", "bodyparts", "coords")):
            writer.writerow([title, *(column[level] for column in columns)])
        for number, row in enumerate(values):
            writer.writerow([number, *("" if np.isnan(value) else value for value in row)])
    return path


Block = tuple[list[tuple[str, ...]], NDArray[Any]]


def h5_file(
    folder: Path, places: NDArray[np.float64], confidence: NDArray[np.float64] | None
) -> Path:
    columns, values = table(places, confidence)
    return fixed_h5(folder / "p.h5", columns, [(columns, values)])


def fixed_h5(
    path: Path, columns: list[tuple[str, ...]], blocks: list[Block], key: str = "df_with_missing"
) -> Path:
    """Pandas' format="fixed": one array per type of number."""
    with h5py.File(path, "a") as file:
        group = file.create_group(key)
        group.attrs["nblocks"] = len(blocks)
        put_names(group, "axis0", columns)
        for number, (names, values) in enumerate(blocks):
            put_names(group, f"block{number}_items", names)
            group[f"block{number}_values"] = values
            group[f"block{number}_values"].attrs["transposed"] = np.uint8(1)
    return path


def put_names(group: h5py.Group, axis: str, columns: list[tuple[str, ...]]) -> None:
    """As pandas stores a MultiIndex: the values of each level, and codes."""
    group.attrs[f"{axis}_nlevels"] = len(columns[0])
    for level in range(len(columns[0])):
        column = [name[level] for name in columns]
        values = sorted(set(column))
        group[f"{axis}_level{level}"] = np.array([value.encode() for value in values])
        group[f"{axis}_label{level}"] = np.array([values.index(name) for name in column], np.int8)


def table_h5(
    path: Path, columns: list[tuple[str, ...]], blocks: list[Block], key: str = "df_with_missing"
) -> Path:
    """Pandas' format="table": records with one array per type of number."""
    fields = [(f"values_block_{n}", v.dtype, v.shape[1:]) for n, (_, v) in enumerate(blocks)]
    rows = np.zeros(len(blocks[0][1]), dtype=[("index", "<i8"), *fields])
    for number, (_, values) in enumerate(blocks):
        rows[f"values_block_{number}"] = values
    with h5py.File(path, "a") as file:
        group = file.create_group(key)
        group.attrs["non_index_axes"] = np.bytes_(pickle.dumps([(1, columns)], protocol=0))
        stored = group.create_dataset("table", data=rows)
        for number, (names, _) in enumerate(blocks):
            pickled = pickle.dumps(names, protocol=0)
            stored.attrs[f"values_block_{number}_kind"] = np.bytes_(pickled)
    return path


WRITERS: dict[str, Callable[..., Path]] = {
    "COCO": coco_file,
    "npz": npz_file,
    "npz of three columns": openpose_file,
    "CSV": csv_file,
    "H5": h5_file,
}
NAN, INF = float("nan"), float("inf")


@pytest.mark.parametrize("form", WRITERS)
@pytest.mark.parametrize(
    "place", [(0, 0), (-1, -1), (-3.5, -0.5), (NAN, 3), (3, NAN), (INF, 3), (3, -INF), (1e30, 3)]
)
def test_a_joint_without_a_place_is_not_seen(
    form: str, place: tuple[float, float], tmp_path: Path
) -> None:
    places = POSES.copy()
    places[1, ANKLE] = place
    poses = read(WRITERS[form](tmp_path, places, None))
    assert poses.report() == "left out 1 of 4 poses: 1 lack a joint (most often r_ankle)"
    np.testing.assert_allclose(pixels(poses), POSES[[0, 2, 3]], atol=0.01)


def test_centred_poses_are_left_out_and_said_why(tmp_path: Path) -> None:
    places = POSES.copy()
    places[:2] -= places[:2].mean(axis=1, keepdims=True)
    with_hint = r"left out 2 of 4 poses: 2 lack a joint \(most often \w+; joints at \(0, 0\) or "
    with_hint += r"with both coordinates below 0 are not seen\)"
    assert re.fullmatch(with_hint, read(npz_file(tmp_path, places, None)).report())


@pytest.mark.parametrize("form", WRITERS)
@pytest.mark.parametrize("confidence", [0, 0.0, 0.02, 0.3, 0.59, -1, NAN])
def test_a_joint_without_confidence_is_not_seen(
    form: str, confidence: float, tmp_path: Path
) -> None:
    sure = np.full(POSES.shape[:2], 0.95)
    sure[1, ANKLE] = confidence
    poses = read(WRITERS[form](tmp_path, POSES, sure))
    assert poses.report() == "left out 1 of 4 poses: 1 lack a joint (most often r_ankle)"
    np.testing.assert_allclose(pixels(poses), POSES[[0, 2, 3]], atol=0.01)


@pytest.mark.parametrize("form", WRITERS)
def test_joints_out_of_the_image_or_just_sure_are_seen(form: str, tmp_path: Path) -> None:
    places, sure = POSES.copy(), np.full(POSES.shape[:2], 0.95)
    places[0, ANKLE] = -4, 200
    places[1, ANKLE] = 0, 200
    sure[2, ANKLE] = 0.6
    poses = read(WRITERS[form](tmp_path, places, sure))
    assert not poses.report()
    np.testing.assert_allclose(pixels(poses), places, atol=0.01)


def test_the_threshold_is_a_setting(tmp_path: Path) -> None:
    path = npz_file(tmp_path, POSES, np.full(POSES.shape[:2], 0.3))
    with pytest.raises(InputError, match=r"p\.npz: none of its 4 .*lower data\.folder\.min_conf"):
        read(path)
    assert len(read(path, threshold=0.3).poses_2d) == 4
    path = npz_file(tmp_path, POSES, np.zeros(POSES.shape[:2]))
    with pytest.raises(InputError, match="none of its 4 poses"):
        read(path, threshold=0.0)


@pytest.mark.parametrize("form", WRITERS)
@pytest.mark.parametrize("confidence", [95.0, 3.0, 1.5, INF])
def test_confidences_that_are_none_are_refused(
    form: str, confidence: float, tmp_path: Path
) -> None:
    """Of per cent, min_confidence would take all."""
    sure = np.full(POSES.shape[:2], confidence)
    with pytest.raises(
        InputError, match=rf"p\..*: a confidence is {confidence:g}; scale it to 0 to 1"
    ):
        read(WRITERS[form](tmp_path, POSES, sure))


def test_every_confidence_of_an_npz_is_judged(tmp_path: Path) -> None:
    per_cent = np.full(POSES.shape[:2], 95.0)
    np.savez(tmp_path / "p.npz", poses_2d=POSES, visibility=per_cent / 95, scores=per_cent)
    with pytest.raises(InputError, match="a confidence is 95"):
        read(tmp_path / "p.npz")


def test_peaks_of_heatmaps_may_pass_1_by_a_little(tmp_path: Path) -> None:
    assert len(read(npz_file(tmp_path, POSES, np.full(POSES.shape[:2], 1.05))).poses_2d) == 4


@pytest.mark.parametrize("visibility", [1, 2])
def test_labelled_joints_of_coco_are_seen_hidden_or_not(visibility: int, tmp_path: Path) -> None:
    path = coco_file(tmp_path, POSES, np.full(POSES.shape[:2], visibility, float))
    assert len(read(path, threshold=1.0).poses_2d) == 4


def test_joints_that_the_skeleton_does_not_need_may_be_unseen(tmp_path: Path) -> None:
    places = np.random.default_rng(0).uniform(50, 400, (3, 25, 2))
    places[:, LAYOUTS["openpose25"].index("l_big_toe")] = 0
    np.savez(tmp_path / "p.npz", poses_2d=places)
    assert not read(tmp_path / "p.npz", "openpose25").report()


def test_why_poses_are_left_out_is_said_of_each(tmp_path: Path) -> None:
    places = np.concatenate([POSES, POSES])
    places[0] = 0
    places[1, 3] = places[2, 3] = 0
    places[2, 4] = 0
    places[3] = 0.3 + places[3] / 1000  # shares of the image instead of pixels
    poses = read(npz_file(tmp_path, places, None))
    assert poses.left_out == {
        "have no joint that is seen": 1,
        "lack a joint (most often r_ankle)": 2,
        "are smaller than 2 pixels": 1,
    }
    assert poses.samples["frame"].tolist() == [4, 5, 6, 7]


def test_a_prior_with_nan_is_taken_without_it(tmp_path: Path) -> None:
    folder = tiny_dataset(tmp_path / "tiny", prior=6)
    prior = np.load(folder / "prior/poses_2d.npy")
    prior[2, 0, 0] = np.nan
    np.save(folder / "prior/poses_2d.npy", prior)
    poses = read(folder)
    assert len(poses.poses_2d) == 5
    assert poses.report() == "left out 1 of 6 poses: 1 are not finite"


# COCO.

ROW = np.column_stack([POSES[0], np.full(17, 2)]).ravel().tolist()


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "latin-1"])
def test_coco_in_any_encoding(encoding: str, tmp_path: Path) -> None:
    path = coco(tmp_path / "p.json", [{"keypoints": ROW}], encoding, info="Größe")
    np.testing.assert_allclose(pixels(read(path)), POSES[:1], atol=0.01)


@pytest.mark.parametrize(
    ("other", "reason"),
    [
        (None, "1 null"),
        ({"keypoints": None}, "1 without keypoints"),
        ({"keypoints": []}, "1 without keypoints"),
        ({"bbox": [1, 2, 3, 4]}, "1 without keypoints"),
        ({"iscrowd": 1, "segmentation": {"counts": [1]}}, "1 crowds"),
        ({"iscrowd": 1, "keypoints": ROW}, "1 crowds"),
        ({"category_id": 9, "keypoints": [1]}, "1 of category 9"),
        ({"keypoints": [None, *ROW[1:]]}, "1 lack a joint (most often pelvis)"),
        ({"keypoints": [0] * 51}, "1 have no joint that is seen"),
    ],
)
def test_other_entries_of_coco_are_left_out_and_counted(
    other: Any, reason: str, tmp_path: Path
) -> None:
    poses = read(coco(tmp_path / "p.json", [other, {"keypoints": ROW}]))
    assert poses.report() == f"left out 1 of 2 poses: {reason}"
    np.testing.assert_allclose(pixels(poses), POSES[:1], atol=0.01)


@pytest.mark.parametrize(
    ("images", "size"),
    [
        ([{"id": 5, "width": None, "height": None}], [0, 0]),
        ([{"id": "5", "width": 640.0, "height": 480}], [640, 480]),
        ([{"id": 5.0, "width": 640, "height": 480}], [640, 480]),
        ([{"file_name": "a.png", "width": 640, "height": 480}], [0, 0]),
        (None, [0, 0]),
        ([], [0, 0]),
    ],
)
def test_images_of_coco_need_not_say_their_size(
    images: Any, size: list[int], tmp_path: Path
) -> None:
    poses = read(coco(tmp_path / "p.json", [{"keypoints": ROW}], images=images))
    assert poses.samples["source_size"].tolist() == [size]


def categories(*more: dict[str, Any]) -> list[dict[str, Any]]:
    return [{"id": 1, "name": "person", "keypoints": list(BODY.joints)}, *more]


def test_all_categories_of_bodies_are_taken_or_the_named_one(tmp_path: Path) -> None:
    order = np.random.default_rng(0).permutation(17)
    child = {"id": 2, "name": "child", "keypoints": [BODY.joints[i] for i in order]}
    cat = {"id": 3, "name": "cat", "keypoints": ["tail"]}
    shuffled = np.column_stack([POSES[1][order], np.full(17, 2)]).ravel().tolist()
    rows = [
        {"keypoints": ROW},
        {"category_id": 2, "keypoints": shuffled},
        {"category_id": 3, "keypoints": [1, 2, 2]},
    ]
    path = coco(tmp_path / "p.json", rows, categories=categories(child, cat))
    both = read(path)
    np.testing.assert_allclose(pixels(both), POSES[:2], atol=0.01)
    assert both.report() == "left out 1 of 3 poses: 1 of category cat"
    one = read(path, category="child")
    np.testing.assert_allclose(pixels(one), POSES[1:2], atol=0.01)
    assert one.report() == "left out 2 of 3 poses: 1 of category person, 1 of category cat"
    with pytest.raises(InputError, match=r"category=dog: not found; it has person, child, cat"):
        read(path, category="dog")
    with pytest.raises(InputError, match="has no joint for pelvis"):
        read(path, category="cat")


@pytest.mark.parametrize(
    ("annotations", "changes", "says"),
    [
        (None, {}, "annotations is null; give a list"),
        ({"1": {}}, {}, "annotations is {'1': {}}; give a list"),
        ([3], {}, r"annotations\[0\] is 3; give a mapping"),
        ([{"id": 7, "keypoints": "x"}], {}, r"annotations\[0\] \(id 7\) has 'x', its category 17"),
        ([{"id": 7, "keypoints": ["x"] * 51}], {}, r"keypoints of annotations\[0\] \(id 7\) are"),
        ([{"keypoints": ROW[:34]}], {}, "has 11.3333 joints, its category 17"),
        ([{"keypoints": ROW}], {"categories": None}, "categories is null"),
        ([{"keypoints": ROW}], {"categories": [None]}, r"categories\[0\] is null"),
        ([{"keypoints": ROW}], {"images": [{"id": 5, "width": -3}]}, r"\[0\] \(id 5\) is -3 x 0"),
        ([{"keypoints": ROW}], {"categories": categories({"id": 1, "keypoints": ["a"]})}, "id 1"),
        ([], {}, "none of its 0 poses can be used"),
    ],
)
def test_coco_that_cannot_be_read_names_the_entry(
    annotations: Any, changes: dict[str, Any], says: str, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=says) as raised:
        read(coco(tmp_path / "p.json", annotations, **changes))
    assert "p.json: " in str(raised.value)
    assert "\n" not in str(raised.value)


def test_an_annotation_without_category_belongs_to_the_only_one(tmp_path: Path) -> None:
    row = {"keypoints": ROW, "category_id": None}
    assert len(read(coco(tmp_path / "p.json", [row])).poses_2d) == 1
    two = categories({"id": 2, "name": "child", "keypoints": list(BODY.joints)})
    with pytest.raises(InputError, match="has no category_id"):
        read(coco(tmp_path / "p.json", [row], categories=two))


def test_a_long_file_name_keeps_clips_apart(tmp_path: Path) -> None:
    rows = [{"keypoints": ROW, "image_id": number} for number in range(3)]
    poses = read(coco(tmp_path / f"{'x' * 80}.json", rows))
    assert len(set(poses.samples["clip"].tolist())) == 3


# DeepLabCut.


def test_csv_as_other_programs_save_it(tmp_path: Path) -> None:
    plain = csv_file(tmp_path, POSES, None).read_bytes()
    lines = plain.decode().replace("\r\n", "\n")
    forms = {
        "mark": b"\xef\xbb\xbf" + plain,
        "utf16": lines.encode("utf-16"),
        "latin": plain.replace(b",me", ",Jürgen".encode("latin-1")),
        "mac": lines.replace("\n", "\r").encode(),
        "blank first": b"\r\n" + plain,
        "blank last": plain + b"\r\n\r\n",
        "blank between": lines.replace("\n", "\n\n").encode(),
        "cells without content": plain + b"," * 34,
        "semicolons": lines.replace(",", ";").encode(),
        "tabs": lines.replace(",", "\t").encode(),
        "decimal commas": lines.replace(",", ";").replace(".", ",").encode(),
        "quoted": "\n".join(
            ",".join(f'"{cell}"' for cell in line.split(",")) for line in lines.splitlines()
        ).encode(),
        "a note of the separator": b"sep=;\n" + lines.replace(",", ";").encode(),
        "capitals": lines.replace("coords,x,y", "Coords,X,Y").encode(),
    }
    for name, content in forms.items():
        (tmp_path / "q.csv").write_bytes(content)
        poses = read(tmp_path / "q.csv")
        np.testing.assert_allclose(pixels(poses), POSES, atol=0.01, err_msg=name)
        assert not poses.report(), name


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda text: text.replace("\n1,", "\n1,7,"), "line 5 has 36 cells, its header 35"),
        (lambda text: text.replace("coords,x,y", "coords,x,z"), "its columns are not scorer"),
        (
            lambda text: text.replace("coords,x,y", "coords,x,x"),
            "two columns me pelvis x;",
        ),
        (lambda text: text.replace("scorer,me", "scorer"), "the lines of its header differ"),
        (lambda text: text[: text.index("\n0,")], "none of its 0 poses"),
    ],
)
def test_csv_that_cannot_be_read_names_the_line(
    change: Callable[[str], str], says: str, tmp_path: Path
) -> None:
    path = csv_file(tmp_path, POSES, None)
    path.write_text(change(path.read_text()))
    with pytest.raises(InputError, match=says) as raised:
        read(path)
    assert "p.csv: " in str(raised.value)


def test_cells_may_hold_words(tmp_path: Path) -> None:
    path = csv_file(tmp_path, POSES, np.ones(POSES.shape[:2]))
    rows = [line.split(",") for line in path.read_text().splitlines()]
    for row, word in zip(rows[3:], ("True", "NA", "false", "None"), strict=True):
        row[3] = word  # the likelihood of the first joint
    path.write_text("\n".join(map(",".join, rows)))
    np.testing.assert_allclose(pixels(read(path)), POSES[:1], atol=0.01)


def in_blocks(
    columns: list[tuple[str, ...]], values: NDArray[np.float64]
) -> tuple[list[Block], NDArray[np.float64]]:
    """Columns as pandas groups them by type, and the values as stored."""
    kinds = {"x": np.dtype("<f8"), "y": np.dtype("<f4"), "likelihood": np.dtype("<i8")}
    stored = values.copy()
    blocks: list[Block] = []
    for coord, kind in kinds.items():
        own = [i for i, column in enumerate(columns) if column[-1] == coord]
        blocks.append(([columns[i] for i in own], values[:, own].astype(kind)))
        stored[:, own] = blocks[-1][1]
    return blocks, stored


@pytest.mark.parametrize("write", [fixed_h5, table_h5])
@pytest.mark.parametrize("individuals", [(), ("a", "b")])
def test_h5_of_any_layout_equals_its_csv(
    write: Callable[..., Path], individuals: tuple[str, ...], tmp_path: Path
) -> None:
    rng = np.random.default_rng(1)
    whose = [("me", who) for who in individuals] or [("me",)]
    columns = [
        (*who, joint, coord)
        for who in whose
        for joint in ("nose", "Ohr", "Füße")
        for coord in ("x", "y", "likelihood")
    ]
    values = rng.uniform(10, 300, (5, len(columns)))
    for i, column in enumerate(columns):
        if column[-1] == "likelihood":
            values[:, i] = rng.integers(0, 2, 5)
    blocks, stored = in_blocks(columns, values)
    path = tmp_path / "p.csv"
    titles = ["scorer", *(["individuals"] if individuals else []), "bodyparts", "coords"]
    with path.open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerows(
            [title, *(column[level] for column in columns)] for level, title in enumerate(titles)
        )
        writer.writerows([number, *row] for number, row in enumerate(stored.tolist()))
    expected, found = (
        read_deeplabcut(path),
        read_deeplabcut(write(tmp_path / "p.h5", columns, blocks)),
    )
    assert list(found.names) == list(expected.names) == ["nose", "Ohr", "Füße"]
    np.testing.assert_allclose(found.places, expected.places, rtol=1e-6)
    np.testing.assert_array_equal(found.confidence, expected.confidence)
    np.testing.assert_array_equal(found.samples["frame"], expected.samples["frame"])


def test_of_several_tables_deeplabcuts_is_read(tmp_path: Path) -> None:
    columns, values = table(POSES, None)
    path = fixed_h5(tmp_path / "p.h5", columns, [(columns, values * 2)], key="a")
    assert len(read(path).poses_2d) == 4, "the only table, of whatever name"
    table_h5(path, columns, [(columns, values * 3)], key="deep/er")
    with pytest.raises(InputError, match=r"holds 2 tables: a, deep/er"):
        read(path)
    fixed_h5(path, columns, [(columns, values)])
    np.testing.assert_allclose(pixels(read(path)), POSES, atol=0.01)


def test_h5_that_lacks_numbers_is_refused(tmp_path: Path) -> None:
    columns, values = table(POSES, None)
    with pytest.raises(InputError, match="no numbers for me r_wrist"):
        read(fixed_h5(tmp_path / "a.h5", columns, [(columns[:-2], values[:, :-2])]))
    with pytest.raises(InputError, match="has 33 names"):
        read(fixed_h5(tmp_path / "b.h5", columns, [(columns[:-1], values)]))
    text = values.astype("S5")
    with pytest.raises(InputError, match="some columns are not numbers"):
        read(fixed_h5(tmp_path / "c.h5", columns, [(columns, text)]))


# npz.


@pytest.mark.parametrize(
    ("arrays", "says"),
    [
        ({"poses_2d": POSES.astype("U9")}, "poses_2d is of type <U9, not numbers"),
        ({"poses_2d": POSES[:0]}, r"shape \(0, 17, 2\)"),
        ({"poses_2d": POSES + 0j}, "not numbers"),
        ({"poses_2d": np.concatenate([POSES, POSES[..., :1]], axis=-1)}, "third coordinate"),
        ({"confidence": np.ones(5)}, r"confidence has shape \(5,\), expected \(4, 17\)"),
        ({"confidences": np.zeros((4, 17))}, "confidences is not known, call it confidence"),
        ({"Clip": ["a"]}, "Clip is not known, call it clip"),
        ({"focal": -900.0}, "focal holds -900; give pixels above 0"),
        ({"focal": [900.0, np.inf]}, "focal holds inf"),
        ({"focal": 0.0}, "focal holds 0"),
        ({"source_size": [640, -1]}, "source_size holds -1"),
        ({"clip": ["x" * 65]}, "clip has names of over 64 characters"),
        ({"person": ["a", "b"]}, r"person has shape \(2,\), expected \(4,\)"),
        (
            {"joints": ["LEFT_HIP", *BODY.joints[1:]]},
            "joints LEFT_HIP and l_hip are one",
        ),
    ],
)
def test_npz_that_cannot_be_read_names_the_array(
    arrays: dict[str, Any], says: str, tmp_path: Path
) -> None:
    np.savez(tmp_path / "p.npz", **{"poses_2d": POSES} | arrays)
    with pytest.raises(InputError, match=says) as raised:
        read(tmp_path / "p.npz")
    assert "p.npz: " in str(raised.value)


def test_names_in_the_file_go_before_a_named_order(tmp_path: Path) -> None:
    np.savez(tmp_path / "p.npz", poses_2d=POSES, joints=[j.upper() for j in BODY.joints])
    np.testing.assert_allclose(pixels(read(tmp_path / "p.npz", "h36m17")), POSES, atol=0.01)
    with pytest.raises(InputError, match=r"another order than data\.folder\.joints=mpi17"):
        read(tmp_path / "p.npz", "mpi17")


def test_arrays_of_the_user_s_own_are_named_and_not_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    own = {"poses_3d": np.zeros((4, 17, 3)), "source_pose": np.arange(4), "camera": ["a"] * 4}
    np.savez(tmp_path / "p.npz", poses_2d=POSES, **own)
    np.testing.assert_allclose(pixels(read(tmp_path / "p.npz")), POSES, atol=0.01)
    said = f"{tmp_path / 'p.npz'}: poses_3d, source_pose, camera not read; known are poses_2d,"
    assert said in capsys.readouterr().err


def test_npz_may_leave_cameras_open(tmp_path: Path) -> None:
    np.savez(
        tmp_path / "p.NPZ.npz",
        poses_2d=POSES.astype(np.float32),
        joints=np.array([joint.encode() for joint in BODY.joints]),
        focal=np.nan,
        source_size=[[640, 480], [0, 0], [640, 480], [640, 480]],
    )
    (tmp_path / "p.NPZ.npz").rename(tmp_path / "p.NPZ")
    poses = read(tmp_path / "p.NPZ")
    assert np.isnan(poses.samples["focal"]).all()
    assert poses.samples["principal"][0].tolist() == [320, 240]
    assert np.isnan(poses.samples["principal"][1]).all()


# Names of joints.

SPELLINGS: dict[str, Callable[[str, str], str]] = {
    "LEFT_HIP": lambda side, joint: f"{side}_{joint}".upper(),
    "leftHip": lambda side, joint: f"{side}{joint.title()}",
    "LeftHip": lambda side, joint: f"{side.title()}{joint.title()}",
    "Left Hip": lambda side, joint: f"{side.title()} {joint.title()}",
    "L_HIP": lambda side, joint: f"{side[0]}_{joint}".upper(),
    "LHip": lambda side, joint: f"{side[0].upper()}{joint.title()}",
    "LHIP": lambda side, joint: f"{side[0]}{joint}".upper(),
    "hip_l": lambda side, joint: f"{joint}_{side[0]}",
    "hip.L": lambda side, joint: f"{joint}.{side[0].upper()}",
    "HipLeft": lambda side, joint: f"{joint.title()}{side.title()}",
    "Hip (left)": lambda side, joint: f"{joint.title()} ({side})",
}


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_a_joint_is_the_same_in_every_spelling(spelling: str, tmp_path: Path) -> None:
    def spelt(name: str) -> str:
        side, _, joint = name.partition("_")
        full = {"l": "left", "r": "right"}.get(side)
        return SPELLINGS[spelling](full, joint) if full else name.upper()

    names = np.array([spelt(name) for name in BODY.joints])
    assert spelling in names
    np.savez(tmp_path / "p.npz", poses_2d=POSES, joints=names)
    np.testing.assert_allclose(pixels(read(tmp_path / "p.npz")), POSES, atol=0.01)


def test_what_a_skeleton_in_capitals_lacks_is_derived(tmp_path: Path) -> None:
    text = json.dumps({key: value for key, value in BODY.to_mapping().items() if key != "head"})
    for joint in BODY.joints:
        text = text.replace(f'"{joint}"', f'"{joint.upper()}"')
    capitals = Skeleton.from_mapping(json.loads(text) | {"head": "HEAD"})
    path = coco_file(tmp_path, np.random.default_rng(3).uniform(50, 400, (2, 17, 2)), None)
    content = json.loads(path.read_text())
    content["categories"][0]["keypoints"] = COCO
    path.write_text(json.dumps(content))
    same = read_poses(path, BODY, 64, 0.1).poses_2d
    np.testing.assert_array_equal(read_poses(path, capitals, 64, 0.1).poses_2d, same)
