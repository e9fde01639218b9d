"""Parameters of the compiled pipeline, checked before anything is submitted."""

from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from skelift.config import Config, compose
from skelift.errors import InputError
from skelift.evaluation.gate import check_threshold


def configuration_of(parameters: Mapping[str, Any]) -> Config:
    """The configuration that the parameters compose; 0 steps: as the experiment has them.

    Raises:
        InputError: one of them could not be run; the message names it.
    """
    steps = {"train.steps": parameters["train_steps"], "flow.steps": parameters["flow_steps"]}
    if bad := [f"{key}={value}" for key, value in steps.items() if int(value) < 0]:
        raise InputError(f"{bad[0]}: steps are 0 (as the experiment has them) or more")
    if int(parameters["sweep_trials"]) < 1:
        raise InputError(
            f"sweep_trials={parameters['sweep_trials']}: at least 1 (trial 0 is what is configured)"
        )
    return compose(
        [
            f"experiment={parameters['experiment']}",
            *(f"{key}={int(value)}" for key, value in steps.items() if int(value)),
            *parameters["overrides"],
        ]
    )


def check_parameters(compiled: Path, given: Mapping[str, Any]) -> None:
    """Check parameters against a compiled pipeline and the configuration that they compose.

    Args:
        compiled: the pipeline's YAML.
        given: parameters by name; the others take the pipeline's defaults.

    Raises:
        InputError: a parameter that the pipeline does not have, or one that no run could take.
    """
    import yaml

    spec = next(iter(yaml.safe_load_all(compiled.read_text())))
    known = spec["root"]["inputDefinitions"]["parameters"]
    for name in given:
        if name not in known:
            near = get_close_matches(name, list(known))
            hint = f"did you mean {' or '.join(near)}?" if near else f"there are {', '.join(known)}"
            raise InputError(f"{compiled.name} has no parameter {name}; {hint}")
    parameters = {name: about.get("defaultValue") for name, about in known.items()} | dict(given)
    check_threshold(float(parameters["gate_threshold"]))
    configuration_of(parameters)
