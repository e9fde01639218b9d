"""People rendered as varied as real ones: each key of data.synth does what it says, and no more."""

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from skelift.config import CameraConfig, PosesConfig, SynthConfig, compose
from skelift.data.format import Dataset
from skelift.skeleton import Skeleton
from skelift.stages.prepare import run
from skelift.synth import kernels, looks
from skelift.synth.body import Body, Material, load_bodies
from skelift.synth.colours import Look
from skelift.synth.motion import load_motion
from skelift.synth.noise import RowNoise
from skelift.synth.parts import PARTS
from skelift.synth.people import People, rig_person
from skelift.synth.poses import Limbs, kinds, random_lean, shares_by_kind
from skelift.synth.rig import Crew
from skelift.synth.scene import Scenes, Studio, random_place, random_view

H36M = Skeleton.from_mapping(compose().skeleton)
ROWS = range(400)


def noise(rows: range = ROWS) -> RowNoise:
    return RowNoise(0, 0, rows, 1)


@pytest.fixture(scope="module")
def bodies() -> list[Body]:
    """Three bodies; the last two wear modelled clothes and hair, the lower part of their heads."""
    plain = load_bodies("assets")[:3]
    return [plain[0], *(dressed(body) for body in plain[1:])]


def dressed(body: Body) -> Body:
    material = body.material.copy()
    material[body.moved_by("spine", "pelvis", "upperleg", "upperarm")] = Material.CLOTH
    material[body.moved_by("foot", "toe")] = Material.SHOE
    head = body.moved_by("head")
    top = body.vertices[head, 2].max()
    material[head & (body.vertices[:, 2] > top - 0.03)] = Material.HAIR
    return replace(body, material=material)


def people(bodies: list[Body], seed: int = 0, **synth: object) -> Studio:
    settings = SynthConfig(**synth)  # type: ignore[arg-type]
    cast = People(bodies, load_motion("assets", 12), settings, H36M, seed)
    return Studio(cast, settings.camera, 48, 0.13)


def repainted(scenes: Scenes, colours: NDArray, bald: bool, grown: NDArray | None = None) -> Scenes:
    """All persons in the same (M, 3) colours."""
    rows = len(scenes)
    palettes = np.broadcast_to(colours, (rows, 2, *colours.shape)).copy()
    look = Look(
        palettes,
        np.zeros((rows, 3, 3)),
        np.zeros(rows),
        np.zeros((rows, len(colours))) if grown is None else np.tile(grown, (rows, 1)),
        np.full(rows, bald),
    )
    return replace(scenes, look=look)


def surface(material: Material, segment: looks.Segment) -> int:
    return material * len(looks.Segment) + segment


# Without a key, nothing changes.


def test_plain_data_sets_keep_their_images() -> None:
    """Recorded before there were varied ones; with a tolerance, as machines round differently."""
    from skelift.synth.generate import open_studio

    config = compose(["data=quickstart"])
    assert config.data.synth is not None
    studio, _ = open_studio(config, config.data.synth)
    images, masks, labels = studio.photograph(studio.cast.scenes("train", range(4)))
    np.testing.assert_allclose(images.mean((1, 2)), RECORDED_COLOURS, atol=0.02)
    np.testing.assert_allclose(masks.mean((1, 2)), RECORDED_MASKS, atol=0.02)
    np.testing.assert_allclose(labels.joints_2d[:, 10], RECORDED_HEADS, atol=0.01)


RECORDED_COLOURS = [
    [11.872, 11.861, 7.252],
    [15.982, 13.757, 12.447],
    [13.376, 9.746, 8.534],
    [11.309, 13.913, 10.125],
]
RECORDED_MASKS = [34.297, 39.468, 26.793, 39.965]
RECORDED_HEADS = [[25.805, 3.006], [13.059, 3.438], [27.772, 2.916], [33.365, 5.164]]


@pytest.mark.parametrize("key", ["looks", "light"])
def test_looks_and_light_change_neither_pose_nor_camera(bodies: list[Body], key: str) -> None:
    plain, varied = people(bodies), people(bodies, **{key: "varied"})
    rows = range(30)
    one, other = (studio.label(studio.cast.scenes("train", rows)) for studio in (plain, varied))
    np.testing.assert_array_equal(one.joints_3d_mm, other.joints_3d_mm)
    images = [studio.photograph(studio.cast.scenes("train", rows))[0] for studio in (plain, varied)]
    assert (images[0] != images[1]).any((1, 2, 3)).all()


