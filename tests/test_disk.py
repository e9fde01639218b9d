"""A full disk, a folder that cannot be written, two runs at once, and what a killed run left."""

import errno
import fcntl
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from tiny import tiny_dataset
from tiny_run import pretrained, random_model

from skelift import files
from skelift.cli import main
from skelift.data import format as data_format
from skelift.errors import InputError
from skelift.files import (
    atomic_file,
    atomic_folder,
    check_file,
    check_folder,
    check_replaceable,
    claimed,
    locked,
    staged_folder,
)
from skelift.inference.drawings import video_writer
from skelift.models.tensors import save_tensors

MARK = "mark"


def below(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*")}


def image(path: Path) -> Path:
    import cv2

    canvas = np.zeros((40, 40, 3), np.uint8)
    canvas[5:35, 12:28] = 200
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), canvas)
    return path


def poses(path: Path) -> Path:
    rng = np.random.default_rng(0)
    np.savez(path, poses_2d=rng.uniform(100, 900, (9, 17, 2)))
    return path


@pytest.fixture
def prepare_folder(tmp_path: Path) -> list[str]:
    """``skelift prepare`` of four images, without paths.data."""
    for number in range(4):
        image(tmp_path / "images" / f"{number}.png")
    poses(tmp_path / "poses.npz")
    inputs = [f"data.folder.{key}={tmp_path / name}" for key, name in INPUTS.items()]
    return ["prepare", "data=folder", "data.size=32", "model.disc_scales=1", *inputs]


INPUTS = {"images": "images", "poses": "poses.npz"}


# A full disk.


def full_disk(monkeypatch: pytest.MonkeyPatch, room: int) -> None:
    """Test double of ``posix_fallocate``: a file system that gives ``room`` bytes at most."""
    real = os.posix_fallocate

    def allocate(handle: int, offset: int, size: int) -> None:
        if size > room:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        real(handle, offset, size)

    monkeypatch.setattr(os, "posix_fallocate", allocate)


def test_arrays_have_their_room_before_they_are_filled(tmp_path: Path) -> None:
    path = tmp_path / "a.npy"
    data_format._create_npy(path, (64, 64, 64), np.uint8)
    assert path.stat().st_blocks * 512 >= 64**3
    array = np.load(path)
    assert (array.shape, array.dtype, array.any()) == ((64, 64, 64), np.uint8, False)


