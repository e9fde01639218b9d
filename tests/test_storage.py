"""Folders in a bucket of a real S3 server, and what happens when things go wrong."""

import json
import logging
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from rich.progress import Progress, TaskID
from s3_server import BUCKET, SECRET, S3Server, running_server, use
from tiny import tiny_dataset
from tiny_run import overrides, pretrained

from skelift.cli import main
from skelift.errors import InputError, RunError
from skelift.models.tensors import load_tensors
from skelift.storage import mirror
from skelift.storage.bucket import Location, connect
from skelift.storage.folders import Transfer, pull, push, pushed_at
from skelift.storage.manifest import in_bucket
from skelift.storage.transfer import PART
from skelift.training.callbacks import CHECKPOINT

Watch = Callable[[Callable[[int], None]], None]
FILES = 24  # of 1 MiB each
BIG = 3 * PART + 12345  # four parts


@pytest.fixture
def where(s3: S3Server, request: pytest.FixtureRequest) -> Location:
    """A place of one's own in the session's bucket."""
    return Location(BUCKET, f"tests/{request.node.name}")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with small, empty and nested files."""
    made = tmp_path / "made"
    write(made / "dataset.json", b'{"a": 1}')
    write(made / "train" / "an image.npy", bytes(range(256)) * 40)
    write(made / "empty", b"")
    return made


@pytest.fixture
def when_bytes_move(monkeypatch: pytest.MonkeyPatch) -> Watch:
    """Have a function called with the bytes that have just gone over the line."""
    advance = Progress.advance

    def watch(told: Callable[[int], None]) -> None:
        def advance_and_tell(progress: Progress, bar: TaskID, count: int) -> None:
            advance(progress, bar, count)
            told(count)

        monkeypatch.setattr(Progress, "advance", advance_and_tell)

    return watch


def write(path: Path, content: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def big_folder(tmp_path: Path) -> Path:
    content = np.random.default_rng(0).integers(0, 256, BIG, dtype=np.uint8).tobytes()
    return write(tmp_path / "made" / "images.npy", content).parent


def several_files(tmp_path: Path) -> Path:
    """More files than travel at once."""
    noise = np.random.default_rng(0)
    for number in range(FILES):
        write(tmp_path / "made" / f"{number}.npy", noise.bytes(2**20))
    return tmp_path / "made"


def content(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def keys(s3: S3Server, where: Location) -> list[str]:
    listed = s3.client().list_objects_v2(Bucket=where.bucket, Prefix=f"{where.prefix}/")
    return [item["Key"] for item in listed.get("Contents", [])]


def object_of(s3: S3Server, where: Location, name: str) -> str:
    (key,) = [key for key in keys(s3, where) if key.endswith(f"/{name}")]
    return key


def test_a_folder_comes_back_byte_for_byte(folder: Path, where: Location, tmp_path: Path) -> None:
    size = sum(map(len, content(folder).values()))
    assert push(folder, where) == Transfer(total=size, moved=size)
    assert push(folder, where) == Transfer(total=size, moved=0)
    got = tmp_path / "got"
    assert pull(where, got) == Transfer(total=size, moved=size)
    assert content(got) == content(folder)
    assert pull(where, got) == Transfer(total=size, moved=0)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["got", "made"]


def test_a_new_version_replaces_the_old_one_whole(
    folder: Path, where: Location, s3: S3Server, tmp_path: Path
) -> None:
    push(folder, where)
    got = tmp_path / "got"
    pull(where, got)
    (folder / "empty").unlink()
    write(folder / "dataset.json", b'{"a": 2}')
    push(folder, where)
    moved = pull(where, got).moved
    assert content(got) == content(folder)
    assert moved == len(b'{"a": 2}')  # the rest was there
    assert len(keys(s3, where)) == 3  # two files and the manifest; the old version is gone


def test_of_two_who_push_at_once_one_is_told(
    folder: Path, where: Location, tmp_path: Path, when_bytes_move: Watch
) -> None:
    other = tmp_path / "other"
    write(other / "model", b"theirs")
    pushed = []

    def meanwhile(_: int) -> None:
        if not pushed:
            pushed.append(True)
            push(other, where)

    when_bytes_move(meanwhile)
    with pytest.raises(RunError, match="somebody else pushed"):
        push(folder, where)
    pull(where, tmp_path / "got")
    assert content(tmp_path / "got") == content(other)


def test_killed_server_leaves_nothing_half_visible_and_push_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, when_bytes_move: Watch
) -> None:
    made, where, sent = several_files(tmp_path), Location(BUCKET, "set"), []
    size = FILES * 2**20
    with running_server(tmp_path / "server") as server:
        use(server, monkeypatch)
        monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")

        def crash(count: int) -> None:
            sent.append(count)
            if sum(sent) > 0.75 * size:
                server.kill()

        when_bytes_move(crash)
        with pytest.raises(RunError, match="does not answer"):
            push(made, where)
        when_bytes_move(lambda _: None)
        server.start()
        arrived = server.client().list_objects_v2(Bucket=BUCKET, Prefix="set/")["Contents"]
        assert 0 < len(arrived) < FILES
        with pytest.raises(InputError, match="nothing complete there"):
            pull(where, tmp_path / "got")
        assert not (tmp_path / "got").exists()
        missing = size - sum(item["Size"] for item in arrived)
        assert push(made, where) == Transfer(total=size, moved=missing)
        pull(where, tmp_path / "got")
        assert content(tmp_path / "got") == content(made)


def test_interrupted_pull_goes_on(where: Location, tmp_path: Path, when_bytes_move: Watch) -> None:
    made, got, parts = several_files(tmp_path), tmp_path / "got", tmp_path / ".got.pull"
    push(made, where)
    once = iter([True])  # of several threads
    # Where the tests run in the background, a shell has them ignore Ctrl-C.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)

    def interrupt(_: int) -> None:
        if any(parts.glob("*.npy")) and next(once, False):
            # As Ctrl-C does; sent to this thread, it would not wake the main thread that waits.
            signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
            time.sleep(1)  # this file is not complete before the main thread has heard

    when_bytes_move(interrupt)
    try:
        with pytest.raises(KeyboardInterrupt):
            pull(where, got)
    finally:
        signal.signal(signal.SIGINT, before)
    assert not got.exists()
    arrived = list(parts.glob("*.npy"))
    assert 0 < len(arrived) < FILES
    assert pull(where, got).moved == (FILES - len(arrived)) * 2**20
    assert content(got) == content(made)


def test_a_large_file_travels_in_parts(where: Location, s3: S3Server, tmp_path: Path) -> None:
    made = big_folder(tmp_path)
    push(made, where)
    about = s3.client().head_object(Bucket=BUCKET, Key=object_of(s3, where, "images.npy"))
    assert about["ETag"].strip('"').endswith("-4")
    pull(where, tmp_path / "got")
    assert content(tmp_path / "got") == content(made)


@pytest.mark.slow
def test_push_outlives_a_server_that_comes_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, when_bytes_move: Watch
) -> None:
    made, where, restarts = big_folder(tmp_path), Location(BUCKET, "set"), []
    with running_server(tmp_path / "server") as server:
        use(server, monkeypatch)
        monkeypatch.setenv("AWS_MAX_ATTEMPTS", "12")

        def crash(_: int) -> None:
            if not restarts:
                server.kill()
                restarts.append(threading.Thread(target=server.start))
                restarts[0].start()

        when_bytes_move(crash)
        assert push(made, where) == Transfer(total=BIG, moved=BIG)
        restarts[0].join()
        pull(where, tmp_path / "got")
        assert content(tmp_path / "got") == content(made)


def test_truncated_object_is_found_and_fixed_by_a_push(
    folder: Path, where: Location, s3: S3Server, tmp_path: Path
) -> None:
    push(folder, where)
    key = object_of(s3, where, "an image.npy")
    whole = s3.client().get_object(Bucket=BUCKET, Key=key)["Body"].read()
    s3.client().put_object(Bucket=BUCKET, Key=key, Body=whole[:100])
    got = write(tmp_path / "got" / "old", b"old").parent
    with pytest.raises(InputError, match=r"an image\.npy: has 100 bytes.*names 10240 bytes"):
        pull(where, got)
    assert content(got) == {"old": b"old"}
    push(folder, where)
    pull(where, got)
    assert content(got) == content(folder)


def test_changed_object_of_the_same_size_is_fixed_by_a_checking_push(
    folder: Path, where: Location, s3: S3Server, tmp_path: Path
) -> None:
    push(folder, where)
    key = object_of(s3, where, "an image.npy")
    there = s3.client().get_object(Bucket=BUCKET, Key=key)
    changed = b"x" + there["Body"].read()[1:]
    # It says of itself what it was: only its content tells.
    s3.client().put_object(Bucket=BUCKET, Key=key, Body=changed, Metadata=there["Metadata"])
    with pytest.raises(InputError, match=r"an image\.npy: .*push the folder again with --check"):
        pull(where, tmp_path / "got")
    assert push(folder, where).moved == 0
    assert main(["push", "--check", str(folder), str(where)]) == 0
    pull(where, tmp_path / "got")
    assert content(tmp_path / "got") == content(folder)
    assert push(folder, where, check=True).moved == 0


def test_missing_object_is_named(
    folder: Path, where: Location, s3: S3Server, tmp_path: Path
) -> None:
    push(folder, where)
    s3.client().delete_object(Bucket=BUCKET, Key=object_of(s3, where, "empty"))
    with pytest.raises(InputError, match="empty: missing, though"):
        pull(where, tmp_path / "got")
    assert not (tmp_path / "got").exists()


def test_manifest_cannot_reach_out_of_the_folder(
    folder: Path, where: Location, s3: S3Server, tmp_path: Path
) -> None:
    push(folder, where)
    key = f"{where.prefix}/manifest.json"
    manifest = json.loads(s3.client().get_object(Bucket=BUCKET, Key=key)["Body"].read())
    manifest["files"]["../outside"] = manifest["files"]["empty"]
    s3.client().put_object(Bucket=BUCKET, Key=key, Body=json.dumps(manifest).encode())
    with pytest.raises(InputError, match=r"names \.\./outside"):
        pull(where, tmp_path / "got")
    assert not (tmp_path / "outside").exists()


@pytest.mark.parametrize(
    ("variables", "uri", "complaint"),
    [
        ({"AWS_SECRET_ACCESS_KEY": "wrong"}, "s3:///set", "SignatureDoesNotMatch"),
        ({"AWS_ACCESS_KEY_ID": "nobody"}, "s3:///set", "InvalidAccessKeyId"),
        ({"AWS_ACCESS_KEY_ID": ""}, "s3:///set", "AWS_ACCESS_KEY_ID"),
        ({}, "s3://not-there/set", "s3://not-there/set: bucket not found"),
        ({"SKELIFT_S3_BUCKET": ""}, "s3:///set", "SKELIFT_S3_BUCKET"),
        ({"AWS_ENDPOINT_URL": "nonsense"}, "s3:///set", "nonsense is not an http"),
        ({}, "http://x/y", "write s3://"),
    ],
)
@pytest.mark.parametrize("verb", ["push", "pull"])
def test_refusals_are_one_line(
    verb: str,
    variables: dict[str, str],
    uri: str,
    complaint: str,
    folder: Path,
    s3: S3Server,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    got = tmp_path / "got"
    code = main(["push", str(folder), uri] if verb == "push" else ["pull", uri, str(got)])
    message = capsys.readouterr().err.strip()
    assert code == 2
    assert complaint in message
    assert "\n" not in message
    assert not got.exists()
    names = [bucket["Name"] for bucket in s3.client().list_buckets()["Buckets"]]
    assert names == [BUCKET]  # none made by accident


def test_silent_server_is_a_failed_run(
    folder: Path, s3: S3Server, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    assert main(["push", str(folder), "s3:///set"]) == 1
    assert "AWS_ENDPOINT_URL" in capsys.readouterr().err


def test_stages_use_the_bucket_and_print_no_secret(
    s3: S3Server,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    for folder in (here, there):
        folder.mkdir()
    caplog.set_level(logging.INFO)
    verb = ["pretrain-flow", *overrides(Path(), "run"), "paths.flow=run/flow", "flow.steps=3"]
    verb += ["storage=s3", "storage.uri=s3:///chain"]
    tiny_dataset(here / "data", size=32)
    monkeypatch.chdir(here)
    assert main([*verb, "--cfg", "job"]) == 0
    assert main(verb) == 2  # its data is not in the bucket
    assert main(["push", "data", "s3:///chain/data"]) == 0
    monkeypatch.chdir(there)  # another machine has nothing of it
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "nobody")
    assert main(verb) == 2
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", s3.environment["AWS_ACCESS_KEY_ID"])
    assert main(verb) == 0
    monkeypatch.chdir(here)
    assert main(["pull", "s3:///chain/run/flow", "flow"]) == 0
    assert content(there / "data") == content(here / "data")
    assert content(here / "flow") == content(there / "run" / "flow")
    printed = capfd.readouterr()
    assert "uri: s3:///chain" in printed.out
    assert "s3://skelift-test/chain/data: nothing complete there" in printed.err
    assert SECRET not in printed.out + printed.err + caplog.text
    assert not holding_the_secret(tmp_path)
    client = s3.client()
    for item in client.list_objects_v2(Bucket=BUCKET, Prefix="chain")["Contents"]:
        body = client.get_object(Bucket=BUCKET, Key=item["Key"])["Body"].read()
        assert SECRET.encode() not in body


def wait_for(condition: Callable[[], object], seconds: float = 60) -> None:
    limit = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < limit
        time.sleep(0.05)


def test_a_folder_is_mirrored_while_it_changes(
    where: Location, s3: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mirror, "LOOK_S", 0.05)
    here, there = tmp_path / "here", tmp_path / "there"
    with mirror.mirrored(here, where, pushes=True):
        write(here / "last", b"step 1")
        wait_for(lambda: pushed_at(where))
        pull(where, tmp_path / "meanwhile")
        write(here / "last", b"step 2")
    assert content(tmp_path / "meanwhile") == {"last": b"step 1"}
    with mirror.mirrored(there, where, pushes=False):
        assert content(there) == {"last": b"step 2"}
        write(there / "last", b"another process")
    # What is newer on the disk stays, and what is newer in the bucket comes.
    pull(where, tmp_path / "meanwhile")
    assert content(tmp_path / "meanwhile") == {"last": b"step 2"}
    with mirror.mirrored(there, where, pushes=True):
        assert content(there) == {"last": b"another process"}
    os.utime(here / "last", (0, 0))
    with mirror.mirrored(here, where, pushes=False):
        assert content(here) == {"last": b"another process"}
    assert sorted(path.name for path in tmp_path.iterdir() if path.is_dir()) == [
        "here",
        "meanwhile",
        "there",
    ]


def test_a_mirrored_folder_may_be_removed_in_the_end(where: Location, tmp_path: Path) -> None:
    """As a trial of a sweep does with its checkpoints."""
    with mirror.mirrored(tmp_path / "here", where, pushes=True):
        write(tmp_path / "here" / "last", b"step 1")
        wait_for(lambda: pushed_at(where))
        shutil.rmtree(tmp_path / "here")
    pull(where, tmp_path / "there")
    assert content(tmp_path / "there") == {"last": b"step 1"}
    assert not list(tmp_path.glob(".here*"))


def test_a_mirror_without_a_server_does_not_stop_the_work(
    where: Location,
    s3: S3Server,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(mirror, "LOOK_S", 0.05)
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    said = ""
    with mirror.mirrored(tmp_path / "here", where, pushes=True):
        monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
        write(tmp_path / "here" / "last", b"step 1")
        while "is not pushed" not in said:
            said += capfd.readouterr().err
        monkeypatch.setenv("AWS_ENDPOINT_URL", s3.endpoint)
    assert pushed_at(where)  # in the end


@pytest.mark.slow
def test_a_killed_training_goes_on_on_another_machine(
    s3: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Killed on one machine, finished and scored on another: the same weights bit by bit."""
    machines = {name: tmp_path / name for name in ("whole", "killed", "another")}
    pretrained(machines["whole"])
    for name in ("killed", "another"):
        machines[name].mkdir()
    monkeypatch.chdir(machines["whole"])
    options = overrides(Path(), "run", "train.checkpoint_every=5", "paths.reports=run/reports")
    options += ["evaluate.baselines=[mean_pose]", "evaluate.shown=3", "train.steps=150"]
    assert main(["train", *options]) == 0
    for name in ("data", "flow"):
        assert main(["push", name, f"s3:///moved/{name}"]) == 0

    bucket = [*options, "storage=s3", "storage.uri=s3:///moved"]
    command = [sys.executable, "-m", "skelift", "train", *bucket]
    process = subprocess.Popen(command, cwd=machines["killed"], start_new_session=True)
    where = Location(BUCKET, "moved/run/checkpoints")

    def has_checkpoint() -> bool:
        found = in_bucket(connect(), where)
        return found is not None and CHECKPOINT in found.manifest.files

    wait_for(lambda: has_checkpoint() or process.poll() is not None, 120)
    os.killpg(process.pid, signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL, "it was killed in the middle"

    monkeypatch.chdir(machines["another"])
    pull(where, tmp_path / "seen")
    _, about = load_tensors(tmp_path / "seen" / CHECKPOINT, "skelift train")
    assert 0 < int(about["step"]) < 150
    assert main(["train", *bucket]) == 0
    assert main(["evaluate", *bucket]) == 0
    for file in ("model.safetensors", "stats.jsonl"):
        ours, theirs = (machines[name] / "run/model" / file for name in ("another", "whole"))
        if file.endswith("jsonl"):
            steps = [[json.loads(row)["step"] for row in f.open()] for f in (ours, theirs)]
            assert steps[0] == steps[1]
        else:
            assert ours.read_bytes() == theirs.read_bytes()
    assert main(["pull", "s3:///moved/run/reports", str(tmp_path / "reports")]) == 0
    scores = json.loads((tmp_path / "reports" / "metrics.json").read_text())
    assert set(scores["rows"]) == {"skelift", "mean_pose"}
    assert SECRET not in "".join(capfd.readouterr())


@pytest.fixture
def git_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Git and DVC read no configuration of the machine's user."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")
    for who in ("AUTHOR", "COMMITTER"):
        monkeypatch.setenv(f"GIT_{who}_NAME", "test")
        monkeypatch.setenv(f"GIT_{who}_EMAIL", "test@example.org")
    return tmp_path


def test_dvc_gives_a_fresh_clone_the_same_bytes(s3: S3Server, git_home: Path) -> None:
    origin, clone = git_home / "origin", git_home / "clone"
    tiny_dataset(origin / "data" / "tiny")

    def run(folder: Path, *command: str) -> str:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout + done.stderr

    def dvc(folder: Path, *lines: str) -> str:
        program = (
            "import sys; from dvc.cli import main\n"
            "for line in sys.argv[1:]: assert main(line.split()) == 0, line"
        )
        return run(folder, sys.executable, "-c", program, *lines)

    said = run(origin, "git", "init", "-q")
    # As docs/storage.md has it: the URL is configuration, endpoint and credentials are not.
    remote = f"remote add -d bucket s3://{BUCKET}/dvc"
    said += dvc(origin, "init -q", remote, "add data/tiny", "push -j 2")
    said += run(origin, "git", "add", "-A")
    said += run(origin, "git", "commit", "-qm", "Data")
    said += run(origin, "git", "clone", "-q", str(origin), str(clone))
    assert not (clone / "data" / "tiny").exists()
    said += dvc(clone, "pull -j 2")
    assert content(clone / "data" / "tiny") == content(origin / "data" / "tiny")
    assert SECRET not in said
    assert not holding_the_secret(git_home)


def holding_the_secret(folder: Path) -> list[Path]:
    return [
        path
        for path in folder.rglob("*")
        if path.is_file() and SECRET.encode() in path.read_bytes()
    ]
