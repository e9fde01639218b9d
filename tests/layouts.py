"""Small data sets in the exact layouts of Human3.6M, MPI-INF-3DHP and HandDB, and their truth.

Each writer draws a walking figure before a patterned wall: grey bones, and on every joint a disc in
that joint's own colour, by which a test finds it again. All joints are named here, not taken from
the loaders.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cdflib.cdfwrite
import cv2
import h5py
import numpy as np
import scipy.io
from numpy.typing import NDArray
from tiny import load_skeleton

BODY = load_skeleton("h36m17")
HAND = load_skeleton("hand21")

# Human3.6M's 32 joints: where those of h36m17 are.
H36M32 = {
    **{"pelvis": 0, "r_hip": 1, "r_knee": 2, "r_ankle": 3, "l_hip": 6, "l_knee": 7, "l_ankle": 8},
    **{"spine": 12, "thorax": 13, "nose": 14, "head": 15, "l_shoulder": 17, "l_elbow": 18},
    **{"l_wrist": 19, "r_shoulder": 25, "r_elbow": 26, "r_wrist": 27},
}
MPI28 = [
    *("spine3", "spine4", "spine2", "spine", "pelvis", "neck", "head", "head_top", "l_clavicle"),
    *("l_shoulder", "l_elbow", "l_wrist", "l_hand", "r_clavicle", "r_shoulder", "r_elbow"),
    *("r_wrist", "r_hand", "l_hip", "l_knee", "l_ankle", "l_foot", "l_toe", "r_hip", "r_knee"),
    *("r_ankle", "r_foot", "r_toe"),
]
MPI17 = [
    *("head_top", "neck", "r_shoulder", "r_elbow", "r_wrist", "l_shoulder", "l_elbow", "l_wrist"),
    *("r_hip", "r_knee", "r_ankle", "l_hip", "l_knee", "l_ankle", "pelvis", "spine", "head"),
]
AS_MPI = {"thorax": "neck", "nose": "head", "head": "head_top"}  # others have the same names
UNIVERSAL = 1.1  # size of 3DHP's universal skeleton over the figure's


@dataclass
class Clip:
    """What a writer put into one recording: joints of h36m17 or hand21, and masks."""

    joints_2d: NDArray[np.float64]
    joints_mm: NDArray[np.float64] | None
    masks: list[NDArray[np.uint8]]
    focal: float = 0.0
    principal: tuple[float, float] = (0.0, 0.0)


def colour_of(joint: int, joints: int) -> tuple[int, int, int]:
    """RGB colour of a joint's disc, saturated."""
    pixel = np.array([[[joint * 179 // joints, 255, 255]]], dtype=np.uint8)
    return tuple(int(c) for c in cv2.cvtColor(pixel, cv2.COLOR_HSV2RGB)[0, 0])


def walk(frames: int, seed: int = 0, depth: float = 5000.0) -> NDArray[np.float64]:
    """(F, 17, 3) mm, camera frame: a figure that walks, turns and bends its knees forward."""
    rng = np.random.default_rng(seed)
    yaw, start = rng.uniform(-0.9, 0.9), rng.uniform(0, 2 * np.pi)
    poses = []
    for step in range(frames):
        phase = start + 0.7 * step
        pose = _stride(phase, rng.uniform(0.3, 0.8))
        c, s = np.cos(yaw + 0.03 * step), np.sin(yaw + 0.03 * step)
        turned = pose @ np.array([[c, 0, s], [0, 1, 0], [-s, 0, c]]).T
        poses.append(turned + np.array([-400 + 800 * step / max(1, frames - 1), 0, depth]))
    return np.stack(poses)


def _stride(phase: float, arms: float) -> NDArray[np.float64]:
    """(17, 3) mm about the pelvis: left is +x, up -y, forward -z (towards the camera)."""
    joint = {"pelvis": np.zeros(3), "spine": np.array([0, -230.0, 0])}
    joint["thorax"] = joint["spine"] + np.array([0, -255.0, 0])
    joint["nose"] = joint["thorax"] + [0.0, -100, -66]
    joint["head"] = joint["nose"] + [0, -105, 46]
    for side, sign in (("l", 1), ("r", -1)):
        swing = 0.45 * np.sin(phase + (np.pi if sign > 0 else 0))
        joint[f"{side}_hip"] = np.array([130.0 * sign, 0, 0])
        joint[f"{side}_knee"] = joint[f"{side}_hip"] + 440 * _down(swing + 0.25)
        joint[f"{side}_ankle"] = joint[f"{side}_knee"] + 440 * _down(swing - 0.35)
        joint[f"{side}_shoulder"] = joint["thorax"] + [150.0 * sign, 15, 0]
        reach = np.array([np.sin(arms) * sign, np.cos(arms), 0])
        joint[f"{side}_elbow"] = joint[f"{side}_shoulder"] + 280 * reach
        joint[f"{side}_wrist"] = joint[f"{side}_elbow"] + 250 * (0.8 * reach + [0, 0, -0.6])
    return np.stack([joint[name] for name in BODY.joints])


def _down(angle: float) -> NDArray[np.float64]:
    return np.array([0, np.cos(angle), -np.sin(angle)])


def project(
    joints_mm: NDArray[np.float64], focal: float, principal: Sequence[float]
) -> NDArray[np.float64]:
    """Pinhole camera: (..., 3) mm -> (..., 2) pixels."""
    return joints_mm[..., :2] / joints_mm[..., 2:] * focal + np.array(principal)


def paint(
    joints_2d: NDArray[np.float64], bones: NDArray[np.int64], size: tuple[int, int]
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """The figure before the wall: (H, W, 3) BGR, and its (H, W) mask of 0 and 255."""
    width, height = size
    wall = np.random.default_rng(5).integers(20, 90, (16, 16, 3), dtype=np.uint8)
    image = cv2.resize(wall, size, interpolation=cv2.INTER_NEAREST)
    mask = np.zeros((height, width), dtype=np.uint8)
    thick = max(3, round(np.ptp(joints_2d, axis=0).max() * 0.07))
    points = np.round((joints_2d - 0.5) * 16).astype(int).tolist()
    for parent, child in bones:
        for canvas, value in ((image, (190, 190, 190)), (mask, 255)):
            cv2.line(canvas, points[parent], points[child], value, thick, shift=4)
    for joint, point in enumerate(points):
        bgr = colour_of(joint, len(points))[::-1]
        for canvas, value in ((image, bgr), (mask, 255)):
            cv2.circle(canvas, point, 9 * thick, value, -1, shift=4)
    return image, mask


def save_video(
    path: Path, images: Sequence[NDArray[np.uint8]], fps: float, codec: str = "mp4v"
) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    height, width = images[0].shape[:2]
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*codec), fps, (width, height))
    assert writer.isOpened()
    for image in images:
        writer.write(image if image.ndim == 3 else np.dstack([image] * 3))
    writer.release()


# Human3.6M.


def save_cdf(path: Path, poses: NDArray[np.float64]) -> None:
    """``Pose`` (1, F, 64 or 96)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    flat = poses.reshape(1, len(poses), -1)
    variable = {
        "Variable": "Pose",
        "Data_Type": 45,  # CDF_DOUBLE
        "Num_Elements": 1,
        "Rec_Vary": True,
        "Dim_Sizes": list(flat.shape[1:]),
        "Compress": 6,
    }
    path.unlink(missing_ok=True)
    with cdflib.cdfwrite.CDF(str(path), delete=True) as cdf:
        cdf.write_var(variable, var_data=flat)


def save_masks(path: Path, masks: Sequence[NDArray[np.uint8]]) -> None:
    """MATLAB v7.3: ``Masks`` (F, 1) references to (W, H) images of 0 and 1."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w") as file:
        group = file.create_group("#refs#")
        references = np.empty((len(masks), 1), dtype=h5py.ref_dtype)
        for i, mask in enumerate(masks):
            data = (mask.T > 0).astype(np.uint8)
            references[i, 0] = group.create_dataset(str(i), data=data, compression=1).ref
        file.create_dataset("Masks", data=references, dtype=h5py.ref_dtype)


def in_32(joints: NDArray[np.float64]) -> NDArray[np.float64]:
    """(F, 17, D) -> (F, 32, D); the others lie somewhere in the trunk."""
    root = joints[:, :1]
    full = root + np.random.default_rng(3).uniform(-20, 20, (1, 32, joints.shape[2]))
    for name, index in H36M32.items():
        full[:, index] = joints[:, BODY.index(name)]
    return full


def filled_box(mask: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The mask's bounding box, filled."""
    x, y, width, height = cv2.boundingRect(mask)
    box = np.zeros_like(mask)
    box[y : y + height, x : x + width] = 255
    return box


H36M_CLIPS = {
    ("S1", "TakingPhoto 1.54138969"): 8,
    ("S1", "TakingPhoto 1.55011271"): 8,
    ("S1", "Directions.55011271"): 8,
    ("S9", "Photo 1.54138969"): 5,
    ("S9", "Photo 1.55011271"): 5,
}


def write_h36m(
    root: Path,
    *,
    fetch: bool = False,
    silhouettes: str = "mat",
    boxes: str = "mat",
    frames_of: Mapping[tuple[str, str], int] = H36M_CLIPS,
) -> dict[tuple[str, str], Clip]:
    """The official archives, or h36m-fetch's folder names; masks as ``mat`` or ``mp4``."""
    clips = {}
    poses = "Poses_{}" if fetch else "MyPoseFeatures/{}"
    for seed, ((subject, stem), frames) in enumerate(frames_of.items()):
        folder = root / subject
        size = (1000, 1002) if stem.endswith("54138969") else (1000, 1000)
        joints_mm = walk(frames, seed)
        focal, principal = 1145.0 + seed, (512.0, 515.0)
        joints_2d = project(joints_mm, focal, principal)
        painted = [paint(pose, BODY.bone_indices, size) for pose in joints_2d]
        masks = [mask for _, mask in painted]
        save_cdf(folder / poses.format("D2_Positions") / f"{stem}.cdf", in_32(joints_2d))
        save_cdf(folder / poses.format("D3_Positions_mono") / f"{stem}.cdf", in_32(joints_mm))
        save_video(folder / "Videos" / f"{stem}.mp4", [image for image, _ in painted], 50)
        segments = folder / "MySegmentsMat"
        for kind, form, images in (
            ("bb", boxes, [filled_box(mask) for mask in masks]),
            ("bs", silhouettes, masks),
        ):
            file = segments / f"ground_truth_{kind}" / f"{stem}.{form}"
            save_masks(file, images) if form == "mat" else save_video(file, images, 50)
        clips[subject, stem] = Clip(joints_2d, joints_mm, masks, focal, principal)
    corrupt = root / "S11"
    for kind in ("D2_Positions", "D3_Positions_mono"):
        some = np.zeros((5, 17, 2 if kind.startswith("D2") else 3))
        save_cdf(corrupt / poses.format(kind) / "Directions.54138969.cdf", in_32(some))
    (corrupt / "Videos").mkdir(parents=True)
    (corrupt / "Videos" / "Directions.54138969.mp4").write_bytes(b"broken")
    (root / "S1" / poses.format("D2_Positions") / "_ALL 1.54138969.cdf").write_bytes(b"")
    return clips


def write_simplified(root: Path, frames: int = 8) -> dict[tuple[str, str], Clip]:
    """KeypointGAN's crops of 128 px."""
    clips = {}
    for seed, (subject, sequence) in enumerate([("S1", "walking_1"), ("S9", "waiting_2")]):
        joints_mm = walk(frames, seed)
        joints_mm[..., 0] -= joints_mm[:, :1, 0]
        joints_2d = project(joints_mm, 300.0, (64.0, 64.0))
        masks = []
        for i, pose in enumerate(joints_2d):
            image, mask = paint(pose, BODY.bone_indices, (128, 128))
            masks.append(mask)
            base = root / "human_images" / subject
            # Numbers without zeros in front: the order of names is not that of time.
            for kind, suffix, content in (
                ("WithBackground", ".jpg", image),
                ("BackgroudMask", ".png", mask),
            ):
                file = base / kind / sequence / f"{i + 5}{suffix}"
                file.parent.mkdir(parents=True, exist_ok=True)
                assert cv2.imwrite(str(file), content)
            file = base / "Landmarks" / sequence / f"{i + 5}.mat"
            file.parent.mkdir(parents=True, exist_ok=True)
            scipy.io.savemat(file, {"keypoints_2d": in_32(pose[None])[0] / 128})
        clips[subject, sequence] = Clip(joints_2d, None, masks)
    return clips


# MPI-INF-3DHP.


def in_mpi(joints: NDArray[np.float64], names: Sequence[str]) -> NDArray[np.float64]:
    """(F, 17, D) of h36m17 -> (F, len(names), D); joints it lacks lie on the pelvis."""
    own = {AS_MPI.get(name, name): joints[:, i] for i, name in enumerate(BODY.joints)}
    return np.stack([own.get(name, joints[:, 0]) for name in names], axis=1)


def universal(joints_mm: NDArray[np.float64]) -> NDArray[np.float64]:
    """The pose at another size about its pelvis, so that it no longer projects onto the 2D."""
    root = joints_mm[:, :1]
    return root + UNIVERSAL * (joints_mm - root)


def write_3dhp(
    root: Path,
    *,
    frames: int = 10,
    sequences: Sequence[tuple[str, str, float]] = (("S2", "Seq1", 25.0), ("S3", "Seq1", 50.0)),
    cameras: Sequence[int] = (0, 4),
    tests: Sequence[str] = ("TS1", "TS6"),
) -> dict[tuple[str, str], Clip]:
    """Training sequences of small images and two test sequences at their true size.

    S3/Seq1 has one annotation too many, as in the data set.
    """
    clips = {}
    for seed, (person, sequence, fps) in enumerate(sequences):
        folder = root / person / sequence
        annotated = frames + 1 if (person, sequence) == ("S3", "Seq1") else frames
        cells: dict[str, Any] = {
            name: np.empty((14, 1), dtype=object) for name in ("annot2", "annot3", "univ_annot3")
        }
        for camera in range(14):
            joints_mm = walk(annotated, seed=10 * seed + camera)
            focal, principal = 360.0 + camera, (256.0, 250.0)
            joints_2d = project(joints_mm, focal, principal)
            for name, joints in (
                ("annot2", joints_2d),
                ("annot3", joints_mm),
                ("univ_annot3", universal(joints_mm)),
            ):
                cells[name][camera, 0] = in_mpi(joints, MPI28).reshape(annotated, -1)
            if camera in cameras:
                painted = [paint(pose, BODY.bone_indices, (512, 512)) for pose in joints_2d]
                painted = painted[:frames]
                masks = [mask for _, mask in painted]
                chairs = [_chair(mask) for mask in masks]
                _write_mask_videos(folder, camera, masks, chairs, fps)
                images = [image for image, _ in painted]
                save_video(folder / "imageSequence" / f"video_{camera}.avi", images, fps, "MJPG")
                clips[f"{person}/{sequence}", str(camera)] = Clip(
                    joints_2d, joints_mm, masks, focal, principal
                )
        cells["cameras"] = np.arange(14)
        cells["frames"] = np.arange(annotated)
        folder.mkdir(parents=True, exist_ok=True)
        scipy.io.savemat(folder / "annot.mat", cells)
        _write_calibration(folder / "camera.calibration")
    for name in tests:
        clips[name, ""] = _write_test(root / "mpi_inf_3dhp_test_set" / name)
    return clips


def _chair(mask: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """A chair in a corner that the body does not reach."""
    chair = np.zeros_like(mask)
    chair[-60:-10, 10:60] = 255
    return chair


def _write_mask_videos(
    folder: Path,
    camera: int,
    masks: Sequence[NDArray[np.uint8]],
    chairs: Sequence[NDArray[np.uint8]],
    fps: float,
) -> None:
    """FGmasks: red in front of the green screen (chair too); ChairMasks: red dark on the chair."""
    nothing = np.zeros_like(masks[0])
    front = [
        np.dstack([255 - mask, 255 - mask, mask | chair])
        for mask, chair in zip(masks, chairs, strict=True)
    ]
    seats = [np.dstack([nothing, nothing, 255 - chair]) for chair in chairs]
    save_video(folder / "FGmasks" / f"video_{camera}.avi", front, fps, "MJPG")
    save_video(folder / "ChairMasks" / f"video_{camera}.avi", seats, fps, "MJPG")


def _write_calibration(path: Path) -> None:
    lines = ["Skeletool Camera Calibration File V1.0"]
    for camera in range(14):
        f = 360 + camera
        lines += [
            f"name          {camera}",
            "  sensor      10 10",
            "  size        512 512",
            "  animated    0",
            f"  intrinsic   {f} 0 256 0 0 {f} 250 0 0 0 1 0 0 0 0 1 ",
            "  extrinsic   1 0 0 0 0 1 0 0 0 0 1 0 0 0 0 1 ",
            "  radial      0",
        ]
    path.write_text("\n".join(lines) + "\n")


def _write_test(folder: Path, frames: int = 8) -> Clip:
    """TS1-4 are 2048 x 2048, TS5-6 1920 x 1080. Frame 3 is not valid; a last image is extra."""
    name = folder.name
    if name in ("TS5", "TS6"):
        size, focal = (1920, 1080), 8.770747185 / 10 * 1920
        principal = (960 - 0.104908645 / 10 * 1920, 540 + 0.104899704 / 5.625 * 1080)
    else:
        size, focal = (2048, 2048), 7.32506 / 10 * 2048
        principal = (1024 - 0.0322884 / 10 * 2048, 1024 + 0.0929296 / 10 * 2048)
    joints_mm = walk(frames, seed=int(name[2:]) + 40)
    joints_mm[..., 0] *= 1.4
    joints_2d = project(joints_mm, focal, principal)
    painted = [paint(pose, BODY.bone_indices, size) for pose in joints_2d]
    wrong = universal(joints_mm)
    if name == "TS6":
        knees = [BODY.index(f"{s}_{j}") for s in "lr" for j in ("knee", "ankle")]
        wrong[:, knees] += [300.0, 0, 200.0]
    (folder / "imageSequence").mkdir(parents=True)
    images = [image for image, _ in painted]
    for i, image in enumerate([*images, images[-1]]):
        assert cv2.imwrite(str(folder / "imageSequence" / f"img_{i + 1:06d}.jpg"), image)
    valid = np.ones((frames, 1))
    valid[3] = 0
    with h5py.File(folder / "annot_data.mat", "w") as file:
        for key, joints in (("annot2", joints_2d), ("annot3", joints_mm), ("univ_annot3", wrong)):
            file.create_dataset(key, data=in_mpi(joints, MPI17)[:, None])
        file.create_dataset("valid_frame", data=valid)
        file.create_dataset("activity_annotation", data=np.full((frames, 1), 3.0))
    return Clip(joints_2d, joints_mm, [mask for _, mask in painted], focal, principal)


# HandDB.


def write_handdb(root: Path, images: int = 15) -> dict[tuple[str, str], Clip]:
    """``hand_labels_synth/synth{1,2,3}``: synth2 of 368 x 368, synth3 of 400 x 300 pixels."""
    clips = {}
    sizes = {"synth1": (368, 368), "synth2": (368, 368), "synth3": (400, 300)}
    for seed, (sequence, size) in enumerate(sizes.items()):
        folder = root / "hand_labels_synth" / sequence
        folder.mkdir(parents=True)
        poses = np.stack(list(_hands(images, seed, size)))
        masks = []
        for i, pose in enumerate(poses):
            image, mask = paint(pose, HAND.bone_indices, size)
            masks.append(mask)
            assert cv2.imwrite(str(folder / f"{i:04d}.jpg"), image)
            points = [[float(x), float(y), 1] for x, y in pose]
            (folder / f"{i:04d}.json").write_text(json.dumps({"hand_pts": points}))
        clips[sequence, ""] = Clip(poses, None, masks)
    return clips


def _hands(count: int, seed: int, size: tuple[int, int]) -> Iterator[NDArray[np.float64]]:
    """(21, 2) pixels: fingers spread from a wrist, at random angles and places."""
    rng = np.random.default_rng(seed)
    for _ in range(count):
        wrist = np.array(size) * [0.5, 0.72] + rng.uniform(-12, 12, 2)
        spread, joints = rng.uniform(0.2, 0.35), [wrist]
        for finger in range(5):
            angle = (finger - 2) * spread + rng.normal(0, 0.04)
            along = np.array([np.sin(angle), -np.cos(angle)])
            joints += [wrist + along * reach for reach in (60, 88, 108, 124)]
        yield np.stack(joints)