@pytest.mark.parametrize("source", ["folder", "rendered"])
def test_a_full_disk_is_one_line_and_leaves_nothing(
    source: str,
    tmp_path: Path,
    prepare_folder: list[str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    full_disk(monkeypatch, room=4096)
    out = tmp_path / "disk" / "set"
    rendered = ["prepare", *(f"data.synth.{key}=8" for key in ("train", "test", "prior"))]
    verb = prepare_folder if source == "folder" else rendered
    assert main([*verb, f"paths.data={out}"]) == 1
    error = capsys.readouterr().err.strip()
    assert error == f"skelift prepare: error: {out}: No space left on device"
    assert not (tmp_path / "disk").exists() or below(tmp_path / "disk") == set()


def test_a_write_cut_short_names_the_file(tmp_path: Path) -> None:
    for error in (OSError(errno.ENOSPC, "No space"), OSError("1000 requested and 12 written")):
        with pytest.raises(OSError, match="No space left on device") as raised:
            cut_short(tmp_path / "a.npy", error)
        assert raised.value.filename == str(tmp_path / "a.npy")
    with pytest.raises(OSError, match="other"):
        cut_short(tmp_path / "a.npy", OSError(errno.ENOENT, "no such", "other"))
    assert below(tmp_path) == set()


def cut_short(path: Path, error: OSError) -> None:
    with atomic_file(path):
        raise error


@pytest.fixture
def tiny_disk(tmp_path: Path) -> object:
    """A real file system of 256 KiB, where this user may mount one."""
    disk = tmp_path / "tiny disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(disk)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("needs the right to mount a file system")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


def test_a_really_full_disk(
    tiny_disk: Path, prepare_folder: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    import torch

    room = tiny_disk / "taken"
    room.write_bytes(bytes(240 * 1024))
    assert main([*prepare_folder, f"paths.data={tiny_disk / 'set'}"]) == 1
    assert "set: No space left on device" in capsys.readouterr().err
    with pytest.raises(OSError, match=r"No space left on device: '.*/w\.safetensors'"):
        save_tensors(tiny_disk / "w.safetensors", {"a": torch.zeros(10**5)}, {})
    frame = np.random.default_rng(0).integers(0, 255, (96, 96, 3), dtype=np.uint8)
    with pytest.raises(OSError, match="No space left"):
        film(tiny_disk / "v.mp4", frame, 200)
    assert below(tiny_disk) == {"taken"}
    room.write_bytes(bytes(256 * 1024))
    with pytest.raises(InputError, match="No space left"):
        check_file(tiny_disk / "x.json")


def film(file: Path, frame: np.ndarray, frames: int) -> None:
    with video_writer(file, 25) as write:
        for _ in range(frames):
            write(frame)


# Outputs that cannot be written.


def test_outputs_are_looked_at_before_the_work(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    for path in (file, file / "below"):
        with pytest.raises(InputError, match=re.escape(str(path))):
            check_folder(path)
    with pytest.raises(InputError, match=re.escape(str(file / "x.json"))):
        check_file(file / "x.json")
    with pytest.raises(InputError, match="is a folder"):
        check_file(tmp_path)
    check_folder(tmp_path / "new" / "newer")
    check_file(tmp_path / "new" / "x.json")
    assert below(tmp_path) == {"file"}


def test_a_folder_without_the_right_to_write(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(**_: object) -> None:  # test double: root may write everywhere
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr(files.tempfile, "TemporaryFile", refuse)
    with pytest.raises(InputError, match=r"out: cannot be written \(Permission denied\)"):
        check_folder(tmp_path / "out")


@pytest.mark.parametrize("option", ["--out", "--draw"])
def test_predict_finds_it_before_the_model_is_loaded(
    option: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    file = tmp_path / "file"
    file.touch()
    places = {"--out": tmp_path / "x.json", "--draw": tmp_path / "drawn"}
    places[option] = file / "x.json" if option == "--out" else file
    # Test double: a model that must not be asked for.
    monkeypatch.setattr("skelift.inference.engines.choose_engine", lambda *_: 1 / 0)
    argv = ["predict", str(image(tmp_path / "a.png"))]
    assert main([*argv, *(str(word) for place in places.items() for word in place)]) == 2
    error = capsys.readouterr().err
    assert f"error: {places[option]}: " in error
    assert error.count("\n") == 1


@pytest.mark.parametrize(
    ("verb", "path"),
    [
        ("prepare", "data"),
        ("pretrain-flow", "flow"),
        ("train", "model"),
        ("train", "checkpoints"),
        ("evaluate", "reports"),
        ("validate", "reports"),
        ("sweep", "reports"),
    ],
)
def test_stages_find_it_before_the_work(
    verb: str, path: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "file"
    file.touch()
    (tmp_path / "reports").mkdir()
    tiny_dataset(tmp_path / "data", size=48)
    names = ["data.name=tiny", *(f"paths.{name}={tmp_path / name}" for name in PLACES)]
    assert main([verb, *names, f"paths.{path}={file / 'below'}"]) == 2
    error = capsys.readouterr().err
    assert f"{file} is a file" in error
    assert error.count("\n") == 1


PLACES = ("data", "flow", "model", "checkpoints", "reports")


def test_package_finds_it_before_the_export(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    model = random_model(tmp_path / "model")
    assert main(["package", str(model), "--out", str(tmp_path / "file")]) == 2
    assert "file/skelift.mar: cannot be made" in capsys.readouterr().err


# Cleaning up.


def test_only_a_writer_of_the_same_folder_cleans_up(tmp_path: Path) -> None:
    neighbours = {
        ".two.v2.abcdefgh.tmp",
        ".two.abcdefgh.tmp.tmp",
        ".two.short.tmp",
        ".twoXabcdefgh.tmp",
        ".tw[o].abcdefgh.tmp",
        "two.v2",
    }
    left_behind = ".two.a1_defgh.tmp"
    for name in (*neighbours, left_behind):
        (tmp_path / name).mkdir()
        (tmp_path / name / "content").touch()
    with atomic_folder(tmp_path / "two", MARK) as folder:
        (folder / MARK).touch()
    assert {path.name for path in tmp_path.iterdir()} == neighbours | {"two"}
    with atomic_folder(tmp_path / "tw[o]", MARK) as folder:
        (folder / MARK).touch()
    assert not (tmp_path / ".tw[o].abcdefgh.tmp").exists()


# Stands for any verb: it has a file, folders and a lock under way.
HALF_WAY = """
import signal, sys, time, types
from pathlib import Path
from skelift import cli, files
def run(config):
    out = Path(config.paths.reports)
    with (
        files.claimed(out / "set", by="prepare", beside=True),
        files.atomic_folder(out / "set", "mark"),
        files.staged_folder(out / "drawn") as drawn,
        files.atomic_file(out / "o.json") as file,
        files.atomic_file(out / "o.rrd", suffix=".tmp.rrd"),
    ):
        (drawn / "1.png").touch()
        (file.parent / ".tmpA").touch()  # as safetensors does
        print("half way", flush=True)
        time.sleep(600)
signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored below a shell's `&`
sys.modules["skelift.stages.report"] = types.SimpleNamespace(run=run)
raise SystemExit(cli.main(["report", f"paths.reports={sys.argv[1]}"]))
"""


@contextmanager
def half_way(out: Path) -> Iterator["subprocess.Popen[str]"]:
    """A command that is half way; killed at the end of the block, if it still runs."""
    process = subprocess.Popen(
        [sys.executable, "-c", HALF_WAY, str(out)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    try:
        assert process.stdout.readline() == "half way\n"
        yield process
    finally:
        process.kill()
        process.communicate()


@pytest.mark.parametrize(
    ("number", "code", "said"),
    [(signal.SIGTERM, 143, "terminated"), (signal.SIGINT, 130, "interrupted")],
)
def test_a_stopped_run_cleans_up(
    number: signal.Signals, code: int, said: str, tmp_path: Path
) -> None:
    with half_way(tmp_path) as process:
        process.send_signal(number)
        assert process.stderr is not None
        error = process.stderr.read()
        process.wait(60)
    assert (process.returncode, error) == (code, f"skelift report: {said}\n")
    assert below(tmp_path) == set()


def test_what_a_killed_run_left_goes_and_what_a_living_one_has_stays(tmp_path: Path) -> None:
    (tmp_path / ".o.json.abcdefgh.tmp").touch()  # by an older version
    with half_way(tmp_path):
        of_first = below(tmp_path)
        assert ".o.json.abcdefgh.tmp" not in of_first
        with staged_folder(tmp_path / "drawn"), atomic_file(tmp_path / "o.json") as file:
            file.write_text("{}")
            assert below(tmp_path) > of_first
        with atomic_file(tmp_path / "o.rrd", suffix=".tmp.rrd"):
            pass
        assert below(tmp_path) == of_first | {"o.json", "o.rrd"}
    assert below(tmp_path) == of_first | {"o.json", "o.rrd"}
    with half_way(tmp_path) as second:
        assert below(tmp_path).isdisjoint({name for name in of_first if ".tmp" in name})
        second.send_signal(signal.SIGTERM)
        second.wait(60)
    assert below(tmp_path) == {"o.json", "o.rrd"}


def test_a_run_killed_between_the_two_renames_loses_nothing(tmp_path: Path) -> None:
    replaced = tmp_path / ".two.old.tmp"
    replaced.mkdir()
    (replaced / MARK).write_text("old")
    with pytest.raises(RuntimeError), atomic_folder(tmp_path / "two", MARK):
        raise RuntimeError
    assert (tmp_path / "two" / MARK).read_text() == "old"


def test_what_is_not_ours_is_not_replaced(tmp_path: Path) -> None:
    album = tmp_path / "album"
    image(album / "cat.png")
    with pytest.raises(InputError, match=rf"album: holds other files \(no {MARK}\)"):
        fill(album)
    assert below(album) == {"cat.png"}
    empty = tmp_path / "empty"
    empty.mkdir()
    fill(empty)
    fill(empty)
    assert below(empty) == {MARK}


@pytest.mark.parametrize("mine", ["poses.npz", "train/joints.npy", "train/more/samples.npy"])
def test_a_data_set_with_files_of_others_is_not_replaced(
    mine: str, tmp_path: Path, prepare_folder: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "set"
    command = [*prepare_folder, f"paths.data={out}", "model.units=crop"]
    assert main(command) == 0
    for left in (".DS_Store", "train/Thumbs.db"):  # by a system that has shown the folder
        (out / left).touch()
    assert main(command) == 0
    (out / mine).parent.mkdir(exist_ok=True)
    (out / mine).touch()
    capsys.readouterr()
    assert main(command) == 2
    said = f"skelift prepare: error: {out / mine}: would be deleted, since {out} is replaced as a"
    assert capsys.readouterr().err.startswith(said)
    assert (out / mine).exists()


def test_a_data_set_of_an_older_version_can_be_replaced(tmp_path: Path) -> None:
    old = [data_format.DESCRIPTION, "train/approach.npy", "test/images-00011.npy"]
    for name in old:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    check_replaceable(tmp_path, *data_format.FILES)


def test_a_report_with_files_of_others_is_not_replaced(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("great_expectations")
    tiny_dataset(tmp_path / "data", size=48)
    command = ["validate", "data.name=tiny", f"paths.data={tmp_path / 'data'}"]
    command += [f"paths.reports={tmp_path}"]
    main(command)
    notes = tmp_path / "validation" / "validations" / "notes.txt"
    notes.touch()
    capsys.readouterr()
    assert main(command) == 2
    assert f"{notes}: would be deleted" in capsys.readouterr().err
    notes.unlink()
    main(command)
    assert "would be deleted" not in capsys.readouterr().err


@pytest.mark.parametrize("key", ["images", "poses"])
def test_inputs_in_the_folder_to_replace_are_refused(
    key: str, tmp_path: Path, prepare_folder: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    own = tmp_path / "own"
    own.mkdir()
    (own / "link").symlink_to(tmp_path)
    (tmp_path / "set").symlink_to(own)
    given = own / INPUTS[key]
    assert main([*prepare_folder, f"data.folder.{key}={given}", f"paths.data={own}/../set"]) == 2
    error = capsys.readouterr().err
    assert f"is replaced as a whole, and would take data.folder.{key}={given} with it" in error


def test_a_link_stays_a_link(tmp_path: Path) -> None:
    (tmp_path / "large disk").mkdir()
    link = tmp_path / "set"
    link.symlink_to(tmp_path / "large disk")
    fill(link)
    assert link.is_symlink()
    assert below(tmp_path / "large disk") == {MARK}


def fill(folder: Path) -> None:
    with atomic_folder(folder, MARK) as unfinished:
        (unfinished / MARK).touch()


def test_names_of_255_bytes_have_room_for_unfinished_files(tmp_path: Path) -> None:
    name = "ü" * 125 + ".json"
    with atomic_file(tmp_path / name) as unfinished:
        unfinished.write_text("{}")
    fill(tmp_path / ("ö" * 127))
    with staged_folder(tmp_path / ("ä" * 127)) as staged:
        (staged / "a").touch()
    assert len(list(tmp_path.iterdir())) == 3


# Two at once.


def test_the_second_run_into_a_folder_is_told(
    tmp_path: Path, prepare_folder: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "set"
    with claimed(out, by="prepare", beside=True):
        assert main([*prepare_folder, f"paths.data={out}"]) == 2
    said = f"skelift prepare: error: {out}: another process is writing there; wait for it, or name"
    assert capsys.readouterr().err.startswith(said)
    assert main([*prepare_folder, f"paths.data={out}", "model.units=crop"]) == 0
    assert below(tmp_path) >= {"set/dataset.json"}
    assert not list(tmp_path.glob(".set*"))


def test_writers_of_other_files_are_not_in_the_way(tmp_path: Path) -> None:
    with (
        claimed(tmp_path / "a", by="evaluate"),
        claimed(tmp_path / "a", by="report"),
        claimed(tmp_path / "a.v2", by="report"),
        pytest.raises(InputError),
    ):
        claimed(tmp_path / "a", by="report").__enter__()
    assert below(tmp_path) == set()


def test_a_killed_run_holds_no_claim(tmp_path: Path) -> None:
    program = (
        "import sys, time; from pathlib import Path; from skelift.files import claimed\n"
        "with claimed(Path(sys.argv[1]), by='x'): print('held', flush=True); time.sleep(60)"
    )
    out = tmp_path / "out"
    process = subprocess.Popen(
        [sys.executable, "-c", program, str(out)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    with pytest.raises(InputError, match="another process"):
        claimed(out, by="x").__enter__()
    process.send_signal(signal.SIGKILL)
    process.wait()
    with claimed(out, by="x"):
        pass
    assert below(tmp_path) == {"out"}


def test_a_lock_that_its_holder_removed_guards_nothing(tmp_path: Path) -> None:
    lock = tmp_path / "lock"
    with lock.open("a") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        with pytest.raises(BlockingIOError), locked(lock, wait=False):
            pass
        lock.unlink()  # and another run creates it again
        with locked(lock, wait=False):
            assert lock.exists()
    assert not lock.exists()


def test_a_second_training_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from tiny_run import overrides

    pretrained(tmp_path)
    capsys.readouterr()
    run = overrides(tmp_path, "run", "train.steps=5")
    for folder in ("model", "checkpoints"):
        with claimed(tmp_path / "run" / folder, by="train"):
            assert main(["train", *run]) == 2
        error = capsys.readouterr().err
        assert f"run/{folder}: another process is writing there" in error
        assert error.count("\n") == 1
    assert not (tmp_path / "run").exists()


def test_a_claimed_folder_may_be_a_mounted_disk(tmp_path: Path) -> None:
    """Nothing is written beside it, where nothing may be allowed."""
    (tmp_path / "disk").mkdir()
    with claimed(tmp_path / "disk", by="train"):
        assert below(tmp_path) == {"disk", "disk/.train.lock"}
    assert below(tmp_path) == {"disk"}


def test_starting_over_keeps_files_that_are_not_of_a_run(tmp_path: Path) -> None:
    from skelift.training.callbacks import CHECKPOINT, Checkpoints

    notes, snapshot = (tmp_path / "snapshots" / name for name in ("notes", "step-5.safetensors"))
    notes.parent.mkdir()
    for file in (notes, snapshot, tmp_path / CHECKPOINT):
        file.touch()
    Checkpoints(tmp_path, None, {}).clear()  # type: ignore[arg-type]
    assert below(tmp_path) == {"snapshots", "snapshots/notes"}
