"""Verb: the pipeline -> a run on Kubeflow Pipelines."""

from pathlib import Path

from skelift.kubeflow.submit import Target, submit


def run(
    parameters: list[str],
    host: str,
    pipeline: Path,
    namespace: str | None,
    experiment: str,
    run: str | None,
    service_account: str | None,
    no_cache: bool,
    wait: bool,
    timeout: float | None,
) -> str:
    """Submit the pipeline; the arguments are those of ``submit`` and of ``Target``.

    Returns:
        The run's URL.
    """
    target = Target(
        host=host,
        namespace=namespace,
        experiment=experiment,
        run=run,
        service_account=service_account,
        cache=not no_cache,
    )
    return submit(pipeline, parameters, target, wait=wait, timeout=timeout)
