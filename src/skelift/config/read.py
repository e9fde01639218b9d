"""Plain values (what YAML and overrides hold) as the types of the schema, each one checked."""

from collections.abc import Iterator, Mapping
from dataclasses import MISSING, fields, is_dataclass
from difflib import get_close_matches
from typing import Annotated, Any, Literal, TypeVar, get_args, get_origin, get_type_hints

from skelift.errors import InputError

Section = TypeVar("Section")
_SAID = {int: "a whole number", float: "a number", bool: "true or false", str: "a string"}
_BOOLS = {"true": True, "false": False}


def read_section(kind: type[Section], values: Any, key: str = "", root: Any = None) -> Section:
    """The dataclass ``kind`` of a mapping; keys that it lacks take their defaults.

    Args:
        kind: a dataclass of the schema.
        values: key -> value, as plain lists, mappings and scalars.
        key: where the section is in the configuration.
        root: dataclass of the whole configuration, whose keys are suggested.

    Raises:
        InputError: an unknown or missing key, or a value that its type does not admit.
    """
    root = root or kind
    if not isinstance(values, Mapping):
        raise InputError(f"{key or 'configuration'}={values}: must be a mapping of keys to values")
    hints = get_type_hints(kind, include_extras=True)
    if unknown := [name for name in values if name not in hints]:
        raise InputError(_no_key(_join(key, unknown[0]), root))
    given = {
        name: read(hints[name], value, _join(key, name), root) for name, value in values.items()
    }
    for item in fields(kind):  # type: ignore[arg-type]
        if item.name not in given and item.default is item.default_factory is MISSING:
            raise InputError(f"{_join(key, item.name)}: not set; give it a value")
    return kind(**given)


def read(kind: Any, value: Any, key: str, root: Any) -> Any:
    """The value of one key as its type; see ``read_section``."""
    kind, marks = split_marks(kind)
    options = get_args(kind)
    if is_dataclass(kind):
        return read_section(kind, value, key, root)  # type: ignore[arg-type]
    if kind is Any:
        return value
    if type(None) in options:
        return None if value is None else read(options[0], value, key, root)
    if get_origin(kind) is Literal:
        return _choice(options, value, key)
    if get_origin(kind) is list:
        _require(isinstance(value, list), key, value, "a list")
        found: Any = [read(options[0], v, f"{key}[{i}]", root) for i, v in enumerate(value)]
    elif get_origin(kind) is dict:
        _require(isinstance(value, Mapping), key, value, "a mapping of keys to values")
        found = {str(name): read(options[1], v, f"{key}.{name}", root) for name, v in value.items()}
    else:
        found = _scalar(kind, value, key)
    for mark in marks:
        _require(mark.admits(found), key, value, str(mark))
    return found


def split_marks(kind: Any) -> tuple[Any, tuple[Any, ...]]:
    """A type, and the marks (``config.fields``) that are annotated to it."""
    if get_origin(kind) is Annotated:
        return kind.__origin__, kind.__metadata__
    return kind, ()


def keys(kind: Any) -> Iterator[str]:
    """Dotted names of all keys of a dataclass and of the sections in it."""
    for name, hint in get_type_hints(kind).items():
        yield name
        for nested in filter(is_dataclass, (hint, *get_args(hint))):
            yield from (f"{name}.{key}" for key in keys(nested))


def _choice(options: tuple[str, ...], value: Any, key: str) -> str:
    if isinstance(value, bool) and {"on", "off"} & set(options):  # YAML takes these for booleans
        value = "on" if value else "off"
    if value in options:
        return str(value)
    *others, last = (option or '""' for option in options)
    near = get_close_matches(str(value), options, n=1, cutoff=0.5)
    hint = f"; did you mean {near[0]}?" if near else ""
    raise InputError(f"{key}={value}: must be {', '.join(others)} or {last}{hint}")


def _scalar(kind: type, value: Any, key: str) -> Any:
    """A number, string or boolean; strings (of the environment) are converted."""
    said = _SAID[kind]
    if kind is bool:
        found = value if isinstance(value, bool) else _BOOLS.get(str(value).lower())
        _require(found is not None, key, value, said)
        return found
    fits = {int: (int, str), float: (int, float, str), str: (int, float, str)}[kind]
    _require(isinstance(value, fits) and not isinstance(value, bool), key, value, said)
    try:
        return kind(value)
    except ValueError:
        raise InputError(f"{key}={value}: must be {said}") from None


def _require(kept: bool, key: str, value: Any, said: str) -> None:
    if not kept:
        raise InputError(f"{key}={value}: must be {said}")


def _no_key(key: str, root: Any) -> str:
    near = get_close_matches(key, list(keys(root)))
    hint = f"did you mean {' or '.join(near)}?" if near else "--cfg job prints all keys"
    return f"no key {key}; {hint}"


def _join(section: str, name: Any) -> str:
    return f"{section}.{name}" if section else str(name)
