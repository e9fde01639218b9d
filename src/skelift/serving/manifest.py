"""What a .mar says of itself. Light to import."""

import json
import re
import zipfile
import zlib
from pathlib import Path

from skelift.errors import InputError

MANIFEST = "MAR-INF/MANIFEST.json"
NAME = re.compile(r"[\w.-]+", re.ASCII)  # of a model or version, as URLs carry it


def read_manifest(archive: Path) -> tuple[str, str]:
    """Name and version of the model in an archive.

    Raises:
        InputError: it is not found, no archive, or damaged.
    """
    if not archive.is_file():
        raise InputError(f"{archive}: not found; run `skelift package` first")
    try:
        with zipfile.ZipFile(archive) as opened:
            damaged = opened.testzip()
            model = json.loads(opened.read(MANIFEST))["model"]
            name, version = str(model["modelName"]), str(model["modelVersion"])
    except (OSError, ValueError, LookupError, TypeError, NotImplementedError) as error:
        why = f" ({error.strerror})" if isinstance(error, OSError) and error.strerror else ""
        raise InputError(
            f"{archive}: not an archive{why}; recreate it with `skelift package`"
        ) from None
    except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError):
        damaged = "its index"
    if damaged:
        raise InputError(f"{archive}: damaged ({damaged}); recreate it with `skelift package`")
    if not (NAME.fullmatch(name) and NAME.fullmatch(version)):
        raise InputError(f"{archive}: its model has no usable name; package it with another --name")
    return name, version
