"""DeepLabCut's tables, labelled by hand or predicted: CSV and HDF5 (.h5).

A row is an image, a column one of x, y and likelihood of a body part; its name has the levels
scorer, (individuals,) bodyparts, coords. Labelled tables have no likelihood and are empty (NaN)
where a part is not seen.
"""

import csv
import io
import pickle  # restricted below: lists, tuples and strings, and never a class
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skelift.data.raw_poses import RawPoses, records
from skelift.errors import InputError
from skelift.text import read_text, reason

COORDS = ("x", "y", "likelihood")
DELIMITERS = ",;\t"
# What a cell may hold instead of a number.
WORDS = dict.fromkeys(("", "na", "n/a", "#n/a", "null", "none"), np.nan) | {"true": 1, "false": 0}
KEY = "df_with_missing"  # under which DeepLabCut stores its table

Column = tuple[str, ...]  # levels of a column's name, from the scorer down to the coordinate
Table = tuple[list[Column], NDArray[np.float64]]  # (rows, columns) values


def read_deeplabcut(path: Path) -> RawPoses:
    """Read a table; of several animals the poses of the first come first.

    Places are NaN where the table is empty, or lacks a body part for an animal.

    Raises:
        InputError: not a DeepLabCut table, or a broken file.
    """
    columns, values = _read_csv(path) if path.suffix.lower() == ".csv" else _read_h5(path)
    columns = [(*column[:-1], column[-1].strip().lower()) for column in columns]
    if not columns or any(len(c) not in (3, 4) or c[-1] not in COORDS for c in columns):
        raise InputError(
            f"{path}: its columns are not scorer, bodyparts, coords (x, y, likelihood); give a "
            "table that DeepLabCut wrote"
        )
    twice = [column for column, count in Counter(columns).items() if count > 1]
    if twice:
        raise InputError(f"{path}: has two columns {' '.join(twice[0])}; keep one")
    parts = list(dict.fromkeys(column[-2] for column in columns))
    animals = list(dict.fromkeys(column[:-2] for column in columns))
    poses = np.full((len(animals), len(values), len(parts), len(COORDS)), np.nan)
    poses[..., 2] = 1  # where the table has no likelihood
    for column, series in zip(columns, values.T, strict=True):
        place = animals.index(column[:-2]), slice(None), parts.index(column[-2])
        poses[(*place, COORDS.index(column[-1]))] = series
    rows = poses.reshape(-1, len(parts), len(COORDS))
    samples = records(len(rows))
    samples["frame"] %= max(len(values), 1)
    samples["clip"] = path.stem[:64]
    return RawPoses(parts, rows[..., :2], rows[..., 2], samples)


def _read_csv(path: Path) -> Table:
    try:
        text = re.sub(r"\A\s*sep=.\n", "", read_text(path))  # a note of spreadsheets
        lines = list(csv.reader(io.StringIO(text), delimiter=_delimiter(text)))
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path}: cannot be read as CSV ({error}); restore the file") from None
    rows = [(n, row) for n, row in enumerate(lines, start=1) if any(map(str.strip, row))]
    titles = [row[0].strip().lower() for _, row in rows[:4]]
    if "coords" not in titles:
        raise InputError(
            f"{path}: no line `coords` among the first four; give a table that DeepLabCut wrote"
        )
    depth = titles.index("coords") + 1
    header, body = [row for _, row in rows[:depth]], rows[depth:]
    width = len(header[-1])
    if any(len(row) != width for row in header):
        raise InputError(f"{path}: the lines of its header differ in length; restore the file")
    # A labelled table may spell an image's path in several columns, which have no coordinate.
    used = [i for i, coord in enumerate(header[-1]) if i and coord.strip()]
    columns = [tuple(level[i].strip() for level in header) for i in used]
    values = [_csv_row(path, number, row, used, width) for number, row in body]
    return columns, np.array(values, dtype=np.float64).reshape(len(values), len(used))


def _delimiter(text: str) -> str:
    """What parts the cells: what there is most of in the line `coords`."""
    for line in text.lstrip().split("\n", 8)[:8]:
        if line.strip().strip('"').lower().startswith("coords"):
            return max(DELIMITERS, key=line.count)
    return ","


def _csv_row(
    path: Path, number: int, row: Sequence[str], used: Iterable[int], width: int
) -> list[float]:
    if any(cell.strip() for cell in row[width:]):
        raise InputError(
            f"{path}: line {number} has {len(row)} cells, its header {width}; restore the file"
        )
    cells = [*row, *[""] * (width - len(row))]
    try:
        return [_number(cells[i].strip().lower()) for i in used]
    except ValueError as error:
        raise InputError(f"{path}: line {number} is broken ({error}); restore it") from None


def _number(cell: str) -> float:
    if cell in WORDS:
        return WORDS[cell]
    return float(cell.replace(",", "."))  # some languages write 1,5


