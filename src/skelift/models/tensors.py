"""Tensors on disk, in safetensors and written atomically."""

import json
import os
import re
from collections.abc import Mapping
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from skelift.errors import InputError, RunError
from skelift.files import atomic_file

_OS_ERROR = re.compile(r"\(os error (\d+)\)")  # as Rust writes it


def save_tensors(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> None:
    """Write tensors and text metadata; a killed writer leaves the previous file untouched.

    Equal content gives equal bytes. The metadata is one entry, since safetensors writes several in
    an order that changes from run to run.
    """
    contiguous = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    with atomic_file(path) as unfinished:
        try:
            save_file(contiguous, unfinished, {"about": json.dumps(metadata, sort_keys=True)})
        except SafetensorError as error:  # its word for an OSError, such as of a full disk
            if code := _OS_ERROR.search(str(error)):
                number = int(code[1])
                raise OSError(number, os.strerror(number), str(path)) from None
            raise RunError(f"{path}: cannot be written ({error}); make room") from None


def load_tensors(path: Path, made_by: str) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Read tensors and metadata; InputError when the file is missing or broken."""
    try:
        with safe_open(path, framework="pt") as file:
            about = file.metadata() or {}
            about = json.loads(about["about"]) if "about" in about else about
            return {name: file.get_tensor(name) for name in file.keys()}, about  # noqa: SIM118
    except FileNotFoundError:
        raise InputError(f"{path}: not found; run `{made_by}` first") from None
    except (SafetensorError, OSError) as error:
        raise InputError(
            f"{path}: cannot be read ({error}); recreate it with `{made_by}`"
        ) from None


def load_weights(
    network: nn.Module, tensors: Mapping[str, Tensor], file: Path, made_by: str
) -> None:
    """Load weights into a network of the configured shape; InputError when they do not fit."""
    try:
        network.load_state_dict(dict(tensors))
    except RuntimeError as error:
        raise InputError(
            f"{file}: does not fit the configured network ({str(error).splitlines()[-1].strip()}); "
            f"recreate it with `{made_by}`"
        ) from None


def nest(**groups: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Join named groups of tensors into one mapping with ``group/name`` keys."""
    return {
        f"{group}/{name}": t for group, tensors in groups.items() for name, t in tensors.items()
    }


def group(tensors: Mapping[str, Tensor], name: str) -> dict[str, Tensor]:
    """One group of what ``nest`` joined."""
    prefix = f"{name}/"
    return {key.removeprefix(prefix): t for key, t in tensors.items() if key.startswith(prefix)}
