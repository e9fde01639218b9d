"""Run the pipeline on Kubeflow Pipelines.

Compiles the pipeline, uploads it as a version, makes the experiment where it does not exist, starts
a run and prints its URL. A token is read from SKELIFT_KFP_TOKEN.

Examples:
  skelift submit --host http://localhost:8080 --wait
  skelift submit --host https://kubeflow.example.org/pipeline --namespace team train_steps=5000
"""

from argparse import ArgumentParser
from collections.abc import Sequence
from pathlib import Path

from skelift.numbers import positive


def add_arguments(parser: ArgumentParser) -> None:
    """Declare the options that ``run`` takes."""
    parser.add_argument(
        "parameters", nargs="*", metavar="NAME=VALUE", help="a parameter of the pipeline"
    )
    parser.add_argument("--host", required=True, metavar="URL", help="Kubeflow Pipelines")
    parser.add_argument(
        "--pipeline",
        type=Path,
        default=Path("pipelines/skelift.py"),
        metavar="FILE",
        help="a .py with one pipeline, or a compiled .yaml (default: %(default)s)",
    )
    parser.add_argument("--namespace", help="profile, in a multi-user Kubeflow")
    parser.add_argument(
        "--experiment", default="skelift", metavar="NAME", help="default: %(default)s"
    )
    parser.add_argument("--run", metavar="NAME", help="name of the run (default: its version)")
    parser.add_argument("--service-account", metavar="NAME", help="of the run's pods")
    parser.add_argument("--no-cache", action="store_true", help="run every task again")
    parser.add_argument(
        "--wait", action="store_true", help="print states until the end; exit 1 if the run fails"
    )
    parser.add_argument(
        "--timeout", type=positive, metavar="SECONDS", help="longest wait (default: no limit)"
    )


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
