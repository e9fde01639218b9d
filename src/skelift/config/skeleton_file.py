"""A skeleton's YAML file, whose names stay as they are written."""

from pathlib import Path
from typing import Any

import yaml

from skelift.errors import InputError
from skelift.skeleton import Skeleton
from skelift.text import read_text, reason

_UNSET = {"tag:yaml.org,2002:null", "tag:yaml.org,2002:merge"}


class _Names(yaml.SafeLoader):
    """YAML without booleans, numbers and dates: a joint named ``no``, ``1e3`` or ``007`` is one."""

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        keys = [key.value for key, _ in node.value if key.tag not in _UNSET]
        if twice := [str(key) for key in keys if keys.count(key) > 1]:
            raise yaml.constructor.ConstructorError(
                None, None, f"key {twice[0]} is there twice", node.start_mark
            )
        return super().construct_mapping(node, deep)


_Names.yaml_implicit_resolvers = {
    first: [(tag, form) for tag, form in resolvers if tag in _UNSET]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def read_skeleton(file: Path) -> dict[str, Any]:
    """The mapping of a skeleton's YAML file, checked.

    Raises:
        InputError: not found, not YAML or no skeleton; the message names the file.
    """
    try:
        return Skeleton.from_mapping(read_names(file)).to_mapping()
    except InputError as error:
        said = str(error)
        raise InputError(said if said.startswith(str(file)) else f"{file}: {said}") from None


def read_names(file: Path) -> Any:
    """The content of a YAML file with every scalar as a string; InputError if it is not YAML."""
    try:
        return yaml.load(read_text(file), _Names)  # noqa: S506, a SafeLoader
    except FileNotFoundError:
        raise InputError(f"{file}: not found; name an existing YAML file") from None
    except Exception as error:  # PyYAML meets a broken file with whatever it ran into
        raise InputError(f"{file}: is not readable YAML ({reason(error)})") from None
