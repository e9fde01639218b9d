"""Scenes, and the camera that photographs them."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from skelift.config import CameraConfig, SynthConfig
from skelift.data.crop import CropBox, to_crop
from skelift.data.format import SAMPLE
from skelift.data.motion_cue import radial_motion, steady_motion
from skelift.errors import InputError
from skelift.skeleton import Skeleton
from skelift.synth import kernels
from skelift.synth.colours import Light, Look
from skelift.synth.looks import varied_light
from skelift.synth.noise import RowNoise
from skelift.synth.rig import Crew, Rig
from skelift.synth.rotation import about, rotate
from skelift.synth.splits import BRANCHES, STREAMS, split_persons

NEAREST_M = 0.1
PASSES_M = 0.5  # joints nearer than this before or after: the body leaves the image
FITS_M = 2.2  # what fits across the source image where it cuts somebody
# Camera frame of someone who stands at -Y and looks along +Y.
FRONT_VIEW = np.array([[1.0, 0, 0], [0, 0, -1], [0, 1, 0]])


def random_view(
    noise: RowNoise, camera: CameraConfig
) -> tuple[NDArray[np.float64], NDArray[np.str_]]:
    """(B, 3, 3) body to camera rotations of an orbiting camera, and (B,) names of the views.

    Azimuth 0 looks the rest pose in the face, or at the palm; a camera of positive elevation looks
    down.
    """
    azimuth = noise.uniform(*np.deg2rad(camera.azimuth_deg))
    if camera.elevation_range_deg is None:
        elevation = noise.normal(*np.deg2rad(camera.elevation_deg))
    else:
        elevation = noise.uniform(*np.deg2rad(camera.elevation_range_deg))
    view = about(0, elevation) @ FRONT_VIEW @ about(2, azimuth)
    names = [
        f"az{a:03.0f}el{e:+03.0f}"
        for a, e in zip(np.rad2deg(azimuth) % 360, np.rad2deg(elevation), strict=True)
    ]
    return view, np.array(names)


def random_place(noise: RowNoise, camera: CameraConfig) -> dict[str, Any]:
    """``distance``, ``aim``, ``focal`` and ``framed`` of a Scenes."""
    nearest, furthest = camera.distance_m
    distance = noise.uniform(nearest, furthest)
    aim = np.deg2rad(noise.normal(0, camera.aim_deg, (2,)))
    shortest, longest = camera.focal_range_px or [camera.focal_px] * 2
    focal = np.full(len(noise), shortest)
    if longest > shortest:  # as many between f and 2 f as between 2 f and 4 f
        focal = shortest * (longest / shortest) ** noise.uniform()
    framed = noise.chance(camera.cut)
    # Someone who is cut is not so near that the border cuts elsewhere, too.
    distance[framed] = np.maximum(distance, focal / camera.source_size * FITS_M)[framed]
    # The border runs past the root at a distance of ``reach`` metres: below it, or on either side.
    edge = np.arctan(camera.source_size / 2 / focal)
    below, side = noise.chance(0.6), np.sign(noise.uniform(-1, 1))
    reach = noise.uniform(*np.where(below, [[0.3], [0.8]], [[0.05], [0.35]]))
    past = edge - np.arctan(reach / distance)
    aim[framed & below, 1] = -past[framed & below]
    aim[framed & ~below, 0] = (side * past)[framed & ~below]
    return {"distance": distance, "aim": aim, "focal": focal, "framed": framed}


@dataclass(frozen=True)
class Moment:
    """B persons a little before or after they are photographed."""

    rotations: NDArray[np.floating]  # (B, P, 3, 3) global rotation of each part
    # (B, 3) place of the root then, from where it is photographed: metres, the body's frame
    moved: NDArray[np.float64]


@dataclass(frozen=True)
class Scenes:
    """B persons to be photographed."""

    person: NDArray[np.int64]  # (B,) index of the rig
    rotations: NDArray[np.floating]  # (B, P, 3, 3) global rotation of each part
    view: NDArray[np.float64]  # (B, 3, 3) rotation from the body's frame to the camera's
    distance: NDArray[np.float64]  # (B,) metres from the camera to the root
    # (B, 2) radians by which the camera looks past the root, right and down
    aim: NDArray[np.float64]
    focal: NDArray[np.float64]  # (B,) focal length in pixels of the source image
    framed: NDArray[np.bool_]  # (B,) whether all is black outside of the source image
    look: Look
    light: Light
    samples: NDArray[np.void]  # (B,) SAMPLE: who, what, from where; the studio adds the camera
    film: tuple[Moment, Moment] | None = None  # before and after, where known
    long_film: tuple[Moment, Moment] | None = None  # further before and after

    def __len__(self) -> int:
        return len(self.person)


class Cast(ABC):
    """Who is photographed, in which poses: people or hands.

    Args:
        rigs: all persons.
        synth: how they are shared out and posed.
        skeleton: joints of the data set, those of the rigs.
        seed: seed of the data set.
    """

    credit: str  # where the poses come from, and on what terms
    box_of_mesh = True  # crop around the mesh, or around the joints only

    def __init__(
        self, rigs: Sequence[Rig], synth: SynthConfig, skeleton: Skeleton, seed: int
    ) -> None:
        self.skeleton = skeleton
        self.crew = Crew(rigs)
        self.persons = split_persons(len(rigs), synth.test_persons, seed)
        self._names = np.array([rig.person for rig in rigs])
        self._synth = synth
        self._seed = seed

    @abstractmethod
    def scenes(self, split: str, rows: Sequence[int]) -> Scenes:
        """The scenes of rows of a split; a row's scene depends on its index alone."""

    def details(self) -> dict[str, Any]:
        """Who and what is in which split, for dataset.json."""
        return {
            "persons": {split: self._names[rows].tolist() for split, rows in self.persons.items()}
        }

    def _random_persons(
        self, split: str, rows: Sequence[int]
    ) -> tuple[RowNoise, NDArray[np.int64]]:
        """The randomness of the rows, and (B,) persons: its first use."""
        noise = RowNoise(self._seed, STREAMS[split], rows)
        persons = self.persons[split]
        return noise, persons[noise.integer(len(persons))]

    def _light(self, split: str, rows: Sequence[int], plain: Light) -> Light:
        """``plain`` light, or a varied one."""
        if self._synth.light == "plain":
            return plain
        return varied_light(self._branch(split, rows, "light"))

    def _branch(self, split: str, rows: Sequence[int], purpose: str) -> RowNoise:
        """Randomness of the rows that changes nothing else of them."""
        return RowNoise(self._seed, STREAMS[split], rows, BRANCHES[purpose])

    def _samples(self, person: NDArray[np.int64], **columns: ArrayLike) -> NDArray[np.void]:
        """(B,) SAMPLE records of the persons with the given columns."""
        samples = np.zeros(len(person), dtype=SAMPLE)
        samples["person"] = self._names[person]
        for name, values in columns.items():
            samples[name] = values
        return samples


