"""The committed pipeline is the compiled one, parses strictly and asks for what steps need."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from google.protobuf import json_format
from kfp.kubernetes import kubernetes_executor_config_pb2 as kubernetes_pb2
from kfp.pipeline_spec import pipeline_spec_pb2

from pipelines.compile import COMPILED, compile_pipeline
from pipelines.graph import PAGE, flowchart, refreshed
from skelift.kubeflow.parameters import check_parameters

SPEC, PLATFORM = yaml.safe_load_all(COMPILED.read_text())
EXECUTORS: dict[str, Any] = SPEC["deploymentSpec"]["executors"]
ON_CLUSTER: dict[str, Any] = PLATFORM["platforms"]["kubernetes"]["deploymentSpec"]["executors"]
ON_GPU = ("train", "trial")


def all_tasks() -> dict[str, tuple[dict[str, Any], str]]:
    """Task name -> its specification and executor; of both branches."""
    found = {}
    dags = {"root": SPEC["root"], **SPEC["components"]}
    for where, component in dags.items():
        for name, task in component.get("dag", {}).get("tasks", {}).items():
            executor = SPEC["components"][task["componentRef"]["name"]].get("executorLabel")
            if executor:
                found[f"{where}/{name}"] = (task, executor)
    return found


def test_committed_pipeline_is_what_the_code_compiles(tmp_path: Path) -> None:
    compiled = compile_pipeline(tmp_path / "skelift.yaml").read_text()
    assert compiled == COMPILED.read_text(), "stale; run `python -m pipelines.compile`"


def test_specification_parses_strictly() -> None:
    parsed = json_format.ParseDict(SPEC, pipeline_spec_pb2.PipelineSpec())
    assert parsed.pipeline_info.name == "skelift"
    with pytest.raises(json_format.ParseError):
        json_format.ParseDict(SPEC | {"rooot": {}}, pipeline_spec_pb2.PipelineSpec())
    for config in ON_CLUSTER.values():
        json_format.ParseDict(config, kubernetes_pb2.KubernetesExecutorConfig())


def test_every_task_says_whether_it_is_cached() -> None:
    cached = {}
    for name, (task, _) in all_tasks().items():
        assert "cachingOptions" in task, name
        cached[name.split("/")[1].rstrip("-0123456789")] = task["cachingOptions"].get(
            "enableCache", False
        )
    assert not cached["gate"]  # what it compares with changes
    assert not cached["package"]
    assert cached["train"]


def test_only_transient_failures_are_retried_with_backoff() -> None:
    for name, (task, _) in all_tasks().items():
        kind = name.split("/")[1].rstrip("-0123456789")
        policy = task.get("retryPolicy")
        if kind in ("configure", "validate", "choose"):
            assert policy is None, name
        else:
            assert policy is not None, name
            assert policy["maxRetryCount"] >= 2
            assert policy["backoffFactor"] > 1


@pytest.mark.parametrize("name", sorted(EXECUTORS))
def test_step_runs_as_nobody_with_keys_by_name(name: str) -> None:
    kind, config = name.removeprefix("exec-").rstrip("-0123456789"), ON_CLUSTER[name]
    assert config["securityContext"]["runAsNonRoot"] is True
    (secret,) = config["secretAsEnv"]
    assert secret["secretNameParameter"]["componentInputParameter"].endswith("s3_secret")
    gpu = EXECUTORS[name]["container"]["resources"].get("accelerator", {})
    volumes = {mount["mountPath"] for mount in config.get("emptyDirMounts", [])}
    if kind in ON_GPU:
        assert "gpu_type" in gpu["resourceType"]
        assert "gpu_count" in gpu["resourceCount"]
        assert volumes == {"/dev/shm"}  # noqa: S108 (a mount of the pod)
        assert config["nodeSelector"]["nodeSelectorJson"]
        assert config["tolerations"]
        assert config["pvcMount"][0]["mountPath"] == "/checkpoints"
        assert EXECUTORS[name]["container"]["image"].endswith("-gpu")
    else:
        assert not gpu
    assert "pip install" not in json.dumps(EXECUTORS[name])


def test_whatever_a_group_hands_on_is_handed_to_it() -> None:
    for name, component in {"root": SPEC["root"], **SPEC["components"]}.items():
        known = set(component.get("inputDefinitions", {}).get("parameters", {}))
        for task in component.get("dag", {}).get("tasks", {}).values():
            for value in task.get("inputs", {}).get("parameters", {}).values():
                wanted = value.get("componentInputParameter")
                assert wanted is None or wanted in known, f"{name}: {wanted}"


def test_no_loop_stands_in_an_exit_handler() -> None:
    assert "taskFinalStatus" not in COMPILED.read_text()


def test_defaults_are_right() -> None:
    check_parameters(SPEC, {})


def test_committed_flowchart_is_fresh_and_shows_every_task() -> None:
    page = PAGE.read_text()
    assert refreshed(page) == page, "stale; run `python -m pipelines.graph`"
    drawn = set(re.findall(r'^(\S+)\["', flowchart(), re.MULTILINE))
    assert drawn == {name.split("/")[1] for name in all_tasks()}


def test_flowchart_has_the_direct_edges_alone() -> None:
    edges = set(re.findall(r"^(\S+) --> (\S+)$", flowchart(), re.MULTILINE))
    assert {("validate", "pretrain-flow"), ("for-loop-2", "choose"), ("train", "evaluate")} <= edges
    assert ("configure", "pretrain-flow") not in edges
