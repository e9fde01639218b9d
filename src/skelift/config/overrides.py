"""Overrides KEY=VALUE: what Hydra's grammar makes of them, and its faults in words."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, is_dataclass
from functools import cache
from pathlib import Path
from typing import Any, get_args, get_type_hints

from skelift.config.schema import Config
from skelift.errors import InputError

# Mappings of free names: a new one takes the place of the old. Those of known keys are merged.
REPLACED = ("variants", "sweep.space", "data.folder.body.regions")


@dataclass(frozen=True)
class Change:
    """What one override does."""

    key: str
    value: Any = None
    removes: bool = False


def parse(override: str) -> Change:
    """Read an override.

    A path or a name needs no quotes: what Hydra's grammar does not take for one text is, of a key
    of text, the text as it stands.

    Raises:
        InputError: it cannot be read; the message has a form that can.
    """
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.errors import HydraException

    written, assigned, text = override.partition("=")
    key = written.lstrip("+~")
    if re.split(r"[./@]", key)[0] == "hydra":
        raise InputError(f"{override}: skelift starts no Hydra job; leave hydra.* keys out")
    if not assigned and not override.startswith("~"):
        raise InputError(f"{override}: is not KEY=VALUE; write, for instance, train.steps=100")
    try:
        parsed = OverridesParser.create().parse_override(override)
        several = parsed.is_sweep_override()
        value = None if several else parsed.value()
    except HydraException:
        if key in _text_keys() and not override.startswith("~"):
            return Change(key, _as_typed(text))
        raise InputError(f"{override}: {_mend(key, text)}") from None
    if key in _text_keys() and (several or isinstance(value, int | float | list | dict)):
        # "true" stays a truth value, which no name is.
        return Change(key, value if isinstance(value, bool) else _as_typed(text))
    if several:
        raise InputError(
            f"{override}: has several values, and a run takes one; write a list as "
            f"{key}=[{text}], and several runs as variants"
        )
    return Change(parsed.key_or_group, value, parsed.is_delete())


def apply(raw: Any, changes: Sequence[Change]) -> None:
    """Change an OmegaConf configuration, one after the other; InputError for what is not there."""
    from omegaconf import OmegaConf, open_dict

    for change in changes:
        if not change.removes:
            merge = change.key not in REPLACED
            OmegaConf.update(raw, change.key, change.value, merge=merge, force_add=True)
            continue
        section, _, name = change.key.rpartition(".")
        holder = OmegaConf.select(raw, section) if section else raw
        if holder is None or name not in holder:
            raise InputError(f"~{change.key}: there is no such key to remove")
        with open_dict(holder):
            del holder[name]


def _as_typed(text: str) -> str:
    """The text of a path or a name; the shell does not replace a ~ after a =."""
    return str(Path(text).expanduser()) if text.startswith("~/") else text


def _mend(key: str, text: str) -> str:
    """What to write instead."""
    if "[" in key:
        whole = key.partition("[")[0]
        return f"a list is set as a whole; write {whole}=[FIRST,SECOND]"
    if text.startswith("[") and text.endswith("]"):
        quoted = ",".join(_quoted(item.strip().strip("\"'")) for item in text[1:-1].split(","))
        return f"texts with such characters stand in quotes; write '{key}=[{quoted}]'"
    if text.startswith("{"):
        return (
            "in a mapping, names stand without quotes, and other texts with such characters in "
            "quotes; write, for instance, "
            f"'{key}={{NAME: [\"KEY=VALUE\"]}}'"
        )
    return f"a text with such characters stands in quotes; write '{key}={_quoted(text)}'"


def _quoted(text: str) -> str:
    return '"' + text.replace('"', '\\"') + '"'


@cache
def _text_keys() -> frozenset[str]:
    """Dotted names of the keys whose values are free texts: paths and names."""
    return frozenset(_texts(Config))


def _texts(kind: Any) -> Iterator[str]:
    for name, hint in get_type_hints(kind).items():
        if hint is str:
            yield name
        for nested in filter(is_dataclass, (hint, *get_args(hint))):
            yield from (f"{name}.{key}" for key in _texts(nested))