def _read_h5(path: Path) -> Table:
    """Both forms in which pandas writes a table, without pandas' pickles of objects."""
    try:
        import h5py
    except ImportError:
        raise InputError(
            f"{path}: needs h5py; install it with: pip install 'skelift[datasets]'"
        ) from None
    try:
        with h5py.File(path) as file:
            group = _table_in(path, file)
            return _appendable(group) if "table" in group else _fixed(group)
    except InputError:
        raise
    except Exception as error:  # HDF5 meets a broken file with whatever it ran into
        raise InputError(
            f"{path}: cannot be read as a DeepLabCut table ({reason(error)}); save it as CSV"
        ) from None


def _table_in(path: Path, file: Any) -> Any:
    """The group of DeepLabCut's key, or the only one that is a table."""
    tables: dict[str, Any] = {}

    def visit(name: str, node: Any) -> None:
        if hasattr(node, "keys") and ("table" in node or "axis0_nlevels" in node.attrs):
            tables[name] = node

    file.visititems(visit)
    if KEY in tables:
        return tables[KEY]
    if not tables:
        raise InputError(f"{path}: holds no table of pandas; give one that DeepLabCut wrote")
    if len(tables) != 1:
        raise InputError(
            f"{path}: holds {len(tables)} tables: {', '.join(tables)}; give a file with one, or "
            f"with {KEY}, as DeepLabCut writes it"
        )
    return next(iter(tables.values()))


def _appendable(group: Any) -> Table:
    """Pandas' format="table": one record per row, with an array for all columns of a type.

    The names of an array's columns are an attribute, pickled.
    """
    table = group["table"]
    rows = table[()]
    blocks = []
    for name in rows.dtype.names:
        if name == "index":
            continue
        names = _unpickled(table.attrs[f"{name}_kind"])
        blocks.append((names, rows[name].reshape(len(rows), -1)))
    axes = _unpickled(group.attrs["non_index_axes"]) if "non_index_axes" in group.attrs else []
    return _joined(blocks, _columns(axes[0][1]) if axes else [])


def _fixed(group: Any) -> Table:
    """Pandas' format="fixed": an array for all columns of a type."""
    blocks = []
    for number in range(int(group.attrs["nblocks"])):
        stored = group[f"block{number}_values"]
        if "shape" in stored.attrs:  # a stand-in, since HDF5 stores no empty array
            raise ValueError("it has no rows")
        values = stored[()]
        upright = values if stored.attrs.get("transposed", True) else values.T
        blocks.append((_levels(group, f"block{number}_items"), upright))
    return _joined(blocks, _levels(group, "axis0"))


def _levels(group: Any, axis: str) -> list[Column]:
    """Names of columns: each of their levels has its values, and one code per column."""
    levels = []
    for level in range(int(group.attrs[f"{axis}_nlevels"])):
        values = [_text(value) for value in group[f"{axis}_level{level}"][()]]
        codes = group[f"{axis}_label{level}"][()].tolist()
        if any(code < 0 for code in codes):
            raise ValueError("a column has no name")
        levels.append([values[code] for code in codes])
    return list(zip(*levels, strict=True))


def _joined(blocks: Iterable[tuple[Any, NDArray[Any]]], order: Sequence[Column]) -> Table:
    """All blocks side by side, their columns in the given order."""
    series: dict[Column, NDArray[np.float64]] = {}
    rows = 0
    for names, values in blocks:
        if values.dtype.kind not in "fiub":
            raise ValueError("some columns are not numbers")
        columns = _columns(names)
        if values.ndim != 2 or values.shape[1] != len(columns):
            raise ValueError(f"an array of shape {values.shape} has {len(columns)} names")
        if twice := [c for c, count in Counter(columns).items() if count > 1 or c in series]:
            raise ValueError(f"two columns {' '.join(twice[0])}")
        series |= zip(columns, values.T.astype(np.float64), strict=True)
        rows = len(values)
    if set(order) - set(series):
        raise ValueError(f"no numbers for {' '.join(min(set(order) - set(series)))}")
    columns = [*order, *(column for column in series if column not in order)]
    return columns, np.array([series[c] for c in columns]).reshape(len(columns), rows).T


def _columns(names: Any) -> list[Column]:
    if not isinstance(names, list) or not all(isinstance(name, tuple) for name in names):
        raise ValueError("column names are not a list of tuples")
    return [tuple(_text(level) for level in name) for name in names]


def _unpickled(pickled: Any) -> Any:
    content = pickled if isinstance(pickled, bytes) else np.asarray(pickled).tobytes()
    return _PlainUnpickler(io.BytesIO(content), encoding="utf-8").load()


class _PlainUnpickler(pickle.Unpickler):
    """Reads lists, tuples and strings; whatever would call anything is refused."""

    def find_class(self, module: str, name: str) -> Any:
        raise pickle.UnpicklingError(f"it names the class {module}.{name}")


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
