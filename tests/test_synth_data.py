"""Rendered data sets: their truth, their splits, and that they come out the same everywhere."""

import signal
import subprocess
import sys
import time
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from skelift.config import CameraConfig, Config, compose
from skelift.data.crop import to_crop
from skelift.data.format import Dataset
from skelift.errors import InputError
from skelift.skeleton import Skeleton
from skelift.stages.prepare import run
from skelift.synth.body import Body, load_bodies
from skelift.synth.generate import open_studio
from skelift.synth.motion import load_motion
from skelift.synth.noise import RowNoise
from skelift.synth.parts import PARTS
from skelift.synth.people import rig_person
from skelift.synth.poses import mirror
from skelift.synth.rig import Crew
from skelift.synth.scene import Studio, random_view

SMALL = ("data.size=48", "data.synth.train=150", "data.synth.test=40", "data.synth.prior=140")
H36M = Skeleton.from_mapping(compose().skeleton)


@pytest.fixture(scope="module")
def bodies(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file with four of the package's bodies, quick to load."""
    with as_file(files("skelift.assets") / "bodies.npz") as path, np.load(path) as archive:
        arrays = dict(archive)
    few = tmp_path_factory.mktemp("bodies") / "few.npz"
    each = ("rest_vertices_0p1mm", "bone_heads_m", "phenotypes")
    np.savez(few, **{name: a[:4] if name in each else a for name, a in arrays.items()})
    return few


def config(folder: Path, bodies: Path, *overrides: str) -> Config:
    own = [f"paths.data={folder}", f"data.synth.bodies={bodies}"]
    return compose(["data=quickstart", "data.seed=0", *SMALL, *own, *overrides])


@pytest.fixture(scope="module")
def people(tmp_path_factory: pytest.TempPathFactory, bodies: Path) -> Dataset:
    folder = tmp_path_factory.mktemp("people") / "set"
    return Dataset(run(config(folder, bodies, "data.synth.workers=1")))


@pytest.fixture(scope="module")
def studio(bodies: Path) -> Studio:
    c = config(Path("unused"), bodies)
    assert c.data.synth is not None
    return open_studio(c, c.data.synth)[0]


@pytest.fixture(scope="module")
def hands(tmp_path_factory: pytest.TempPathFactory, bodies: Path) -> Dataset:
    folder = tmp_path_factory.mktemp("hands") / "set"
    own = [f"paths.data={folder}", f"data.synth.bodies={bodies}", "data.synth.workers=1"]
    small = [*SMALL, *own]
    return Dataset(run(compose(["data=hands", *small])))


# The definition of the truth, written out bone by bone in float64.

BONES_OF_PART = {
    "hips": ["root", "pelvis.L", "pelvis.R"],
    "abdomen": ["spine05", "spine04"],
    "chest": ["spine03", "spine02", "spine01"],
    "neck": ["neck01", "neck02", "neck03"],
    "head": ["head"],
} | {
    f"{side.lower()}_{part}": [f"{bone}.{side}" for bone in bones]
    for side in "LR"
    for part, bones in {
        "collar": ["clavicle", "shoulder01"],
        "upper_arm": ["upperarm01", "upperarm02"],
        "forearm": ["lowerarm01", "lowerarm02"],
        "hand": ["wrist"],
        "thigh": ["upperleg01", "upperleg02"],
        "shin": ["lowerleg01", "lowerleg02"],
        "foot": ["foot"],
    }.items()
}
LIMB_ENDS = {
    "upper_arm": ("upperarm01", "lowerarm01"),
    "forearm": ("lowerarm01", "wrist"),
    "hand": ("lowerarm01", "wrist"),
    "thigh": ("upperleg01", "lowerleg01"),
    "shin": ("lowerleg01", "foot"),
}


def turn_between(a: NDArray, b: NDArray) -> NDArray:
    """Smallest rotation from a to b: the product of two reflections."""
    a, b = a / np.linalg.norm(a), b / np.linalg.norm(b)
    half = (a + b) / np.linalg.norm(a + b)

    def reflect(n: NDArray) -> NDArray:
        return np.eye(3) - 2 * np.outer(n, n)

    return reflect(half) @ reflect(a)


def plain_pose(body: Body, pose: NDArray) -> tuple[NDArray, NDArray]:
    """(B, 3, 3) rotation and (B, 3) head of every bone."""
    rotation = np.zeros((len(body.bone_names), 3, 3))
    head = body.bone_heads.copy()
    part_of = {bone: part for part, bones in BONES_OF_PART.items() for bone in bones}
    for bone, name in enumerate(body.bone_names):
        parent = body.bone_parents[bone]
        if name in part_of:
            part = part_of[name]
            align = np.eye(3)
            if part[2:] in LIMB_ENDS:
                start, end = (body.head_of(f"{b}.{name[-1]}") for b in LIMB_ENDS[part[2:]])
                arm = part.endswith(("arm", "hand"))
                rest = [1 if name.endswith("L") else -1, 0, 0] if arm else [0, 0, -1]
                align = turn_between(end - start, np.array(rest))
            rotation[bone] = pose[PARTS.index(part)] @ align
        else:
            rotation[bone] = rotation[parent]
        if parent >= 0:
            offset = body.bone_heads[bone] - body.bone_heads[parent]
            head[bone] = head[parent] + rotation[parent] @ offset
    return rotation, head


def plain_skin(body: Body, rotation: NDArray, head: NDArray, vertex: int) -> NDArray:
    place = np.zeros(3)
    for bone, weight in zip(body.skin_bone[vertex], body.skin_weight[vertex], strict=True):
        local = body.vertices[vertex].astype(float) - body.bone_heads[bone]
        place += float(weight) * (rotation[bone] @ local + head[bone])
    return place


def plain_joints(body: Body, rotation: NDArray, head: NDArray) -> NDArray:
    """The seventeen joints by shared definition: bone heads, the nose and the top of the head."""

    def bone(name: str) -> NDArray:
        return head[body.bone(name)]

    strongest = [
        body.bone_names[body.skin_bone[v][body.skin_weight[v].argmax()]]
        for v in range(len(body.vertices))
    ]
    region = [v for v, name in enumerate(strongest) if name.startswith(("head", "neck", "eye"))]
    top = max(region, key=lambda v: body.vertices[v, 2])
    middle = [v for v in region if abs(body.vertices[v, 0]) < 0.01]
    nose = min(middle, key=lambda v: body.vertices[v, 1])
    named = {
        "pelvis": (bone("upperleg01.L") + bone("upperleg01.R")) / 2,
        "spine": bone("spine03"),
        "thorax": bone("neck01"),
        "nose": plain_skin(body, rotation, head, nose),
        "head": plain_skin(body, rotation, head, top),
    }
    bones = {
        "hip": "upperleg01",
        "knee": "lowerleg01",
        "ankle": "foot",
        "shoulder": "upperarm01",
        "elbow": "lowerarm01",
        "wrist": "wrist",
    }
    for side in "lr":
        for joint, name in bones.items():
            named[f"{side}_{joint}"] = bone(f"{name}.{side.upper()}")
    return np.stack([named[joint] for joint in H36M.joints])


@pytest.mark.parametrize("frame", [0, 130, 400])
def test_joints_and_skin_follow_the_definition(frame: int) -> None:
    body = load_bodies("assets")[frame % 16]
    pose = load_motion("assets", fps=12).rotations[frame].astype(np.float64)
    rotation, head = plain_pose(body, pose)
    crew = Crew([rig_person(body, H36M)])
    one = np.zeros(1, dtype=np.int64)
    turn, shift = crew.pose(one, pose[None])
    joints = crew.joints(one, turn, shift)[0]
    np.testing.assert_allclose(joints, plain_joints(body, rotation, head), atol=1e-6)

    mesh = crew.rigs[0].mesh
    for vertex in np.random.default_rng(frame).integers(0, len(body.vertices), 200):
        part, weight = mesh.part[vertex], mesh.weight[vertex].astype(np.float64)
        moved = turn[0, part] @ mesh.rest[vertex].astype(np.float64) + shift[0, part]
        expected = plain_skin(body, rotation, head, vertex)
        np.testing.assert_allclose((weight[:, None] * moved).sum(0), expected, atol=1e-6)


def test_a_mirrored_pose_mirrors_the_joints_of_a_symmetric_body() -> None:
    body = load_bodies("assets")[0]
    crew, one = Crew([rig_person(body, H36M)]), np.zeros(1, dtype=np.int64)
    pose = load_motion("assets", fps=12).rotations[200:201]
    joints = crew.joints(one, *crew.pose(one, pose))[0]
    mirrored = crew.joints(one, *crew.pose(one, mirror(pose)))[0]
    np.testing.assert_allclose(mirrored, joints[H36M.swap] * [-1, 1, 1], atol=5e-3)


def test_a_person_seen_from_the_front_has_the_left_hand_on_the_right(studio: Studio) -> None:
    scenes = studio.cast.scenes("train", range(4))
    scenes.aim[:] = 0
    scenes.rotations[:] = np.eye(3)  # a T-pose
    azimuth_0 = np.array([[1.0, 0, 0], [0, 0, -1], [0, 1, 0]])
    scenes.view[:] = azimuth_0
    joints = studio.label(scenes).joints_3d_mm
    left, right = (joints[:, H36M.index(name)] for name in ("l_wrist", "r_wrist"))
    assert (left[:, 0] > 500).all()  # x points right in the image
    assert (right[:, 0] < -500).all()
    assert (joints[:, H36M.index("head"), 1] < -500).all()  # y points down
    nose, head = H36M.index("nose"), H36M.index("head")
    assert (joints[:, nose, 2] < joints[:, head, 2]).all()  # the nose is nearer
    np.testing.assert_allclose(joints[:, 0, :2], 0, atol=1e-3)
    np.testing.assert_allclose(joints[:, 0, 2], 1000 * scenes.distance, rtol=1e-6)


def test_a_raised_camera_looks_down(studio: Studio) -> None:
    scenes = studio.cast.scenes("train", range(8))
    scenes.rotations[:] = np.eye(3)
    scenes.view[:], _ = random_view(RowNoise(0, 0, range(8)), CameraConfig(elevation_deg=[40, 0]))
    joints = studio.label(scenes).joints_3d_mm
    head, ankle = H36M.index("head"), H36M.index("l_ankle")
    assert (joints[:, head, 2] < joints[:, ankle, 2] - 500).all()  # the head is nearer


def check_projection(dataset: Dataset) -> None:
    for name in ("train", "test"):
        split = dataset.split(name)
        joints = np.asarray(split.joints_3d_mm, dtype=np.float64)
        samples = split.samples
        focal, principal = samples["focal"][:, None], samples["principal"][:, None]
        source = joints[..., :2] / joints[..., 2:] * focal + principal
        seen = to_crop(source, samples["crop"].astype(np.float64), dataset.info.size)
        np.testing.assert_allclose(split.joints_2d, seen, atol=1e-3)


def test_projecting_the_3d_joints_gives_the_2d_joints(people: Dataset, hands: Dataset) -> None:
    check_projection(people)
    check_projection(hands)


def test_images_show_the_body_where_the_labels_say(people: Dataset) -> None:
    split, size = people.split("train"), people.info.size
    assert split.joints_2d is not None
    masks, images = split.masks[:], split.images[:]
    assert (images[masks == 0] == 0).all()
    assert set(np.unique(masks)) == {0, 64, 128, 191, 255}
    for mask in masks:  # the crop is centred on the body, with the margin
        rows, columns = np.nonzero(mask)
        for low, high in ((rows.min(), rows.max() + 1), (columns.min(), columns.max() + 1)):
            assert abs((low + high) / 2 - size / 2) <= 1.5
        extent = max(np.ptp(rows), np.ptp(columns)) + 1
        assert abs(extent - size / (1 + people.info.margin)) <= 2
    inner = [H36M.index(name) for name in ("pelvis", "l_knee", "r_knee", "spine", "l_elbow")]
    at = split.joints_2d[:, inner].astype(int)
    on_body = masks[np.arange(len(masks))[:, None], at[..., 1], at[..., 0]] > 0
    assert on_body.mean() > 0.97


def test_colours_vary_and_light_shades(people: Dataset) -> None:
    images, masks = people.split("train").images[:], people.split("train").masks[:]
    bodies = [image[mask == 255] for image, mask in zip(images, masks, strict=True)]
    assert np.std([body.mean(0) for body in bodies], axis=0).min() > 15
    assert np.mean([body.std() for body in bodies]) > 20


def test_persons_and_clips_are_in_one_split_only(people: Dataset) -> None:
    train, test = people.split("train").samples, people.split("test").samples
    prior = people.prior.samples
    clips = [set(samples["clip"].tolist()) for samples in (train, test, prior)]
    assert all(clips)
    assert not clips[0] & clips[1] | clips[0] & clips[2] | clips[1] & clips[2]
    assert not set(train["person"].tolist()) & set(test["person"].tolist())
    assert set(prior["person"].tolist()) <= set(people.info.details["persons"]["train"])
    activity = dict(zip(train["clip"].tolist(), train["activity"].tolist(), strict=True))
    assert activity["dance_a"] == "dance"


def test_the_prior_fits_its_crop(people: Dataset, hands: Dataset) -> None:
    for dataset in (people, hands):
        poses = dataset.prior.poses_2d
        assert np.isfinite(poses).all()
        assert poses.min() >= 0
        assert poses.max() <= dataset.info.size
        assert poses.std(0).min() > 0.5  # no two rows alike


def test_bone_lengths_come_from_the_training_persons(people: Dataset, bodies: Path) -> None:
    by_name = {body.name: body for body in load_bodies(str(bodies))}
    lengths = []
    for name in people.info.details["persons"]["train"]:
        body = by_name[name]
        rest = np.broadcast_to(np.eye(3), (len(body.bone_names), 3, 3))
        joints = plain_joints(body, rest, body.bone_heads)
        start, end = H36M.bone_indices.T
        lengths.append(np.linalg.norm(joints[end] - joints[start], axis=1) * 1000)
    np.testing.assert_allclose(people.skeleton.bone_lengths_mm, np.mean(lengths, 0), atol=0.01)


def test_hands_have_rigid_bones_and_curl_towards_the_palm(hands: Dataset) -> None:
    joints = hands.split("train").joints_3d_mm
    assert joints is not None
    skeleton = hands.skeleton
    start, end = skeleton.bone_indices.T
    lengths = np.linalg.norm(joints[:, end] - joints[:, start], axis=2)
    person = hands.split("train").samples["person"]
    for name in np.unique(person):
        assert np.ptp(lengths[person == name], axis=0).max() < 0.1  # mm
    wrist = joints[:, :1]
    reach = np.linalg.norm(joints - wrist, axis=2)
    tips = [skeleton.index(f"{finger}4") for finger in ("index", "middle", "ring", "little")]
    assert np.quantile(reach[:, tips].min(1), 0.05) < 100 < np.quantile(reach[:, tips], 0.95)

    # A left hand: with fingers ahead, the palm's side is on the left of thumb -> little finger.
    def at(name: str) -> NDArray:
        return joints[:, skeleton.index(name)] - joints[:, 0]

    palm = np.cross(at("little1"), at("index1"))
    curled = at("middle4") - at("middle1")
    assert ((palm * curled).sum(1) > 0).mean() > 0.9


def test_hands_stand_upright_with_the_palm_to_the_camera(hands: Dataset) -> None:
    split = hands.split("train")
    joints = split.joints_3d_mm
    assert joints is not None
    wrist, index, middle, little = (
        joints[:, hands.skeleton.index(name)] for name in ("wrist", "index1", "middle1", "little1")
    )
    assert ((middle - wrist)[:, 1] < 0).mean() > 0.97  # y points down
    assert ((little - index)[:, 0] > 0).mean() > 0.97  # the left hand's palm: thumb on the left
    # Cut at the wrist: little of the mask lies further from the knuckles than the joint.
    assert split.joints_2d is not None
    rows, columns = np.mgrid[: hands.info.size, : hands.info.size] + 0.5
    beyond = []
    for mask, pose in zip(split.masks[:], split.joints_2d, strict=True):
        at, knuckle = pose[hands.skeleton.index("wrist")], pose[hands.skeleton.index("middle1")]
        along = (np.stack([columns, rows], -1) - at) @ (at - knuckle)
        beyond.append((along[mask > 127] > 0).mean())
    assert np.mean(beyond) < 0.12


def test_cameras_keep_to_their_azimuth(studio: Studio) -> None:
    front = CameraConfig(azimuth_deg=[-30, 30], elevation_deg=[0, 0])
    view, names = random_view(RowNoise(0, 0, range(200)), front)
    axis = view[:, 2]  # the camera's z in the body's frame
    ahead = np.rad2deg(np.arctan2(-axis[:, 0], axis[:, 1]))
    assert np.abs(ahead).max() < 30
    assert np.abs(ahead).max() > 25
    assert len(set(names)) > 30


def test_one_worker_and_two_make_the_same_files(
    people: Dataset, bodies: Path, tmp_path: Path
) -> None:
    two = Dataset(run(config(tmp_path / "two", bodies, "data.synth.workers=2")))
    assert two.checksums == people.checksums
    for name in ("dataset.json", *people.checksums):
        assert (two.folder / name).read_bytes() == (people.folder / name).read_bytes()


def test_another_seed_makes_other_files(people: Dataset, bodies: Path, tmp_path: Path) -> None:
    other = Dataset(run(config(tmp_path / "x", bodies, "data.seed=7", "data.synth.workers=1")))
    assert all(other.checksums[name] != people.checksums[name] for name in people.checksums)


def test_a_rows_scene_does_not_depend_on_its_block(studio: Studio) -> None:
    together, alone = (studio.cast.scenes("test", rows) for rows in (range(9), range(6, 7)))
    for name in ("person", "rotations", "view", "focal", "samples"):
        np.testing.assert_array_equal(getattr(together, name)[6:7], getattr(alone, name))
    images = [studio.photograph(scenes)[0] for scenes in (together, alone)]
    np.testing.assert_array_equal(images[0][6:7], images[1])


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["data.synth.bodies=nowhere.npz"], r"nowhere\.npz: not found"),
        (["data.synth.motion=nowhere.npz"], r"nowhere\.npz: not found"),
        (["data.synth.kind=cats"], r"data\.synth\.kind=cats: must be people or hands"),
        (["data=hands", "skeleton=h36m17"], "skeleton=hand21"),
        (["skeleton=hand21"], "skeleton=h36m17"),
        (["data=hands", "data.synth.looks=varied"], r"data\.synth\.looks: for people"),
        (["data=hands", "data.synth.poses.lying=0.1"], r"data\.synth\.poses: for people"),
        (["data.synth.looks=fancy"], r"data\.synth\.looks=fancy: must be plain or varied"),
        (["data.synth.camera.focal_range_px=[9,3]"], r"focal_range_px=\[9, 3\]: must be two"),
        (["data.synth.camera.elevation_range_deg=[0,95]"], r"elevation_range_deg\[1\]=95"),
        (["data.synth.test=0"], r"data\.synth\.test"),
        (["data.synth.clips=[0.5,0.5]"], r"data\.synth\.clips"),
        (["data.synth.mix=1.5"], r"data\.synth\.mix"),
        (["data.synth.camera.distance_m=[6,4]"], r"distance_m"),
        (
            ["data.synth.camera.azimuth_deg=[60,-60]"],
            r"azimuth_deg=\[60, -60\]: must be two numbers, the smaller first",
        ),
        (
            ["data.synth.camera.azimuth_deg=[0,inf]"],
            r"azimuth_deg\[1\]=inf: must be a finite number",
        ),
        (["data.synth.camera.distance_m=[0.1,0.2]"], r"into the camera; raise it"),
        (["data.synth=null"], "describes no source; set one of"),
    ],
)
def test_bad_settings_leave_nothing(
    tmp_path: Path, bodies: Path, overrides: list[str], message: str
) -> None:
    with pytest.raises(InputError, match=message) as raised:
        run(config(tmp_path / "set", bodies, "data.synth.workers=1", *overrides))
    assert "\n" not in str(raised.value)
    assert list(tmp_path.iterdir()) == []