@dataclass(frozen=True)
class _Posed:
    """B persons in the frame of their cameras, in metres."""

    turn: NDArray[np.float32]  # (B, P, 3, 3) and
    shift: NDArray[np.float32]  # (B, P, 3) transforms of the parts from rest
    joints: NDArray[np.float64]  # (B, J, 3)
    lights: NDArray[np.float32]  # (B, L, 3) unit vectors towards the lights


@dataclass(frozen=True)
class Labels:
    """True joints of B photographs, by the names of the data set's columns."""

    joints_2d: NDArray[np.float32]  # (B, J, 2) pixels of the crop
    joints_3d_mm: NDArray[np.float32]  # (B, J, 3) in the camera frame
    samples: NDArray[np.void]  # (B,) complete SAMPLE records
    # (B,) how much nearer they come (data/motion_cue.py), NaN without film; None: not rendered
    radial_motion: NDArray[np.float32] | None = None
    steady_motion: NDArray[np.float32] | None = None  # (B,) the same over a longer time

    def columns(self) -> dict[str, NDArray[Any]]:
        """What is known."""
        return {name: rows for name, rows in vars(self).items() if rows is not None}


class Studio:
    """Photographs scenes with a perspective camera.

    Args:
        cast: who is photographed.
        camera: the camera.
        size: side of the images, in pixels.
        margin: free border of the crop, as a fraction of the body's larger side.
    """

    def __init__(self, cast: Cast, camera: CameraConfig, size: int, margin: float) -> None:
        self.cast = cast
        self.size = size
        self._margin = margin
        self._source_size = camera.source_size
        self._principal = camera.source_size / 2
        fine = size * kernels.SUPERSAMPLING
        self._inverse_depth = np.empty((fine, fine), dtype=np.float32)
        self._face = np.empty((fine, fine), dtype=np.int32)
        most = max(len(rig.mesh.rest) for rig in cast.crew.rigs)
        self._points, self._normals, self._pixels = np.empty((3, most, 3), dtype=np.float32)

    def label(self, scenes: Scenes) -> Labels:
        """True joints and crop boxes, without rendering."""
        posed = self._before_camera(scenes, scenes.rotations)
        return self._labels(scenes, posed.joints, self._crops(scenes, posed))

    def photograph(self, scenes: Scenes) -> tuple[NDArray[np.uint8], NDArray[np.uint8], Labels]:
        """Render B images.

        Returns:
            (B, S, S, 3) uint8 RGB on black, (B, S, S) uint8 masks, and the true joints.
        """
        posed = self._before_camera(scenes, scenes.rotations)
        images = np.empty((len(scenes), self.size, self.size, 3), dtype=np.uint8)
        masks = np.empty((len(scenes), self.size, self.size), dtype=np.uint8)
        crops = np.empty((len(scenes), 3), dtype=np.float32)
        paint = self._painter(scenes, posed)
        still = np.zeros(posed.shift.shape[1:], dtype=np.float32)
        for row in range(len(scenes)):
            crops[row] = self._see(scenes, posed, row)
            rig = self.cast.crew.rigs[scenes.person[row]]
            mesh, count = rig.mesh, len(rig.mesh.rest)
            pixels, normals = self._pixels[:count], self._normals[:count]
            kernels.skin(rig.normals, mesh.part, mesh.weight, posed.turn[row], still, normals)
            self._to_fine_crop(pixels, crops[row])
            faces = rig.hairless_faces if scenes.look.bald[row] else rig.faces
            kernels.rasterise(pixels, faces, self._inverse_depth, self._face)
            if scenes.framed[row]:
                self._keep_frame(crops[row])
            paint(row, pixels, faces, self._face, normals, images[row], masks[row])
        labels = self._labels(scenes, posed.joints, crops)
        return (
            images,
            masks,
            replace(
                labels,
                radial_motion=self._radial_motion(scenes),
                steady_motion=self._steady_motion(scenes, crops),
            ),
        )

    def _painter(self, scenes: Scenes, posed: _Posed) -> Callable[..., None]:
        """A function that shades one row: what was rasterised -> an image and a mask."""
        look, light = scenes.look, scenes.light
        palettes, waves, warp, colours, ambient = (
            array.astype(np.float32)
            for array in (look.palettes, look.waves, look.warp, light.colours, light.ambient)
        )
        plain = waves.shape[1] == 1 and colours.shape[1] == 1

        def paint(
            row: int,
            pixels: NDArray[np.float32],
            faces: NDArray[np.uint32],
            face: NDArray[np.int32],
            normals: NDArray[np.float32],
            image: NDArray[np.uint8],
            mask: NDArray[np.uint8],
        ) -> None:
            rig = self.cast.crew.rigs[scenes.person[row]]
            body = (pixels, faces, face, normals, rig.mesh.rest, rig.surface, palettes[row])
            lights = posed.lights[row]
            if plain:  # white light: its colour is FULL_LIGHT less the ambient one
                of_row = (waves[row, 0], lights[0], ambient[row, 0])
                kernels.shade(*body, *of_row, image, mask)
            else:
                lit = (waves[row], warp[row], lights, colours[row], ambient[row])
                kernels.shade_varied(*body, *lit, image, mask)

        return paint

    def _radial_motion(self, scenes: Scenes) -> NDArray[np.float32]:
        """(B,) radial motion of the body between the moments before and after; NaN without film."""
        if scenes.film is None:
            return np.full(len(scenes), np.nan, dtype=np.float32)
        earlier, later = (self._crops_then(scenes, then) for then in scenes.film)
        return radial_motion(earlier, later).astype(np.float32)

    def _steady_motion(self, scenes: Scenes, crops: NDArray[np.float32]) -> NDArray[np.float32]:
        """(B,) the same over the long film, NaN where the body passes the camera in it."""
        if scenes.long_film is None:
            return np.full(len(scenes), np.nan, dtype=np.float32)
        earlier, later = (self._crops_then(scenes, then) for then in scenes.long_film)
        return steady_motion(earlier, crops, later).astype(np.float32)

    def _crops_then(self, scenes: Scenes, then: Moment) -> NDArray[np.float32]:
        """(B, 3) crop boxes a little before or after, NaN where the body passes the camera."""
        posed = self._before_camera(scenes, then.rotations, then.moved)
        crops = np.full((len(scenes), 3), np.nan, dtype=np.float32)
        for row in np.flatnonzero(posed.joints[..., 2].min(axis=1) >= PASSES_M).tolist():
            crops[row] = self._see(scenes, posed, row)
        return crops

    def _before_camera(
        self,
        scenes: Scenes,
        rotations: NDArray[np.floating],
        moved: NDArray[np.float64] | float = 0.0,
    ) -> _Posed:
        """Pose everyone in the frame of their cameras, the root ``moved`` by metres."""
        crew, root = self.cast.crew, self.cast.skeleton.root_index
        turn, shift = crew.pose(scenes.person, rotations)
        origin = crew.joints(scenes.person, turn, shift)[:, root] - moved
        past = about(1, -scenes.aim[:, 0]) @ about(0, scenes.aim[:, 1])
        view = past @ scenes.view
        turn = view[:, None] @ turn
        away = past[:, :, 2] * scenes.distance[:, None]  # the root, seen by the camera
        shift = rotate(view[:, None], shift - origin[:, None]) + away[:, None]
        return _Posed(
            turn.astype(np.float32),
            shift.astype(np.float32),
            crew.joints(scenes.person, turn, shift),
            rotate(view[:, None], scenes.light.directions).astype(np.float32),
        )

    def _crops(self, scenes: Scenes, posed: _Posed) -> NDArray[np.float32]:
        """(B, 3) crop boxes, without rendering."""
        return np.stack([self._see(scenes, posed, row) for row in range(len(scenes))])

    def _see(self, scenes: Scenes, posed: _Posed, row: int) -> NDArray[np.float32]:
        """Skin and project one mesh into the source image; returns its (3,) crop box."""
        rig = self.cast.crew.rigs[scenes.person[row]]
        mesh = rig.mesh
        count = len(mesh.rest)
        points, pixels = self._points[:count], self._pixels[:count]
        rest = rig.shaped(scenes.look.grown[row], scenes.look.bald[row])
        kernels.skin(rest, mesh.part, mesh.weight, posed.turn[row], posed.shift[row], points)
        *box, nearest = kernels.project(points, scenes.focal[row], self._principal, pixels)
        if nearest < NEAREST_M:
            raise InputError(
                f"data.synth.camera.distance_m: {scenes.distance[row]:.2f} m puts a body into the "
                "camera; raise it"
            )
        low, high = np.array(box[:2]), np.array(box[2:])
        if not self.cast.box_of_mesh:
            seen = self._source_pixels(posed.joints[row], scenes.focal[row])
            low, high = seen.min(axis=0), seen.max(axis=0)
        return CropBox.around(low, high, self._margin).as_array()

    def _keep_frame(self, crop: NDArray[np.float32]) -> None:
        """Take off the faces what lies outside of the source image."""
        centre, side = crop[:2].astype(np.float64), float(crop[2])
        at = (np.arange(len(self._face)) + 0.5) / len(self._face) * side - side / 2
        x, y = centre[:, None] + at
        outside_x, outside_y = ((z < 0) | (z > self._source_size) for z in (x, y))
        self._face[outside_y] = kernels.NO_FACE
        self._face[:, outside_x] = kernels.NO_FACE

    def _source_pixels(
        self, points: NDArray[np.float64], focal: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        return points[..., :2] / points[..., 2:] * focal + self._principal

    def _to_fine_crop(self, pixels: NDArray[np.float32], crop: NDArray[np.float32]) -> None:
        """Source pixels -> supersampled crop pixels, in place."""
        centre, side = crop[:2], crop[2]
        scale = self.size * kernels.SUPERSAMPLING / side
        pixels[:, :2] = (pixels[:, :2] - (centre - side / 2)) * scale

    def _labels(
        self, scenes: Scenes, joints: NDArray[np.float64], crops: NDArray[np.float32]
    ) -> Labels:
        samples = scenes.samples.astype(SAMPLE)
        samples["crop"] = crops
        samples["source_size"] = self._source_size
        samples["focal"] = scenes.focal[:, None]
        samples["principal"] = self._principal
        joints_2d = to_crop(
            self._source_pixels(joints, scenes.focal[:, None, None]),
            crops.astype(np.float64),
            self.size,
        )
        return Labels(joints_2d.astype(np.float32), (joints * 1000).astype(np.float32), samples)
