"""COCO keypoint files: annotated by hand, or by a program that gives scores for visibilities."""

import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from skelift.data.raw_poses import RawPoses, records
from skelift.errors import InputError
from skelift.text import read_text

Entry = Mapping[str, Any]


def read_coco(
    path: Path, fits: Callable[[Sequence[str]], bool], category: str = ""
) -> tuple[list[RawPoses], Counter[str]]:
    """Poses of each category in use, and how many annotations are none of them, by reason.

    Args:
        path: the file.
        fits: whether a skeleton can be made of joints of these names.
        category: name of the category to use; empty: all that fit, or the first with keypoints
            (whose names then do not fit).

    Raises:
        InputError: not COCO, or an entry of another form than COCO's.
    """
    content = _load(path)
    categories = [entry for _, entry in _entries(path, content, "categories")]
    used = _categories_in_use(path, categories, fits, category)
    names_of = {_id(entry.get("id")): str(entry.get("name", "?")) for entry in categories}
    sizes = _sizes(path, content)
    rows: dict[str, list[list[float]]] = {key: [] for key in used}
    images: dict[str, list[str]] = {key: [] for key in used}
    left_out: Counter[str] = Counter()
    for place, annotation in _entries(path, content, "annotations", left_out):
        key = _id(annotation.get("category_id"))
        if annotation.get("category_id") is None and "None" not in used:
            if len(used) > 1:
                raise InputError(f"{path}: {place} has no category_id; name its category")
            key = next(iter(used))
        if key not in used:
            left_out[f"of category {names_of.get(key, key)}"] += 1
        elif annotation.get("iscrowd"):
            left_out["crowds"] += 1
        elif not annotation.get("keypoints"):
            left_out["without keypoints"] += 1
        else:
            rows[key].append(_row(path, place, annotation["keypoints"], len(used[key])))
            images[key].append(_id(annotation.get("image_id", place)))
    found = []
    for key, names in used.items():
        values = np.array(rows[key], dtype=np.float64).reshape(-1, len(names), 3)
        samples = records(len(values))
        samples["clip"] = [f"{path.stem}/{image}"[-64:] for image in images[key]]
        samples["source_size"] = np.array([sizes.get(i, (0, 0)) for i in images[key]]).reshape(
            -1, 2
        )
        found.append(RawPoses(names, values[..., :2], values[..., 2], samples))
    return found, left_out


def _load(path: Path) -> Entry:
    try:
        content = json.loads(read_text(path))
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: cannot be read as JSON ({error}); restore the file") from None
    if not isinstance(content, dict) or not {"categories", "annotations"} <= set(content):
        raise InputError(f"{path}: lacks categories or annotations; give a COCO keypoints file")
    return content


def _entries(
    path: Path, content: Entry, key: str, left_out: Counter[str] | None = None
) -> Iterator[tuple[str, Entry]]:
    """Yield (place in words, entry) of a list of the file; null entries are counted."""
    entries = content[key]
    if not isinstance(entries, list):
        raise InputError(f"{path}: {key} is {_brief(entries)}; give a list")
    for number, entry in enumerate(entries):
        if entry is None and left_out is not None:
            left_out["null"] += 1
        elif isinstance(entry, dict):
            known = f" (id {_brief(entry['id'])})" if "id" in entry else ""
            yield f"{key}[{number}]{known}", entry
        else:
            raise InputError(f"{path}: {key}[{number}] is {_brief(entry)}; give a mapping")


def _categories_in_use(
    path: Path,
    categories: Sequence[Entry],
    fits: Callable[[Sequence[str]], bool],
    category: str,
) -> dict[str, list[str]]:
    """Id -> names of its keypoints, of each category to use."""
    listed: dict[str, list[str]] = {}
    matching = [entry for entry in categories if category in ("", str(entry.get("name")))]
    if not matching and category:
        raise InputError(
            f"{path}: data.folder.category={category}: not found; it has "
            f"{', '.join(str(entry.get('name')) for entry in categories) or 'no category'}"
        )
    for entry in matching:
        key, names = _id(entry.get("id")), entry.get("keypoints")
        if not names:
            continue
        if not isinstance(names, list):
            raise InputError(f"{path}: keypoints of category {key} are {_brief(names)}; list them")
        if key in listed:
            raise InputError(f"{path}: two categories have id {key}; give each its own")
        listed[key] = [str(name) for name in names]
    if not listed:
        raise InputError(f"{path}: no category lists keypoints; give a COCO keypoints file")
    return {key: names for key, names in listed.items() if fits(names)} or dict(
        [*listed.items()][:1]
    )


def _sizes(path: Path, content: Entry) -> dict[str, tuple[int, int]]:
    """Id of an image -> its width and height in pixels, 0 where the file does not say."""
    sizes: dict[str, tuple[int, int]] = {}
    for place, image in _entries(path, {"images": content.get("images") or []}, "images"):
        size = image.get("width") or 0, image.get("height") or 0
        if not all(isinstance(side, int | float) and 0 <= side < 2**31 for side in size):
            raise InputError(
                f"{path}: {place} is {_brief(size[0])} x {_brief(size[1])} pixels; correct its size"
            )
        if "id" in image:
            sizes[_id(image["id"])] = int(size[0]), int(size[1])
    return sizes


def _row(path: Path, place: str, values: Any, joints: int) -> list[float]:
    """x, y and visibility of each joint; null is NaN."""
    if not isinstance(values, list) or len(values) != 3 * joints:
        count = f"{len(values) / 3:g} joints" if isinstance(values, list) else _brief(values)
        raise InputError(
            f"{path}: {place} has {count}, its category {joints}; correct the annotation"
        )
    try:
        return [np.nan if value is None else float(value) for value in values]
    except (TypeError, ValueError, OverflowError):
        raise InputError(
            f"{path}: keypoints of {place} are not all numbers; correct the annotation"
        ) from None


def _id(value: Any) -> str:
    """An id for comparison: some programs write 1 as 1.0 or as a string."""
    whole = isinstance(value, float) and value.is_integer()
    return str(int(value) if whole else value)


def _brief(value: Any) -> str:
    """A value of the file for a message."""
    text = "null" if value is None else " ".join(repr(value).split())
    return text if len(text) < 40 else f"{text[:36]} ..."
