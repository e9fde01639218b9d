"""What a folder holds, in which order: links, odd names, and what is left out."""

import os
from pathlib import Path

import pytest

from skelift.data.listing import list_files
from skelift.errors import InputError


def touch(root: Path, *names: str, content: bytes = b"x") -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content)
    return root


def names(root: Path) -> list[str]:
    return [file.relative_to(root).as_posix() for file in list_files(root).files]


def test_numbers_in_names_count(tmp_path: Path) -> None:
    touch(tmp_path, "10.png", "9.png", "b2/1.png", "b10/0.jpg", "b10/x10y2.PNG", "b10/x9y11.png")
    touch(tmp_path, "b10/x10y.png", "007.png", "7.png")
    assert names(tmp_path) == [
        *("007.png", "7.png", "9.png", "10.png"),
        *("b2/1.png", "b10/0.jpg", "b10/x9y11.png", "b10/x10y.png", "b10/x10y2.PNG"),
    ]


def test_links_are_followed_once(tmp_path: Path) -> None:
    root = touch(tmp_path / "in", "a/1.png", "b/1.png").resolve()
    touch(tmp_path / "elsewhere", "c/2.png", "3.png")
    (root / "0again").symlink_to("a")  # seen by its own path
    (root / "b/round").symlink_to("..")
    (root / "b/out").symlink_to(tmp_path)  # holds the root itself
    (root / "d").symlink_to(tmp_path / "elsewhere")
    (root / "e").symlink_to(tmp_path / "elsewhere/c")
    (root / "file.png").symlink_to(tmp_path / "elsewhere/3.png")
    (root / "gone.png").symlink_to("nowhere.png")
    assert names(root) == ["file.png", "a/1.png", "b/1.png", "d/3.png", "d/c/2.png"]
    left_out = list_files(root).left_out
    assert left_out == {"links to a folder read elsewhere": 4, "broken links": 1}
    (tmp_path / "link").symlink_to(root)
    assert len(list_files(tmp_path / "link").files) == 5


def test_folders_may_be_named_like_files(tmp_path: Path) -> None:
    touch(tmp_path, "clip.mp4/1.png", "a.png/2.png", "walk/@eaDir/1.png/SYNO_THUMB.png")
    assert names(tmp_path) == ["a.png/2.png", "clip.mp4/1.png"]


def test_what_is_left_out_is_counted(tmp_path: Path) -> None:
    touch(tmp_path, "1.png", "._1.png", ".DS_Store", "Thumbs.db", ".hidden/2.png", "@eaDir/3.png")
    touch(tmp_path, "a.heic", "b.HEIC", "notes", "c.gif")
    touch(tmp_path, "empty.png", "empty.mp4", content=b"")
    os.mkfifo(tmp_path / "pipe.png")
    listing = list_files(tmp_path)
    assert [file.name for file in listing.files] == ["1.png"]
    assert listing.left_out == {
        "of the system": 5, ".heic": 2, ".gif": 1, "without a suffix": 1, "empty": 2,
        "no regular files": 1,
    }  # fmt: skip
    assert listing.summary() == (
        f"{tmp_path}: left out 12 files (1 .gif, 2 .heic, 2 empty, 1 no regular files, "
        "5 of the system, 1 without a suffix)"
    )


def test_masks_beside_images_are_no_images(tmp_path: Path) -> None:
    touch(tmp_path, "1.jpg", "1.mask.png", "2.mask.png", "a.b/3.x.png", "a.b/3.x.mask.png")
    assert names(tmp_path) == ["1.jpg", "a.b/3.x.png"]
    assert list_files(tmp_path).left_out == {".mask.png without an image": 1}


def test_folder_without_images_says_what_it_holds(tmp_path: Path) -> None:
    touch(tmp_path, "a.heic")
    with pytest.raises(InputError, match=r"left out 1 files \(1 \.heic\): no images \(\.png"):
        list_files(tmp_path).check()


def test_every_suffix_is_known_in_upper_case(tmp_path: Path) -> None:
    known = ["a.TIFF", "a.tif", "b.M4V", "c.ts", "d.WebM"]
    assert names(touch(tmp_path, *known)) == known


@pytest.mark.parametrize("name", ["p.mask.jpg", "p_mask.png", "p.mask.PNG", "p_Mask.tif"])
def test_a_mask_by_another_name_is_no_image(tmp_path: Path, name: str) -> None:
    touch(tmp_path, "a/p.jpg", "a/p.mask.png", "q_mask.png", "a.mask.png")
    assert names(tmp_path) == ["q_mask.png", "a/p.jpg"]  # nothing is called q
    touch(tmp_path, f"a/{name}")
    with pytest.raises(InputError, match=rf"a/{name}: is named as the mask of p, .*p\.mask\.png"):
        list_files(tmp_path)
