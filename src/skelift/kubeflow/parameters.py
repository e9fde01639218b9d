"""Parameters of a compiled pipeline, checked before anything is submitted."""

import json
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import yaml

from skelift.config import Config, compose
from skelift.errors import InputError
from skelift.evaluation.gate import check_threshold

# Type of a parameter -> what JSON gives for it, and what it is called.
_TYPES: dict[str, tuple[tuple[type, ...], str]] = {
    "NUMBER_INTEGER": ((int,), "a whole number"),
    "NUMBER_DOUBLE": ((int, float), "a number"),
    "BOOLEAN": ((bool,), "true or false"),
    "LIST": ((list,), "a JSON list"),
    "STRUCT": ((dict,), "a JSON object"),
}


def read_spec(package: Path) -> dict[str, Any]:
    """The pipeline spec of a compiled file (its first document)."""
    try:
        spec = next(yaml.safe_load_all(package.read_text()))
    except (yaml.YAMLError, StopIteration, UnicodeDecodeError) as error:
        reason = " ".join(str(error).split())
        raise InputError(f"{package}: not readable YAML ({reason})") from None
    if not isinstance(spec, dict) or "pipelineInfo" not in spec or "root" not in spec:
        raise InputError(
            f"{package}: not a compiled pipeline; recreate it with `python -m pipelines.compile`"
        )
    return spec


def parse_parameters(
    spec: Mapping[str, Any], arguments: Sequence[str], name: str
) -> dict[str, Any]:
    """``NAME=VALUE`` as the compiled pipeline's types; InputError for what it does not take."""
    inputs, chosen = _inputs(spec), {}
    for argument in arguments:
        key, equals, text = argument.partition("=")
        if not equals:
            raise InputError(f"{argument}: write NAME=VALUE")
        _check_name(key, inputs, name)
        chosen[key] = _value(key, text, inputs[key]["parameterType"])
    missing = sorted(
        key
        for key, about in inputs.items()
        if key not in chosen and "defaultValue" not in about and not about.get("isOptional")
    )
    if missing:
        raise InputError(f"{name}: needs {', '.join(missing)}; write {missing[0]}=VALUE")
    return chosen


def check_parameters(spec: Mapping[str, Any], given: Mapping[str, Any]) -> None:
    """Check parameters of the project's own pipeline and the configuration that they compose.

    Args:
        spec: the compiled pipeline.
        given: parameters by name; the others take the pipeline's defaults.

    Raises:
        InputError: a parameter that the pipeline does not have, or one that no run could take.
    """
    inputs = _inputs(spec)
    for name in given:
        _check_name(name, inputs, spec["pipelineInfo"]["name"])
    parameters = {name: about.get("defaultValue") for name, about in inputs.items()} | dict(given)
    check_threshold(float(parameters["gate_threshold"]))
    configuration_of(parameters)


def configuration_of(parameters: Mapping[str, Any]) -> Config:
    """The configuration that the parameters compose; 0 steps: as the experiment has them.

    Raises:
        InputError: one of them could not be run; the message names it.
    """
    steps = {"train.steps": parameters["train_steps"], "flow.steps": parameters["flow_steps"]}
    changed = [f"{key}={int(value)}" for key, value in steps.items() if int(value)]
    if int(parameters["sweep_trials"]) < 1:
        raise InputError(
            f"sweep_trials={parameters['sweep_trials']}: at least 1 (trial 0 is what is configured)"
        )
    experiment = f"experiment={parameters['experiment']}"
    return compose([experiment, *changed, *parameters["overrides"]])


def _inputs(spec: Mapping[str, Any]) -> dict[str, Any]:
    return dict(spec["root"].get("inputDefinitions", {}).get("parameters", {}))


def _check_name(key: str, inputs: Mapping[str, Any], name: str) -> None:
    if key not in inputs:
        near = get_close_matches(key, list(inputs))
        hint = f"did you mean {' or '.join(near)}?" if near else f"it has {', '.join(inputs)}"
        raise InputError(f"{name}: has no parameter {key}; {hint}")


def _value(key: str, text: str, kind: str) -> Any:
    if kind == "STRING":
        return text
    if kind not in _TYPES:
        raise InputError(f"{key}: parameters of type {kind} cannot be given here")
    types, words = _TYPES[kind]
    try:
        value = json.loads(text.lower() if kind == "BOOLEAN" else text)
    except ValueError:
        value = None
    if type(value) not in types:
        raise InputError(f"{key}={text}: not {words}; correct the value")
    return value
