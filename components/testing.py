"""Runs a component as kfp does, but in this process: for the components' tests."""

import json
from contextlib import redirect_stderr
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from kfp import dsl
from kfp.local import executor_input_utils, executor_output_utils

from skelift.kubeflow import step


class StepFailed(Exception):
    """A step ended with another exit code than 0."""


def run_component(component: Any, folder: Path, **arguments: Any) -> dict[str, Any]:
    """Run a component with parameters and artifacts; returns its outputs by name.

    kfp makes the step's input from the compiled component, and reads its output, in an empty
    ``folder``. StepFailed has the exit code of a step that failed.
    """
    spec = component.pipeline_spec
    (name,) = spec.root.dag.tasks
    of_component = spec.components[f"comp-{name}"]
    executor = spec.deployment_spec["executors"][of_component.executor_label]
    container = executor["container"]
    assert list(container["command"])[:3] == ["python", "-m", "skelift.kubeflow.step"]
    executor_input = executor_input_utils.construct_executor_input(
        component_spec=of_component,
        arguments=arguments,
        task_root=str(folder),
        block_input_artifact=False,
    )
    as_dict = executor_input_utils.executor_input_to_dict(executor_input, of_component)
    given = [a if a != "{{$}}" else json.dumps(as_dict) for a in container["args"]]
    code = step.main([list(container["command"])[3], *given])
    if code:
        raise StepFailed(code)
    outputs: dict[str, Any] = executor_output_utils.get_outputs_for_task(
        executor_input=executor_input, component_spec=of_component
    )
    return outputs


def refusal(component: Any, folder: Path, **arguments: Any) -> str:
    """The one line that a component says of bad input."""
    with redirect_stderr(StringIO()) as said, pytest.raises(StepFailed, match="2"):
        run_component(component, folder, **arguments)
    (line,) = said.getvalue().splitlines()
    return line


def artifact(kind: type[dsl.Artifact], path: Path, name: str) -> dsl.Artifact:
    """An artifact that lies in a file or folder."""
    return kind(name=name, uri=str(path), metadata={})