# Looks.


def test_bald_heads_show_no_hair(bodies: list[Body]) -> None:
    studio = people(bodies, looks="varied", test_persons=0.4)
    scenes = studio.cast.scenes("train", range(40))
    haired = scenes.person > 0
    colours = np.zeros((looks.SURFACES, 3))
    colours[len(looks.Segment) * Material.HAIR :, 1] = 1  # hair alone is green
    green = [
        studio.photograph(repainted(scenes, colours, bald))[0][haired, ..., 1].sum((1, 2))
        for bald in (False, True)
    ]
    assert 0 < haired.sum() < 40
    assert (green[0] > 0).mean() > 0.9
    assert (green[1] == 0).all()


def test_a_cap_stands_out_and_covers_the_crown(bodies: list[Body]) -> None:
    studio = people(bodies, looks="varied")
    scenes = studio.cast.scenes("train", range(20))
    scenes.rotations[:] = np.eye(3)
    colours = np.zeros((looks.SURFACES, 3))
    crown = surface(Material.SKIN, looks.Segment.CROWN)
    colours[crown] = [0, 1, 0]
    grown = np.zeros(looks.SURFACES)
    flat, capped = (
        studio.photograph(repainted(scenes, colours, True, grown * 0 + by)) for by in (0, grown)
    )
    np.testing.assert_array_equal(flat[0], capped[0])
    grown[crown] = 0.04
    capped = studio.photograph(repainted(scenes, colours, True, grown))
    green = [images[..., 1].astype(float).sum((1, 2)) for images in (flat[0], capped[0])]
    assert (green[1] > 1.1 * green[0]).mean() > 0.9
    # In the picture the crown lies above the rest of the body.
    rows = [np.nonzero(image[..., 1])[0].mean() for image in flat[0] if image[..., 1].any()]
    np.testing.assert_array_less(rows, 12)
    np.testing.assert_array_equal(flat[2].joints_3d_mm, capped[2].joints_3d_mm)


def test_heads_and_clothes_vary(bodies: list[Body]) -> None:
    """Front and back cannot be told by the colour of the head."""
    clothed = np.arange(len(ROWS)) % 2 == 0
    look = looks.varied_look(noise(), clothed)

    def colour(material: Material, segment: looks.Segment) -> NDArray:
        return look.palettes[:, 0, surface(material, segment)]

    skin, segment = Material.SKIN, looks.Segment
    face, crown = colour(skin, segment.FACE), colour(skin, segment.CROWN)
    hair = np.where(look.bald[:, None], crown, colour(Material.HAIR, segment.CROWN))
    difference = (hair - face).mean(axis=1)
    for share in (difference > 0.05, difference < -0.05, np.abs(hair - face).max(axis=1) < 0.1):
        assert share.mean() > 0.15
    assert 0.2 < look.bald.mean() < 0.7
    assert 0.1 < (look.grown[:, surface(skin, segment.CROWN)] > 0).mean() < 0.6
    masked = (face == crown).all(axis=1) & (look.grown[:, surface(skin, segment.FACE)] > 0)
    assert 0.01 < masked.mean() < 0.15

    bare = colour(skin, segment.UPPER_ARM)  # of those without modelled clothes
    chest = colour(Material.SKIN, segment.CHEST)
    shares = [
        (chest[~clothed] == face[~clothed]).all(axis=1).mean(),
        (bare[~clothed] == face[~clothed]).all(axis=1).mean(),
        (colour(skin, segment.HAND) != colour(skin, segment.FACE)).any(axis=1).mean(),
        (colour(Material.SHOE, segment.FOOT) == face).all(axis=1).mean(),
        (chest != colour(skin, segment.HIPS)).any(axis=1).mean(),
    ]
    assert all(share > 0.05 for share in shares), shares
    kinds_of_pattern = np.bincount((np.abs(look.waves) > 0).any(axis=2).sum(axis=1), minlength=4)
    assert (kinds_of_pattern > 20).all()
    assert look.palettes.min() >= 0
    assert look.palettes.max() <= 1


