"""Files that pipeline steps exchange through a bucket of a real S3 server."""

from pathlib import Path

import pytest
from s3_server import BUCKET, S3Server

from skelift.errors import InputError
from skelift.kubeflow.bucket import fetch, fetch_if_there, upload


@pytest.fixture
def uri(s3: S3Server, request: pytest.FixtureRequest) -> str:
    """A place of one's own in the session's bucket."""
    return f"s3://{BUCKET}/steps/{request.node.name}"


def made(folder: Path, **files: str) -> Path:
    folder.mkdir(parents=True)
    for name, content in files.items():
        (folder / name).write_text(content)
    return folder


def test_folder_and_file_come_back_and_neighbours_stay(uri: str, tmp_path: Path) -> None:
    upload(made(tmp_path / "set" / "train", a="one", b="two").parent, f"{uri}/set")
    upload(made(tmp_path / "other", c="three"), f"{uri}/set2")
    got = fetch(f"{uri}/set", tmp_path / "got")
    assert got == tmp_path / "got" / "set"
    assert {p.name: p.read_text() for p in got.rglob("*") if p.is_file()} == {
        "a": "one",
        "b": "two",
    }
    one = fetch(f"{uri}/set2/c", tmp_path / "got")
    assert one.read_text() == "three"


@pytest.mark.usefixtures("s3")
def test_what_is_not_there_is_named(uri: str, tmp_path: Path) -> None:
    assert fetch_if_there(f"{uri}/nothing", tmp_path / "got") is None
    assert fetch_if_there(str(tmp_path / "nothing"), tmp_path / "got") is None
    with pytest.raises(InputError, match="nothing: not found"):
        fetch(f"{uri}/nothing", tmp_path)
    with pytest.raises(InputError, match="names no file or folder"):
        upload(tmp_path, f"s3://{BUCKET}")


def test_refused_secret_is_told_in_one_line(
    uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "another secret")
    with pytest.raises(InputError, match="refused the credentials") as told:
        upload(made(tmp_path / "set", a="one"), uri)
    assert "another secret" not in str(told.value)
