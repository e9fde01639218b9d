"""DeepLabCut's tables, labelled by hand or predicted: CSV and HDF5 (.h5).

A row is an image, a column one of x, y and likelihood of a body part; its name has the levels
scorer, (individuals,) bodyparts, coords. Labelled tables have no likelihood and are empty (NaN)
where a part is not seen.
"""

import csv
import io
import pickle  # restricted below: lists, tuples and strings, and never a class
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skelift.errors import InputError

SURE = 0.6  # DeepLabCut's own threshold (pcutoff) below which a predicted part is not trusted
COORDS = ("x", "y", "likelihood")

Column = tuple[str, ...]  # levels of a column's name, from the scorer down to the coordinate


def read_deeplabcut(path: Path) -> tuple[list[str], NDArray[np.float64]]:
    """Names of the body parts, and (M, K, 2) pixels of M poses; NaN where a part is not seen.

    Of a table with several animals each gives poses of its own; poses of which nothing is seen
    are left out.

    Raises:
        InputError: not a DeepLabCut table, or a broken file.
    """
    columns, values = _read_csv(path) if path.suffix == ".csv" else _read_h5(path)
    if not columns or any(len(c) not in (3, 4) or c[-1] not in COORDS for c in columns):
        raise InputError(
            f"{path}: its columns are not scorer, bodyparts, coords (x, y, likelihood); give a "
            "table that DeepLabCut wrote"
        )
    parts = list(dict.fromkeys(column[-2] for column in columns))
    animals = list(dict.fromkeys(column[:-2] for column in columns))
    poses = np.full((len(animals), len(values), len(parts), len(COORDS)), np.nan)
    for column, series in zip(columns, values.T, strict=True):
        place = animals.index(column[:-2]), slice(None), parts.index(column[-2])
        poses[(*place, COORDS.index(column[-1]))] = series
    unsure = poses[..., 2] < SURE  # never where there is no likelihood
    pixels = np.where(unsure[..., None], np.nan, poses[..., :2]).reshape(-1, len(parts), 2)
    return parts, pixels[np.isfinite(pixels).any(axis=(1, 2))]


def _read_csv(path: Path) -> tuple[list[Column], NDArray[np.float64]]:
    try:
        rows = list(csv.reader(io.StringIO(path.read_text())))
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path}: cannot be read as CSV ({error}); restore the file") from None
    titles = [row[0] for row in rows]
    if "coords" not in titles[:4]:
        raise InputError(
            f"{path}: no line `coords` among the first four; give a table that DeepLabCut wrote"
        )
    header, body = rows[: titles.index("coords") + 1], rows[titles.index("coords") + 1 :]
    # A labelled table may spell an image's path in several columns, which have no coordinate.
    used = [i for i, coord in enumerate(header[-1]) if coord in COORDS]
    columns = [tuple(level[i] for level in header) for i in used]
    try:
        values = [[float(row[i] or "nan") for i in used] for row in body if row]
    except (ValueError, IndexError) as error:
        raise InputError(f"{path}: a row is broken ({error}); restore the file") from None
    return columns, np.array(values, dtype=np.float64).reshape(len(values), len(used))


def _read_h5(path: Path) -> tuple[list[Column], NDArray[np.float64]]:
    """Both forms in which pandas writes a table, without pandas' pickles of objects."""
    try:
        import h5py
    except ImportError:
        raise InputError(
            f"{path}: needs h5py; install it with: pip install 'skelift[datasets]'"
        ) from None
    try:
        with h5py.File(path) as file:
            group = next((node for node in file.values() if isinstance(node, h5py.Group)), None)
            if group is None:
                raise InputError(f"{path}: holds no table; give one that DeepLabCut wrote")
            return _appendable(group) if "table" in group else _fixed(group)
    except (OSError, KeyError, ValueError, IndexError, pickle.UnpicklingError) as error:
        raise InputError(
            f"{path}: cannot be read as a DeepLabCut table ({error}); save it as CSV"
        ) from None


def _appendable(group: Any) -> tuple[list[Column], NDArray[np.float64]]:
    """Pandas' format="table": the names are an attribute, pickled; one block of numbers."""
    table = group["table"]
    pickled = table.attrs["values_block_0_kind"]
    content = pickled if isinstance(pickled, bytes) else np.asarray(pickled).tobytes()
    names = _PlainUnpickler(io.BytesIO(content), encoding="utf-8").load()
    if not isinstance(names, list) or not all(isinstance(name, tuple) for name in names):
        raise ValueError("column names are not a list of tuples")
    columns = [tuple(_text(level) for level in name) for name in names]
    return columns, np.asarray(table["values_block_0"], dtype=np.float64)


def _fixed(group: Any) -> tuple[list[Column], NDArray[np.float64]]:
    """Pandas' format="fixed": each level of the names has its values and one code per column."""
    levels = []
    for level in range(int(group.attrs["axis0_nlevels"])):
        values = [_text(value) for value in group[f"axis0_level{level}"][()]]
        levels.append([values[code] for code in group[f"axis0_label{level}"][()]])
    return list(zip(*levels, strict=True)), np.asarray(group["block0_values"], dtype=np.float64)


class _PlainUnpickler(pickle.Unpickler):
    """Reads lists, tuples and strings; whatever would call anything is refused."""

    def find_class(self, module: str, name: str) -> Any:
        raise pickle.UnpicklingError(f"it names the class {module}.{name}")


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
