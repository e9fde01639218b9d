"""Configurations out of groups, files and overrides, by Hydra; all are checked as they are made."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

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
        _ = list(each_variant(config)), _named("sweep.overrides", config, config.sweep.overrides)
    return config


def vary(config: Config, overrides: Sequence[str]) -> Config:
    """The configuration with overrides ``key=value``; InputError for a bad key or value."""
    from omegaconf import OmegaConf

    with _located(""):
        changes = OmegaConf.from_dotlist(list(overrides))
        merged = OmegaConf.merge(OmegaConf.create(asdict(config)), changes)
        return _checked(OmegaConf.to_container(merged, resolve=True))


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


@contextmanager
def _located(place: str) -> Iterator[None]:
    """Make every error a one-line InputError that starts with the place, once."""
    from hydra.errors import HydraException
    from omegaconf.errors import OmegaConfBaseException

    try:
        yield
    except InputError as error:
        said = str(error)
        raise InputError(said if place in said else f"{place}: {said}") from None
    except (HydraException, OmegaConfBaseException, ValueError) as error:
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
    asked = [_forced(o) for o in overrides if not _is_own_skeleton(o)]
    with initialize_config_module("skelift.conf", version_base="1.3"):
        composed = hydra_compose("config", asked)
    OmegaConf.set_struct(composed, False)
    composed.pop("experiment", None)
    if own:
        composed.skeleton = read_skeleton(Path(own[-1]))
        for override in _parsed([o for o in asked if o.startswith("++skeleton.")]):
            OmegaConf.update(composed, override.key_or_group, override.value(), force_add=True)
    return OmegaConf.to_container(composed, resolve=True)


def _is_own_skeleton(override: str) -> bool:
    return override.startswith("skeleton=") and override.endswith((".yaml", ".yml"))


def _forced(override: str) -> str:
    """The override of a key for Hydra, which knows only the keys of the YAML files."""
    key, assigned, _ = override.partition("=")
    plain = assigned and key not in GROUPS and key[:1].isalpha() and "@" not in key
    return f"++{override}" if plain else override


def _from_file(file: Path, overrides: Sequence[str]) -> Any:
    from omegaconf import OmegaConf

    raw = _load_yaml(file)
    if OmegaConf.is_dict(raw.get("skeleton")):  # names stay as they are written, lengths numbers
        lengths = raw.skeleton.get("bone_lengths_mm")
        raw.skeleton = read_names(file)["skeleton"] | {"bone_lengths_mm": lengths}
    for override in _parsed(overrides):
        key, value = override.key_or_group, override.value()
        if key in GROUPS and isinstance(value, str):
            raise InputError(
                f"{override.input_line}: {file} is composed already; compose another with "
                f"`skelift train --cfg job {override.input_line} > FILE`"
            )
        OmegaConf.update(raw, key, value, force_add=True)
    return OmegaConf.to_container(raw, resolve=True)


def _parsed(overrides: Sequence[str]) -> list[Any]:
    from hydra.core.override_parser.overrides_parser import OverridesParser

    return OverridesParser.create().parse_overrides(list(overrides))


def _load_yaml(file: Path) -> Any:
    from omegaconf import OmegaConf
    from yaml import YAMLError

    try:
        content = OmegaConf.load(file)
    except FileNotFoundError:
        raise InputError(f"{file}: not found; name an existing YAML file") from None
    except (YAMLError, OSError) as error:
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
