"""Configurations out of groups, files and overrides, by Hydra; all are checked as they are made."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from skelift.config.overrides import Change, apply, parse
from skelift.config.read import read
from skelift.config.relations import check_relations
from skelift.config.schema import Config
from skelift.config.skeleton_file import read_names, read_skeleton
from skelift.errors import InputError

GROUPS = {file.parent.name for file in Path(__file__).parents[1].glob("conf/*/*.yaml")}
VARIED = ("model", "loss", "train")  # groups that a variant may choose


def compose(overrides: Sequence[str] = (), file: Path | None = None) -> Config:
    """Compose and check a configuration, its variants and its sweep's overrides.

    Args:
        overrides: Hydra overrides, e.g. ``experiment=paper train.steps=100``. A plain word names
            a data set: ``h36m`` is ``data=h36m``. ``skeleton=FILE.yaml`` takes your own skeleton.
        file: a composed configuration (what ``--cfg job`` prints) to start from instead of
            the configuration groups; overrides are then plain ``key=value``.

    Raises:
        InputError: unknown key, group or file, or a value that its key does not admit.
    """
    overrides = [f"data={word}" if word.isidentifier() else word for word in overrides]
    with _located(str(file) if file else ""):
        config = _checked(_from_file(file, overrides) if file else _from_groups(overrides))
        _check_apart(list(each_variant(config)))
        _named("sweep.overrides", config, config.sweep.overrides)
    return config


def vary(config: Config, overrides: Sequence[str]) -> Config:
    """The configuration with overrides ``key=value``; InputError for a bad key or value."""
    from omegaconf import OmegaConf

    with _located(""):
        raw = OmegaConf.create(asdict(config))
        apply(raw, list(map(parse, overrides)))
        return _checked(OmegaConf.to_container(raw, resolve=True))


def each_variant(config: Config) -> Iterator[tuple[str, Config]]:
    """The run itself, or each of its variants with folders of its own."""
    if not config.variants:
        yield "", config
    for name, overrides in config.variants.items():
        yield name, variant(config, name, overrides)


def variant(config: Config, name: str, overrides: Sequence[str]) -> Config:
    """One of the configuration's variants alone, with folders of its own.

    Raises:
        InputError: an override that cannot be applied; the message names the variant.
    """
    paths = replace(
        config.paths,
        model=f"{config.paths.model}/{name}",
        checkpoints=f"{config.paths.checkpoints}/{name}",
    )
    return _named(f"variants.{name}", replace(config, variants={}, paths=paths), overrides)


def to_yaml(config: Config) -> str:
    """The composed configuration, as ``--cfg job`` prints it."""
    from omegaconf import OmegaConf

    return OmegaConf.to_yaml(OmegaConf.create(asdict(config)))


def _named(key: str, config: Config, overrides: Sequence[str]) -> Config:
    """The configuration with overrides, among them whole groups; ``key`` holds them."""
    groups = {o.partition("=")[0]: o for o in overrides if o.partition("=")[0] in GROUPS}
    if fixed := sorted(set(groups) - set(VARIED)):
        raise InputError(
            f"{key}: {groups[fixed[0]]}: of whole groups a variant may choose {', '.join(VARIED)}"
        )
    keys = [o for o in overrides if o not in groups.values()]
    with _located(key):
        if groups:
            composed = read(Config, _from_groups(list(groups.values())))
            config = replace(config, **{group: getattr(composed, group) for group in groups})
        return vary(config, keys)


def _check_apart(variants: Sequence[tuple[str, Config]]) -> None:
    """InputError where a variant would replace another one's files."""
    owners: dict[Path, str] = {}
    for name, config in variants:
        if name != Path(name).name or name == "..":
            raise InputError(
                f"variants.{name}: becomes a folder's name; take letters, digits and dashes"
            )
        for key in ("model", "checkpoints"):
            folder = Path(getattr(config.paths, key)).resolve()
            if owners.setdefault(folder, name) != name:
                raise InputError(
                    f"variants.{name}: has the folder {getattr(config.paths, key)} of variant "
                    f"{owners[folder]}; give each its own paths.{key}, or none"
                )