def test_sleeves_and_trousers_end_once(bodies: list[Body]) -> None:
    """From the trunk outwards, cloth comes first and skin after it."""
    look = looks.varied_look(noise(), np.zeros(len(ROWS), dtype=bool))
    for limb in (looks._ARM, looks._LEG[:-1]):  # socks may cover the last one
        of_limb = look.palettes[:, 0, limb]  # on skin, the first material
        worn = (of_limb != of_limb[:, -1:]).any(axis=2).astype(int)
        assert (np.diff(worn, axis=1) <= 0).all()


def test_segments_lie_where_they_belong(bodies: list[Body]) -> None:
    for body in bodies:
        of_vertex = looks.surfaces(body) % len(looks.Segment)
        height = [body.vertices[of_vertex == s, 2].mean() for s in looks.Segment]
        rising = ["FOOT", "SHIN_END", "SHIN", "THIGH_END", "THIGH", "HIPS", "BELLY", "CHEST"]
        rising += ["NECK", "JAW", "EYE", "BROW", "PEAK"]
        assert (np.diff([height[looks.Segment[name]] for name in rising]) > 0).all()
        forward = [body.vertices[of_vertex == s, 1].mean() for s in looks.Segment]
        assert forward[looks.Segment.FACE] < forward[looks.Segment.CROWN] - 0.03
        assert len(np.unique(of_vertex)) == len(looks.Segment)


# Light and patterns.


def shaded(
    waves: NDArray, warp: float, lights: NDArray, colours: NDArray, ambient: NDArray
) -> NDArray:
    """A slanted triangle that fills most of an image of 16 px, white, black on the pattern."""
    size, fine = 16, 16 * kernels.SUPERSAMPLING
    pixels = np.array([[0, 32, 0.25], [32, 32, 0.25], [16, 0, 0.25]], np.float32)
    rest = np.array([[0, 0, 0], [1, 0, 0.2], [0, 1, 0.4]], np.float32)
    normals = np.array([[0, 0, -1], [0.6, 0, -0.8], [0, 0.6, -0.8]], np.float32)
    palettes = np.stack([np.full((1, 3), 0.5), np.zeros((1, 3))]).astype(np.float32)
    faces = np.array([[0, 1, 2]], np.uint32)
    face = np.empty((fine, fine), np.int32)
    kernels.rasterise(pixels, faces, np.empty((fine, fine), np.float32), face)
    image, mask = np.empty((size, size, 3), np.uint8), np.empty((size, size), np.uint8)
    single = (array.astype(np.float32) for array in (lights, colours, ambient))
    kernels.shade_varied(
        pixels,
        faces,
        face,
        normals,
        rest,
        np.zeros(3, np.uint8),
        palettes,
        waves.astype(np.float32),
        np.float32(warp),
        *single,
        image,
        mask,
    )
    return image.astype(float)


def test_coloured_lights_add_up() -> None:
    rng = np.random.default_rng(0)
    lights = rng.normal(size=(3, 3)) - [0, 0, 1]
    lights /= np.linalg.norm(lights, axis=1, keepdims=True)
    colours, ambient = rng.uniform(0, 0.4, (3, 3)), rng.uniform(0.1, 0.3, 3)
    none = np.zeros((3, 3))
    together = shaded(none, 0, lights, colours, ambient)
    apart = shaded(none, 0, lights, 0 * colours, ambient)
    for light, colour in zip(lights, colours, strict=True):
        apart += shaded(none, 0, light[None], colour[None], 0 * ambient)
    assert together.max() > 60
    assert np.abs(together - apart).max() <= 2.5  # four images rounded