def test_a_failing_worker_leaves_nothing(
    tmp_path: Path, bodies: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(self: Studio, scenes: Any) -> None:
        raise MemoryError

    monkeypatch.setattr(Studio, "label", fail)
    with pytest.raises(MemoryError):
        run(config(tmp_path / "set", bodies, "data.synth.workers=2"))
    assert list(tmp_path.iterdir()) == []


def test_a_killed_run_leaves_neither_data_nor_workers(tmp_path: Path, bodies: Path) -> None:
    program = (
        "import sys\nfrom skelift.config import compose\n"
        "from skelift.stages.prepare import run\nrun(compose(sys.argv[1:]))"
    )
    many = ["data.synth.train=100000", "data.synth.workers=2", "data.size=24"]
    own = [f"paths.data={tmp_path / 'set'}", f"data.synth.bodies={bodies}"]
    # The workers hold their parent's end of this pipe: it closes when the last one has gone.
    running = subprocess.Popen(
        [sys.executable, "-c", program, *many, *own],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    children = Path(f"/proc/{running.pid}/task/{running.pid}/children")
    deadline = time.monotonic() + 120
    while running.poll() is None and len(children.read_text().split()) < 2:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    running.send_signal(signal.SIGKILL)
    running.communicate(timeout=60)
    assert running.returncode == -signal.SIGKILL
    assert not (tmp_path / "set").exists()