@contextmanager
def _located(place: str) -> Iterator[None]:
    """Make every error a one-line InputError that starts with the place, once."""
    from hydra.errors import HydraException
    from omegaconf.errors import OmegaConfBaseException
    from yaml import YAMLError

    try:
        yield
    except InputError as error:
        said = str(error)
        raise InputError(said if place in said else f"{place}: {said}") from None
    except (HydraException, OmegaConfBaseException, YAMLError, ValueError) as error:
        raise InputError(f"{place or 'configuration'}: {_explain(error)}") from None


def _checked(raw: Any) -> Config:
    config = read(Config, raw)
    check_relations(config)
    return config


def _from_groups(overrides: Sequence[str]) -> Any:
    from hydra import compose as hydra_compose
    from hydra import initialize_config_module
    from omegaconf import OmegaConf

    own = [o.removeprefix("skeleton=") for o in overrides if _is_own_skeleton(o)]
    asked = {o: parse(o) for o in overrides if not _is_own_skeleton(o)}
    with initialize_config_module("skelift.conf", version_base="1.3"):
        composed = hydra_compose("config", [o for o, change in asked.items() if _is_group(change)])
    OmegaConf.set_struct(composed, False)
    composed.pop("experiment", None)
    if own:
        composed.skeleton = read_skeleton(Path(own[-1]))
    apply(composed, [change for change in asked.values() if not _is_group(change)])
    return OmegaConf.to_container(composed, resolve=True)


def _is_own_skeleton(override: str) -> bool:
    return override.startswith("skeleton=") and override.lower().endswith((".yaml", ".yml"))


def _is_group(change: Change) -> bool:
    """Whether it chooses a group, which is Hydra's part; keys are changed after it."""
    return change.key in GROUPS or "/" in change.key or "@" in change.key


def _from_file(file: Path, overrides: Sequence[str]) -> Any:
    from omegaconf import OmegaConf

    raw, changes = _load_yaml(file), {override: parse(override) for override in overrides}
    if OmegaConf.is_dict(raw.get("skeleton")):  # names stay as they are written, lengths numbers
        numbers, skeleton = raw.skeleton, read_names(file)["skeleton"]
        skeleton["bone_lengths_mm"] = numbers.get("bone_lengths_mm")
        for number, part in enumerate(skeleton.get("parts") or []):
            if "radius_mm" in part:
                part["radius_mm"] = numbers.parts[number].radius_mm
        raw.skeleton = skeleton
    for override, change in changes.items():
        if change.key in GROUPS and isinstance(change.value, str):
            raise InputError(
                f"{override}: {file} is composed already; compose another with "
                f"`skelift train --cfg job {override} > FILE`"
            )
    apply(raw, list(changes.values()))
    return OmegaConf.to_container(raw, resolve=True)


def _load_yaml(file: Path) -> Any:
    from omegaconf import OmegaConf
    from yaml import YAMLError

    try:
        content = OmegaConf.load(file)
    except FileNotFoundError:
        raise InputError(f"{file}: not found; name an existing YAML file") from None
    except (YAMLError, OSError, UnicodeError) as error:
        raise InputError(f"{file}: is not readable YAML ({_one_line(error)})") from None
    if not OmegaConf.is_dict(content):
        raise InputError(f"{file}: is not a mapping; give lines of `key: value`")
    return content


def _explain(error: Exception) -> str:
    """One line that says which group, choice or key is wrong, and which ones there are."""
    from hydra.errors import MissingConfigException
    from omegaconf.errors import OmegaConfBaseException

    cause = error.__cause__ if isinstance(error.__cause__, OmegaConfBaseException) else error
    if isinstance(cause, MissingConfigException) and cause.options:
        return f"no {cause.missing_cfg_file}; there are {', '.join(cause.options)}"
    if isinstance(cause, OmegaConfBaseException) and cause.full_key:
        return f"{cause.full_key}: {str(cause).splitlines()[0]}"
    return _one_line(cause).split(" See https")[0].replace("++", "")


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())