def test_two_waves_make_checks() -> None:
    lights, white = np.array([[0.0, 0, -1]]), np.ones(3)
    dark = white[None] * 0
    none, stripes, across = np.zeros((3, 3)), np.zeros((3, 3)), np.zeros((3, 3))
    stripes[0], across[1] = [2, 0, 0], [0, 2, 0]

    def on(waves: NDArray, warp: float = 0) -> NDArray:
        return (shaded(waves, warp, lights, dark, white)[..., 0] / 128).round(2)

    body = on(none) > 0.99  # pixels within the triangle
    checks = on(stripes + across)
    pure = body & (on(stripes) % 1 == 0) & (on(across) % 1 == 0)
    expected = 1 - ((on(stripes) < 0.5) ^ (on(across) < 0.5))
    assert pure.sum() > 60
    assert np.abs(checks - expected)[pure].max() < 0.01
    assert 0.2 < expected[pure].mean() < 0.8
    assert (on(stripes, 0.05) != on(stripes)).any()


# Cameras.


def test_elevations_fill_their_range() -> None:
    view, _ = random_view(noise(), CameraConfig(elevation_range_deg=[-10, 40]))
    elevation = np.rad2deg(np.arcsin(-view[:, 2, 2]))  # the camera looks along its z
    assert -10 <= elevation.min() < -8
    assert 38 < elevation.max() <= 40
    np.testing.assert_allclose(np.quantile(elevation, [0.25, 0.5, 0.75]), [2.5, 15, 27.5], atol=4)


def test_focal_lengths_fill_their_range() -> None:
    focal = random_place(noise(), CameraConfig(focal_range_px=[500, 2000]))["focal"]
    assert 500 <= focal.min() < 520
    assert 1920 < focal.max() <= 2000
    assert abs(np.mean(focal < 1000) - 0.5) < 0.08


