"""Skinned bodies: their meshes, bones and skin weights."""

import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum
from functools import cached_property
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from skelift.errors import InputError

ASSETS = "assets"
# Files that the project makes but does not ship; docs/datasets.md describes them.
SOURCES = ("people_clothed.npz", "cmu_mocap_12fps.npz")


class Material(IntEnum):
    """What a vertex of a body is made of."""

    SKIN = 0
    CLOTH = 1
    SHOE = 2
    HAIR = 3


@dataclass(frozen=True)
class Body:
    """One person at rest: metres, Z up, facing -Y, the person's left at +X.

    Attributes:
        name: name of the person.
        vertices: (V, 3) float32 rest positions.
        faces: (F, 3) uint32 vertices, counter-clockwise seen from outside.
        material: (V,) uint8, see ``Material``; all SKIN for a body without modelled clothes.
        skin_bone: (V, 4) uint8 bones that move each vertex.
        skin_weight: (V, 4) float32 their weights, summing to 1.
        bone_names: names of the B bones.
        bone_parents: (B,) parent of each bone, -1 at the root; parents come first.
        bone_heads: (B, 3) float64 joint about which each bone turns.
    """

    name: str
    vertices: NDArray[np.float32]
    faces: NDArray[np.uint32]
    material: NDArray[np.uint8]
    skin_bone: NDArray[np.uint8]
    skin_weight: NDArray[np.float32]
    bone_names: tuple[str, ...]
    bone_parents: NDArray[np.int64]
    bone_heads: NDArray[np.float64]

    @property
    def clothed(self) -> bool:
        """Whether clothes are modelled."""
        return bool((self.material == Material.CLOTH).any())

    @cached_property
    def strongest_bone(self) -> NDArray[np.uint8]:
        """(V,) bone that moves each vertex most."""
        heaviest = self.skin_weight.argmax(axis=1)
        strongest: NDArray[np.uint8] = self.skin_bone[np.arange(len(heaviest)), heaviest]
        return strongest

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
        head: NDArray[np.float64] = self.bone_heads[self.bone(name)]
        return head

    def moved_by(self, *prefixes: str) -> NDArray[np.bool_]:
        """(V,) whether the name of the strongest bone starts with one of the prefixes."""
        chosen = np.array([name.startswith(prefixes) for name in self.bone_names])
        return chosen[self.strongest_bone]


def load_bodies(source: str) -> list[Body]:
    """Load the bodies of an .npz file, or those inside the package for ``assets``.

    Two forms are read: plain people share one mesh (``rest_vertices_0p1mm`` and ``faces``),
    clothed people have a mesh each (``vertices_0p1mm_NN``, ``faces_NN``, ``material_NN`` ...).

    Raises:
        InputError: the file is missing, unreadable or of another form.
    """
    if source == ASSETS:
        with as_file(files("skelift.assets") / "bodies.npz") as path:
            return _bodies_of(path)
    return _bodies_of(Path(source))


def load_npz(path: Path, content: str) -> dict[str, NDArray[Any]]:
    """Read a whole .npz file into memory.

    Args:
        path: the file.
        content: ``bodies`` or ``motion``, the key of ``data.synth`` that names it.

    Raises:
        InputError: missing or unreadable.
    """
    try:
        # An open NpzFile decompresses again at each access.
        with np.load(path, allow_pickle=False) as archive:
            return dict(archive)
    except FileNotFoundError:
        fix = f"name an .npz file of {content}, or {ASSETS} for the package's"
        if path.name in SOURCES:
            fix = (
                f"set SKELIFT_DATA to the folder that has {path.name} "
                "(docs/datasets.md says how to make it)"
            )
        raise InputError(f"data.synth.{content}={path}: not found; {fix}") from None
    except (ValueError, OSError, EOFError, TypeError, BadZipFile, zlib.error) as error:
        raise InputError(f"{path}: cannot be read as .npz file of {content} ({error})") from None


def _bodies_of(path: Path) -> list[Body]:
    arrays = load_npz(path, "bodies")
    try:
        count = len(arrays["bone_heads_m"])
        make = _plain if "rest_vertices_0p1mm" in arrays else _clothed
        return [make(arrays, index) for index in range(count)]
    except KeyError as error:
        raise InputError(
            f"{path}: has no array {error.args[0]!r}; name a file of bodies (people_plain.npz, "
            f"people_clothed.npz or {ASSETS})"
        ) from None


def _plain(arrays: Mapping[str, NDArray[Any]], index: int) -> Body:
    vertices = arrays["rest_vertices_0p1mm"][index]
    return _body(
        arrays,
        index,
        vertices=vertices,
        faces=arrays["faces"],
        material=np.zeros(len(vertices)),
        skin_bone=arrays["skin_bone"],
        skin_weight=arrays["skin_weight"],
    )


def _clothed(arrays: Mapping[str, NDArray[Any]], index: int) -> Body:
    return _body(
        arrays,
        index,
        vertices=arrays[f"vertices_0p1mm_{index:02d}"],
        faces=arrays[f"faces_{index:02d}"],
        material=arrays[f"material_{index:02d}"],
        skin_bone=arrays[f"skin_bone_{index:02d}"],
        skin_weight=arrays[f"skin_weight_{index:02d}"],
    )


def _body(
    arrays: Mapping[str, NDArray[Any]],
    index: int,
    *,
    vertices: NDArray[Any],
    faces: NDArray[Any],
    material: NDArray[Any],
    skin_bone: NDArray[Any],
    skin_weight: NDArray[Any],
) -> Body:
    weight = skin_weight.astype(np.float32)
    return Body(
        name=f"person_{index:02d}",
        vertices=(vertices / 10_000).astype(np.float32),
        faces=np.ascontiguousarray(faces, dtype=np.uint32),
        material=material.astype(np.uint8),
        skin_bone=skin_bone.astype(np.uint8),
        skin_weight=weight / weight.sum(axis=1, keepdims=True),
        bone_names=tuple(str(name) for name in arrays["bone_labels"]),
        bone_parents=arrays["bone_parents"].astype(np.int64),
        bone_heads=arrays["bone_heads_m"][index].astype(np.float64),
    )
