"""The search space as a Katib experiment: ``python -m skelift.sweep.katib [OVERRIDE ...]``.

A trial is ``skelift sweep sweep.trial=0`` with the values that Katib chose as overrides: the
configuration as it stands, trained and scored on the held-out clips. Katib reads the scores from
the lines that it prints.
"""

import sys
from collections.abc import Sequence
from typing import Any

import yaml

from skelift import __version__
from skelift.config import Config, RangeConfig, compose
from skelift.sweep.space import bounds, check_sweep

NAME = "skelift-sweep"
CONTAINER = "trial"
FOLDERS = (
    "paths.checkpoints=/tmp/checkpoints",
    "paths.model=/tmp/model",
    "paths.reports=/tmp/reports",
)


def experiment(config: Config, overrides: Sequence[str] = ()) -> dict[str, Any]:
    """The manifest of an Experiment (kubeflow.org/v1beta1) over ``config.sweep.space``.

    Args:
        config: the run.
        overrides: what ``config`` was composed from; each trial composes it again.

    Raises:
        InputError: the space cannot be used.
    """
    check_sweep(config)
    sweep = config.sweep
    return {
        "apiVersion": "kubeflow.org/v1beta1",
        "kind": "Experiment",
        "metadata": {"name": NAME, "labels": {"app.kubernetes.io/name": NAME}},
        "spec": {
            "objective": {
                "type": "minimize",
                "objectiveMetricName": sweep.score,
                # Scores during a trial are of fewer images; only the last one counts.
                "metricStrategies": [{"name": sweep.score, "value": "latest"}],
            },
            "algorithm": {
                "algorithmName": "tpe",
                "algorithmSettings": [{"name": "random_state", "value": str(sweep.seed)}],
            },
            "earlyStopping": {
                "algorithmName": "medianstop",
                "algorithmSettings": [
                    {"name": "min_trials_required", "value": "4"},
                    {"name": "start_step", "value": "1"},
                ],
            },
            "parallelTrialCount": 4,
            "maxTrialCount": sweep.trials,
            "maxFailedTrialCount": max(sweep.trials // 4, 1),
            "metricsCollectorSpec": {"collector": {"kind": "StdOut"}},
            "parameters": [_parameter(key, values) for key, values in sweep.space.items()],
            "trialTemplate": {
                "primaryContainerName": CONTAINER,
                "trialParameters": [
                    {"name": _name(key), "description": key, "reference": key}
                    for key in sweep.space
                ],
                "trialSpec": _job(config, overrides),
            },
        },
    }


def _parameter(key: str, values: RangeConfig) -> dict[str, Any]:
    if values.choices:
        kind = "categorical"
        space: dict[str, Any] = {"list": [str(choice) for choice in values.choices]}
    else:
        kind = "int" if values.integer else "double"
        low, high = bounds(values)
        space = {"min": str(low), "max": str(high)}
        space |= {"distribution": "logUniform"} if values.log else {}
    return {"name": key, "parameterType": kind, "feasibleSpace": space}


def _name(key: str) -> str:
    """``loss.flow`` -> ``lossFlow``, which may stand in a placeholder."""
    first, *others = key.replace("_", ".").split(".")
    return first + "".join(part.capitalize() for part in others)


def _job(config: Config, overrides: Sequence[str]) -> dict[str, Any]:
    chosen = [f"{key}=${{trialParameters.{_name(key)}}}" for key in config.sweep.space]
    folders = [
        f"paths.data=/data/{config.data.name}",
        f"paths.flow=/checkpoints/{config.name}/flow",
    ]
    arguments = [*overrides, "sweep.trial=0", *folders, *FOLDERS, *chosen]
    labels = {"app.kubernetes.io/name": NAME, "app.kubernetes.io/component": "train"}
    # With Istio's sidecar a Job never ends.
    metadata = {"labels": labels, "annotations": {"sidecar.istio.io/inject": "false"}}
    template = {"metadata": metadata, "spec": _pod(arguments)}
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "spec": {"backoffLimit": 2, "template": template},
    }


def _pod(arguments: list[str]) -> dict[str, Any]:
    return {
        "serviceAccountName": "skelift-train",
        "automountServiceAccountToken": False,
        "restartPolicy": "Never",
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": 10001,
            "runAsGroup": 10001,
            "fsGroup": 10001,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [
            {
                "name": CONTAINER,
                "image": f"skelift:{__version__}-gpu",
                "command": ["skelift", "sweep"],
                "args": arguments,
                "securityContext": {
                    "allowPrivilegeEscalation": False,
                    "readOnlyRootFilesystem": True,
                    "capabilities": {"drop": ["ALL"]},
                },
                "resources": {
                    "requests": {"cpu": "2", "memory": "8Gi"},
                    "limits": {"cpu": "4", "memory": "16Gi"},
                },
                "volumeMounts": [
                    {"name": "data", "mountPath": "/data", "readOnly": True},
                    {"name": "checkpoints", "mountPath": "/checkpoints", "readOnly": True},
                    {"name": "tmp", "mountPath": "/tmp"},  # noqa: S108
                ],
            }
        ],
        "volumes": [
            {"name": "data", "persistentVolumeClaim": _read_only("skelift-data")},
            {"name": "checkpoints", "persistentVolumeClaim": _read_only("skelift-checkpoints")},
            {"name": "tmp", "emptyDir": {"sizeLimit": "8Gi"}},
        ],
    }


def _read_only(claim: str) -> dict[str, Any]:
    return {"claimName": claim, "readOnly": True}


if __name__ == "__main__":
    given = sys.argv[1:]
    print("# Made by `make manifests` from the search space in conf/sweep; do not edit.")
    print(yaml.safe_dump(experiment(compose(given), given), sort_keys=False), end="")