@pytest.fixture(scope="module")
def varied(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """All keys of people_varied on the package's bodies and motion."""
    folder = tmp_path_factory.mktemp("varied") / "set"
    small = ["data.size=48", "data.synth.train=120", "data.synth.test=40", "data.synth.prior=40"]
    sources = ["data.synth.bodies=assets", "data.synth.motion=assets", "data.synth.workers=1"]
    own = [f"paths.data={folder}", "data.synth.camera.cut=0.3"]
    return Dataset(run(compose(["data=people_varied", *small, *sources, *own])))


def projected(samples: NDArray, joints_mm: NDArray, size: int) -> NDArray:
    """(B, J, 2) pixels of the crop, plainly in float64."""
    joints = joints_mm.astype(np.float64)
    seen = joints[..., :2] / joints[..., 2:] * samples["focal"][:, None].astype(np.float64)
    seen += samples["principal"][:, None]
    crop = samples["crop"].astype(np.float64)
    return (seen - (crop[:, None, :2] - crop[:, None, 2:] / 2)) * size / crop[:, None, 2:]


def test_each_image_has_its_camera(varied: Dataset) -> None:
    for split in (varied.split("train"), varied.split("test")):
        assert split.joints_2d is not None
        assert split.joints_3d_mm is not None
        seen = projected(split.samples, np.asarray(split.joints_3d_mm), 48)
        np.testing.assert_allclose(split.joints_2d, seen, atol=1e-3)
        focal = split.samples["focal"]
        assert (focal[:, 0] == focal[:, 1]).all()
        assert len(np.unique(focal)) == len(focal)
    assert np.ptp(varied.prior.samples["focal"]) > 500
    poses = varied.prior.poses_2d
    assert poses.min() >= 0
    assert poses.max() <= 48


def test_cut_bodies_are_black_outside_of_the_source_image(bodies: list[Body]) -> None:
    camera = CameraConfig(cut=0.5, elevation_range_deg=[-10, 40], focal_range_px=[700, 2000])
    studio = people(bodies, camera=camera)
    scenes = studio.cast.scenes("train", range(60))
    images, masks, labels = studio.photograph(scenes)
    whole = replace(scenes, framed=np.zeros(60, dtype=bool))
    uncut_images, uncut_masks, uncut_labels = studio.photograph(whole)
    np.testing.assert_array_equal(labels.joints_2d, uncut_labels.joints_2d)
    assert 0.3 < scenes.framed.mean() < 0.7
    x, y, side = labels.samples["crop"].astype(float).T
    steps = (np.arange(48) + 0.5) / 48 - 0.5
    across, down = (centre[:, None] + steps * side[:, None] for centre in (x, y))
    pixel = side / 48  # of the source, per pixel of the crop
    inside = [((a > 0) & (a < 1000)) for a in (across, down)]
    within = inside[1][:, :, None] & inside[0][:, None]
    edge = [np.minimum(np.abs(a), np.abs(a - 1000)) < pixel[:, None] for a in (across, down)]
    clear = ~(edge[1][:, :, None] | edge[0][:, None])
    framed = scenes.framed
    assert (masks[framed][(clear & ~within)[framed]] == 0).all()
    assert (images[framed][(clear & ~within)[framed]] == 0).all()
    kept = clear & (within | ~framed[:, None, None])
    np.testing.assert_array_equal(masks[kept], uncut_masks[kept])
    np.testing.assert_array_equal(images[kept], uncut_images[kept])
    left = masks.sum((1, 2)) / uncut_masks.sum((1, 2), dtype=float)
    assert (left[framed] < 0.99).mean() > 0.7  # but for the folded
    assert (left[framed] > 0.2).mean() > 0.9


# Poses.


def crew(bodies: list[Body]) -> Crew:
    return Crew([rig_person(bodies[0], H36M)])


def joints_of(bodies: list[Body], rotations: NDArray) -> NDArray:
    one = crew(bodies)
    person = np.zeros(len(rotations), dtype=np.int64)
    return one.joints(person, *one.pose(person, rotations))


def angle(joints: NDArray, *names: str) -> NDArray:
    """Degrees at the second joint."""
    a, b, c = (joints[:, H36M.index(name)] for name in names)
    cosine = ((a - b) * (c - b)).sum(1) / np.linalg.norm(a - b, axis=1)
    cosine /= np.linalg.norm(c - b, axis=1)
    return np.rad2deg(np.arccos(cosine.clip(-1, 1)))


def test_limbs_are_raised_straightened_and_stay_rigid(bodies: list[Body]) -> None:
    pose = load_motion("assets", 12).rotations[ROWS.start : ROWS.stop]
    limbs = Limbs.random(noise(range(len(pose))), 0.5)
    before, after = joints_of(bodies, pose), joints_of(bodies, limbs.pose(pose))
    start, end = H36M.bone_indices.T
    lengths = [np.linalg.norm(j[:, end] - j[:, start], axis=2) for j in (before, after)]
    np.testing.assert_allclose(lengths[1], lengths[0], atol=2e-3)

    for side, name in enumerate("lr"):
        straight = limbs.knee[:, side] & ~limbs.leg[:, side]
        knee = angle(after, f"{name}_hip", f"{name}_knee", f"{name}_ankle")
        assert knee[straight].min() > 165
        untouched = ~limbs.arm[:, side]
        wrist, elbow = (H36M.index(f"{name}_{joint}") for joint in ("wrist", "elbow"))
        np.testing.assert_allclose(after[untouched, wrist], before[untouched, wrist], atol=1e-5)
        arm = limbs.arm[:, side]
        assert np.linalg.norm(after[arm, elbow] - before[arm, elbow], axis=1).min() > 0.005
        assert abs(arm.mean() - 0.5) < 0.1
    assert not limbs.leg.all(axis=1).any()  # one at a time


def test_limbs_move_as_anatomy_lets_them(bodies: list[Body]) -> None:
    """On a body that stands upright: knees fold back, elbows forward, arms stay on their side."""
    rest = np.tile(np.eye(3, dtype=np.float32), (len(ROWS), len(PARTS), 1, 1))
    limbs = Limbs.random(noise(), 1.0)
    joints = joints_of(bodies, limbs.pose(rest))

    def at(name: str) -> NDArray:
        return joints[:, H36M.index(name)]

    for side, outwards in (("l", 1), ("r", -1)):
        # Bodies face -Y, with the left at +X.
        arm = (at(f"{side}_elbow") - at(f"{side}_shoulder")) * [outwards, 1, 1]
        assert (arm[:, 0] > -0.1).all()  # hardly across
        assert (arm[:, 1] < 0.15).all()  # hardly backwards
        assert (arm[:, 2] > 0.15).mean() > 0.2
        assert (arm[:, 2] < -0.1).mean() > 0.2
        thigh, shin = (
            at(f"{side}_knee") - at(f"{side}_hip"),
            at(f"{side}_ankle") - at(f"{side}_knee"),
        )
        leg = limbs.leg[:, "lr".index(side)]
        bend = np.cross(thigh, shin)[leg, 0]  # about the body's left
        assert (bend > -0.01).all()
        assert (thigh[leg, 1] < -0.1).mean() > 0.5


def test_leaning_and_lying_turn_the_whole_body(bodies: list[Body]) -> None:
    settings = PosesConfig(lean_deg=30, lying=0.2)
    lean = random_lean(noise(), settings)
    np.testing.assert_allclose(
        lean @ lean.swapaxes(1, 2), np.tile(np.eye(3), (400, 1, 1)), atol=1e-9
    )
    tilt = np.rad2deg(np.arccos(lean[:, 2, 2]))
    lies = tilt > 60
    assert abs(lies.mean() - 0.2) < 0.06
    assert 25 < tilt[~lies].max() <= 30
    assert (tilt[lies] >= 70).all()
    ways = np.arctan2(lean[:, 1, 2], lean[:, 0, 2])[tilt > 5]
    assert np.histogram(ways, 4, (-np.pi, np.pi))[0].min() > 30  # to every side

    poses = PosesConfig(lean_deg=30, lying=0.2)
    upright, leaning = people(bodies), people(bodies, poses=poses)
    scenes = [studio.cast.scenes("prior", range(40)) for studio in (upright, leaning)]
    expected = random_lean(RowNoise(0, 2, range(40), 3), poses)
    turned = scenes[1].rotations @ scenes[0].rotations.astype(float).swapaxes(2, 3)
    np.testing.assert_allclose(turned, np.tile(expected[:, None], (1, len(PARTS), 1, 1)), atol=1e-5)


def test_rare_kinds_of_poses_are_drawn_as_often_as_common_ones() -> None:
    motion = load_motion("assets", 12)
    walk = motion.rotations[:1].repeat(300, axis=0)
    others = motion.rotations[[120, 240, 360]]
    poses = np.concatenate([walk, others])
    kind = kinds(poses, 4)
    assert len(set(kind[:300])) == 1
    assert len(set(kind)) == 4
    turned = poses.copy()  # facing another way changes nothing
    turned[:] = np.array([[0, -1, 0], [1, 0, 0], [0, 0, 1]], np.float32) @ turned
    np.testing.assert_array_equal(kinds(turned, 4), kind)
    even, half = shares_by_kind(poses, 1.0), shares_by_kind(poses, 0.5)
    np.testing.assert_allclose([even[:300].sum(), *even[300:]], 1 / 4)
    np.testing.assert_allclose([half.sum(), half[300]], [1, 0.5 / 303 + 0.5 / 4])
    drawn = RowNoise(0, 0, range(2000)).index(even)
    assert abs((drawn < 300).mean() - 0.25) < 0.04


def test_diverse_draws_reach_images_and_prior(bodies: list[Body]) -> None:
    plain, even = people(bodies), people(bodies, poses=PosesConfig(evenly=1.0))
    for split in ("train", "prior"):
        drawn = [studio.cast.scenes(split, range(300)) for studio in (plain, even)]
        own = [set(scenes.samples["clip"].tolist()) for scenes in drawn]
        assert own[1] <= set(np.array(plain.cast.motion.clips)[plain.cast.clips[split]].tolist())
        assert (drawn[0].samples["frame"] != drawn[1].samples["frame"]).mean() > 0.5


def test_people_stay_the_yardstick() -> None:
    """data=people is what earlier figures were made with; data=full is the varied one, larger."""
    yardstick, varied, full = (
        compose([f"data={name}"]).data for name in ("people", "people_varied", "full")
    )
    assert yardstick.synth is not None
    assert varied.synth is not None
    assert full.synth is not None
    assert yardstick.synth == SynthConfig(
        bodies=yardstick.synth.bodies,
        motion=yardstick.synth.motion,
        train=24000,
        test=4000,
        prior=60000,
    )
    assert (varied.name, varied.size, varied.synth.train) == ("people_varied", 48, 24000)
    assert (full.name, full.size) == ("full", 128)
    counts = {"train": 100000, "test": 4000, "prior": 200000}
    assert full.synth == replace(varied.synth, **counts)
