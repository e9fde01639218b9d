"""Which files of a folder are images and videos, in which order, and what is left out."""

import os
import re
from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

from skelift.errors import InputError

IMAGES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff")
VIDEOS = (
    *(".mp4", ".m4v", ".mov", ".avi", ".mkv", ".webm", ".mpg", ".mpeg", ".ts", ".mts", ".m2ts"),
    *(".wmv", ".flv", ".3gp"),
)
BESIDE = ".mask.png"  # NAME.mask.png beside NAME.jpg is its mask
LIKE_A_MASK = (".mask", "_mask", "-mask")  # ends of stems that are mostly masks
# What systems and network drives leave beside files; so is what begins with a dot.
OF_THE_SYSTEM = (
    *("@eadir", "#recycle", "@recycle", "#snapshot", "$recycle.bin", "__macosx", "lost+found"),
    *("thumbs.db", "desktop.ini", "system volume information"),
)

NaturalKey = list[str | int]


@dataclass(frozen=True)
class Listing:
    """What a folder and those below it hold; linked folders are followed, each folder once."""

    root: Path
    # Images and videos, folder by folder, in natural order, without the masks beside images.
    files: tuple[Path, ...]
    left_out: Counter[str]  # all else: how many of which kind

    def summary(self) -> str:
        """What is left out, as a line; empty where nothing is."""
        kinds = ", ".join(f"{count} {kind}" for kind, count in sorted(self.left_out.items()))
        return f"{self.root}: left out {self.left_out.total()} files ({kinds})" if kinds else ""

    def check(self) -> None:
        """InputError where there is neither an image nor a video."""
        if not self.files:
            kinds = f"no images ({' '.join(IMAGES)}) or videos ({' '.join(VIDEOS)}) in it"
            raise InputError(f"{self.summary() or self.root}: {kinds}")


def list_files(root: Path, suffixes: Collection[str] = (*IMAGES, *VIDEOS)) -> Listing:
    """The images and videos, or other kinds, below a folder.

    InputError if a folder cannot be read, or an image is named as another one's mask (see
    ``LIKE_A_MASK``): it would be taken for an image of its own.
    """
    files: list[Path] = []
    left_out: Counter[str] = Counter()
    for folder in _folders(root, left_out):
        for path in _children(folder):
            if kind := _kind_left_out(path, suffixes):
                left_out[kind] += 1
            elif not path.is_dir():
                files.append(path)
    images = [file for file in files if not file.name.endswith(BESIDE)]
    stems = {file.with_suffix("") for file in images}
    _check_none_like_a_mask(images, stems)
    lone = [file for file in files if file.name.endswith(BESIDE) and _owner(file) not in stems]
    if lone:
        left_out[f"{BESIDE} without an image"] += len(lone)
    images.sort(key=lambda path: _order(path.relative_to(root)))
    return Listing(root, tuple(images), left_out)


def natural_key(name: str) -> NaturalKey:
    """Sorts names with numbers as people count: 2 before 10."""
    parts = re.split(r"(\d+)", name)
    return [int(part) if place % 2 else part for place, part in enumerate(parts)]


def is_video_file(file: Path) -> bool:
    """Whether a file's name says that it is a video."""
    return file.suffix.lower() in VIDEOS


def is_file(path: Path) -> bool:
    """Whether there is a file; a name too long for the file system is that of none."""
    return os.path.isfile(path)  # noqa: PTH113  # Path.is_file raises


def folders_of(file: Path) -> tuple[str, ...]:
    """The folders that a file lies in; a video counts as a folder of frames."""
    return (*file.parent.parts, file.stem) if is_video_file(file) else file.parent.parts


_OF_SYSTEM = "of the system"


def _check_none_like_a_mask(files: list[Path], stems: set[Path]) -> None:
    """InputError with the first image that is named as the mask of another file."""
    for file in files:
        for end in LIKE_A_MASK:
            name = file.stem.lower().endswith(end) and file.stem[: -len(end)]
            if name and file.suffix.lower() in IMAGES and file.with_name(name) in stems:
                raise InputError(
                    f"{file}: is named as the mask of {name}, but would be read as an image; "
                    f"rename it {name}{BESIDE}, or move the masks to a folder of their own "
                    "(predict --masks DIR, data.folder.masks=DIR)"
                )


def _owner(mask: Path) -> Path:
    """A mask's image, without its suffix."""
    return mask.with_name(mask.name.removesuffix(BESIDE))


def _order(file: Path) -> tuple[list[NaturalKey], tuple[str, ...], NaturalKey, str]:
    folders = folders_of(file)
    # Names with equal numbers, such as 1 and 01, still have one order.
    return [natural_key(name) for name in folders], folders, natural_key(file.stem), file.name


def _folders(root: Path, left_out: Counter[str]) -> Iterator[Path]:
    """The folder and all below, each once, by its own path rather than by a link to it."""
    seen = {_identity(folder) for folder in root.resolve().parents}
    found, links = [root], list[Path]()
    while found or links:
        folder = found.pop() if found else links.pop(0)
        if _identity(folder) in seen:
            left_out["links to a folder read elsewhere"] += 1
            continue
        seen.add(_identity(folder))
        yield folder
        for path in _children(folder):
            if path.is_dir() and not _is_of_the_system(path):
                (links if path.is_symlink() else found).append(path)


def _children(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir())
    except OSError as error:
        raise InputError(
            f"{folder}: cannot be read ({error.strerror}); change its permissions or move it away"
        ) from None


def _identity(folder: Path) -> tuple[int, int]:
    status = folder.stat()
    return status.st_dev, status.st_ino


def _is_of_the_system(path: Path) -> bool:
    return path.name.startswith(".") or path.name.lower() in OF_THE_SYSTEM


def _kind_left_out(path: Path, suffixes: Collection[str]) -> str:
    """Why a file or folder is not read; empty for one of the kinds, or a folder to look into."""
    if _is_of_the_system(path):
        return _OF_SYSTEM
    if path.is_dir():
        return ""
    if path.suffix.lower() not in suffixes:
        return path.suffix.lower() or "without a suffix"
    if not path.is_file():
        return "broken links" if path.is_symlink() else "no regular files"
    return "empty" if not path.stat().st_size else ""
