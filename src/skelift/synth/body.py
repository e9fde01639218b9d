"""Skinned bodies: their meshes, bones and skin weights."""

import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum
from functools import cached_property
from importlib.resources import files
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from skelift.errors import InputError

ASSETS = "assets"
# Files that the project makes but does not ship; docs/datasets.md describes them.
SOURCES = ("people_clothed.npz", "cmu_mocap_12fps.npz")
# Key of ``data.synth`` -> what it may name.
FORMS = {
    "bodies": f"a file of bodies (people_plain.npz, people_clothed.npz or {ASSETS})",
    "motion": f"a file of motion (cmu_mocap_12fps.npz), a folder of BVH files or {ASSETS}",
}


class Material(IntEnum):
    """What a vertex of a body is made of."""

    SKIN = 0
    CLOTH = 1
    SHOE = 2
    HAIR = 3


@dataclass(frozen=True)
class Body:
    """One person at rest: metres, Z up, facing -Y, the person's left at +X."""

    name: str
    vertices: NDArray[np.float32]  # (V, 3) rest positions
    faces: NDArray[np.uint32]  # (F, 3) vertices, counter-clockwise seen from outside
    material: NDArray[np.uint8]  # (V,) Material; all SKIN for a body without modelled clothes
    skin_bone: NDArray[np.uint8]  # (V, 4) bones that move each vertex
    skin_weight: NDArray[np.float32]  # (V, 4) their weights, summing to 1
    bone_names: tuple[str, ...]
    bone_parents: NDArray[np.int64]  # (B,) parent of each bone, -1 at the root; parents come first
    bone_heads: NDArray[np.float64]  # (B, 3) joint about which each bone turns

    @property
    def clothed(self) -> bool:
        """Whether clothes are modelled."""
        return bool((self.material == Material.CLOTH).any())

    @cached_property
    def strongest_bone(self) -> NDArray[np.uint8]:
        """(V,) bone that moves each vertex most."""
        heaviest = self.skin_weight.argmax(axis=1)
        return self.skin_bone[np.arange(len(heaviest)), heaviest]

    @cached_property
    def normals(self) -> NDArray[np.float32]:
        """(V, 3) unit vertex normals at rest."""
        from skelift.synth.kernels import vertex_normals

        return vertex_normals(self.vertices, self.faces)

    def bone(self, name: str) -> int:
        """Index of a bone."""
        return self.bone_names.index(name)

    def head_of(self, name: str) -> NDArray[np.float64]:
        """(3,) joint about which a bone turns."""
        return self.bone_heads[self.bone(name)]

    def moved_by(self, *prefixes: str) -> NDArray[np.bool_]:
        """(V,) whether the name of the strongest bone starts with one of the prefixes."""
        chosen = np.array([name.startswith(prefixes) for name in self.bone_names])
        return chosen[self.strongest_bone]


class _Arrays(dict[str, NDArray[Any]]):
    """Arrays of an .npz file of ``bodies`` or ``motion``; InputError for one that it lacks."""

    def __init__(self, source: str, content: str, arrays: Mapping[str, NDArray[Any]]) -> None:
        super().__init__(arrays)
        self._source, self._content = source, content

    def __missing__(self, name: str) -> NDArray[Any]:
        raise InputError(f"{self._source}: has no array {name!r}; name {FORMS[self._content]}")


def load_npz(source: str, content: str) -> dict[str, NDArray[Any]]:
    """Read a whole .npz file, or that of the package for ``assets``, into memory.

    ``content`` is ``bodies`` or ``motion``, the key of ``data.synth`` that names the file.

    Raises:
        InputError: missing or unreadable; later, when an array is asked for that it lacks.
    """
    inside = files("skelift.assets") / f"{content}.npz"
    path = Path(source)
    try:
        # An open NpzFile decompresses again at each access.
        with (inside if source == ASSETS else path).open("rb") as file:
            return _Arrays(source, content, np.load(file, allow_pickle=False))
    except FileNotFoundError:
        fix = f"name an .npz file of {content}, or {ASSETS} for the package's"
        if path.name in SOURCES:
            fix = (
                f"set SKELIFT_DATA to the folder that has {path.name} "
                "(docs/datasets.md says how to make it)"
            )
        raise InputError(f"data.synth.{content}={source}: not found; {fix}") from None
    except (ValueError, OSError, EOFError, TypeError, BadZipFile, zlib.error) as error:
        raise InputError(f"{source}: cannot be read as .npz file of {content} ({error})") from None


def load_bodies(source: str) -> list[Body]:
    """Load the bodies of an .npz file, or those inside the package for ``assets``.

    Two forms are read: plain people share one mesh (``rest_vertices_0p1mm`` and ``faces``),
    clothed people have a mesh each (``vertices_0p1mm_NN``, ``faces_NN``, ``material_NN`` ...).

    Raises:
        InputError: the file is missing, unreadable or of another form.
    """
    arrays = load_npz(source, "bodies")
    return [_body(arrays, index) for index in range(len(arrays["bone_heads_m"]))]


def _body(arrays: Mapping[str, NDArray[Any]], index: int) -> Body:
    if "rest_vertices_0p1mm" in arrays:
        vertices, own = arrays["rest_vertices_0p1mm"][index], ""
        material = np.zeros(len(vertices))
    else:
        own = f"_{index:02d}"
        vertices, material = arrays[f"vertices_0p1mm{own}"], arrays[f"material{own}"]
    weight = arrays[f"skin_weight{own}"].astype(np.float32)
    return Body(
        name=f"person_{index:02d}",
        vertices=(vertices / 10_000).astype(np.float32),
        faces=np.ascontiguousarray(arrays[f"faces{own}"], dtype=np.uint32),
        material=material.astype(np.uint8),
        skin_bone=arrays[f"skin_bone{own}"].astype(np.uint8),
        skin_weight=weight / weight.sum(axis=1, keepdims=True),
        bone_names=tuple(arrays["bone_labels"].tolist()),
        bone_parents=arrays["bone_parents"].astype(np.int64),
        bone_heads=arrays["bone_heads_m"][index].astype(np.float64),
    )
