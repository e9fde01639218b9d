"""Command: a run of the pipeline on Kubeflow Pipelines."""

from collections.abc import Sequence
from pathlib import Path


def run(
    pipeline: Path,
    parameters: Sequence[str],
    host: str,
    namespace: str | None,
    experiment: str,
    run: str | None,
    service_account: str | None,
    no_cache: bool,
    wait: bool,
    timeout: float | None,
) -> str:
    """Submit a pipeline with ``NAME=VALUE`` parameters; returns the run's URL."""
    from skelift.kubeflow.submit import Target, submit

    target = Target(host, namespace, experiment, run, service_account, cache=not no_cache)
    return submit(pipeline, parameters, target, wait=wait, timeout=timeout)
