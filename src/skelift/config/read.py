"""Plain values (what YAML and overrides hold) as the types of the schema, each one checked."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import is_dataclass
from difflib import get_close_matches
from functools import cache
from typing import Any, get_args, get_type_hints

from pydantic import TypeAdapter, ValidationError

from skelift.errors import InputError

_SAID = {
    "greater_than_equal": "must be {ge:.10g} or more",
    "greater_than": "must be above {gt:.10g}",
    "less_than_equal": "must be {le:.10g} or less",
    "less_than": "must be below {lt:.10g}",
    "dataclass_type": "must be a mapping of keys to values",
}
_adapter = cache(TypeAdapter)


def read(kind: Any, value: Any, key: str = "") -> Any:
    """The value of a key as its type; of no key, the whole configuration.

    Args:
        kind: a dataclass of the schema, or the type of one of its fields.
        value: plain lists, mappings and scalars; keys that it lacks take their defaults.
        key: where the value is in the configuration.

    Raises:
        InputError: an unknown or missing key, or a value that its type does not admit.
    """
    try:
        return _adapter(kind).validate_python(value)
    except ValidationError as invalid:
        # A misspelt key is said before those that are missing.
        error = min(invalid.errors(), key=lambda error: error["type"] == "missing")
    path = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in error["loc"])
    where = (key + path).lstrip(".")
    if error["type"] == "unexpected_keyword_argument":
        raise InputError(_no_key(where, kind))
    if error["type"] == "missing":
        raise InputError(f"{where}: not set; give it a value")
    said = _said(error["type"], error["msg"], error.get("ctx", {}), str(error["input"]))
    raise InputError(f"{where or 'configuration'}={shown(error['input'])}: {said}")


def shown(value: Any) -> str:
    """A value as an override writes it: null, true and false in YAML's words."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, list):
        return f"[{', '.join(map(shown, value))}]"
    if isinstance(value, Mapping):
        return f"{{{', '.join(f'{key}: {shown(item)}' for key, item in value.items())}}}"
    return str(value)


def keys(kind: Any) -> Iterator[str]:
    """Dotted names of all keys of a dataclass and of the sections in it."""
    for name, hint in get_type_hints(kind).items():
        yield name
        for nested in filter(is_dataclass, (hint, *get_args(hint))):
            yield from (f"{name}.{key}" for key in keys(nested))


def _said(code: str, message: str, context: Mapping[str, Any], value: str) -> str:
    """Pydantic's message as "must be ...", with the nearest of a fixed set of values."""
    if code in _SAID:
        return _SAID[code].format(**context)
    said = re.sub(r"^\w+ should ", "must ", message).replace(" after validation", "")
    if code != "literal_error":
        return said
    near = get_close_matches(value, re.findall(r"'(\w+)'", message), n=1, cutoff=0.5)
    hint = f"; did you mean {near[0]}?" if near else ""
    return said.replace("''", '""').replace("'", "") + hint


def _no_key(key: str, root: Any) -> str:
    near = get_close_matches(key, list(keys(root)))
    hint = f"did you mean {' or '.join(near)}?" if near else "--cfg job prints all keys"
    return f"no key {key}; {hint}"
