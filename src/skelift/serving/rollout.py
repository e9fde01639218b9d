"""v1 -> v2 on one running server: v2 is loaded and tried beside v1, then takes its place."""

import shutil
from pathlib import Path
from urllib.error import HTTPError
from urllib.parse import urlencode

from skelift.errors import InputError, RunError
from skelift.serving.manifest import read_manifest
from skelift.serving.probe import (
    Place,
    Unreachable,
    ask,
    describe,
    failure,
    holds,
    is_ready,
    pending,
)

LOAD_SECONDS, FINISH_SECONDS = 120, 35


def roll_out(archive: Path, place: Place, seconds: float = LOAD_SECONDS) -> str:
    """Register a version, wait until it answers a canary, make it the default, drop the old one.

    Args:
        archive: of the served name and another version.
        place: a server started with ``--updates``.
        seconds: for the new version to load.

    Raises:
        InputError: the archive is not one, or is of another model or the same version.
        RunError: the new version never was ready. It is removed again; the old one goes on serving.
    """
    name, version = read_manifest(archive)
    try:
        old = str(describe(place)["modelVersion"])
    except Unreachable as error:
        raise RunError(f"{place.management}: does not answer ({error}); is it running?") from None
    if name != place.name or version == old:
        raise InputError(
            f"{archive}: is {name} {version}, but {place.name} {old} runs; package it with "
            f"--name {place.name} and another --version"
        )
    stored = place.store / f"{name}-{version}.mar"
    shutil.copy(archive, stored)
    place.failed.unlink(missing_ok=True)
    url = f"{place.management}/models"
    try:
        query = urlencode({"url": stored.name, "initial_workers": 0})
        ask(place, f"{url}?{query}", "management", method="POST", seconds=seconds)
        query = urlencode({"min_worker": 2, "max_worker": 2})
        ask(place, f"{url}/{name}/{version}?{query}", "management", method="PUT", seconds=seconds)
        if not holds(lambda: place.failed.exists() or is_ready(place, version), seconds):
            raise RunError(f"version {version} was not ready within {seconds:.0f} s")
        if broken := failure(place):
            raise broken
        ask(place, f"{url}/{name}/{version}/set-default", "management", method="PUT")
    except (InputError, RunError, *Unreachable) as error:
        _drop(place, version)
        stored.unlink(missing_ok=True)
        why: object = error
        if isinstance(error, HTTPError):  # of a worker that died: the log is a little later
            why = failure(place) if holds(place.failed.exists, 1) else error.code
        raise RunError(f"{archive}: not taken ({why}); {name} {old} goes on serving") from None
    # What was sent to the old version is answered first.
    holds(lambda: pending(place) == 0, FINISH_SECONDS, times=5, step=0.2)
    _drop(place, old)
    return f"{name} {old} -> {version}"


def _drop(place: Place, version: str) -> None:
    try:
        url = f"{place.management}/models/{place.name}/{version}"
        ask(place, url, "management", method="DELETE", seconds=60)
    except HTTPError as error:
        if error.code != 404:  # it was never registered
            raise RunError(f"version {version} cannot be removed ({error.code})") from None
