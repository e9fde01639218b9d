"""``skelift submit``: a pipeline to Kubeflow Pipelines, as a version, an experiment and a run.

Everything that can be wrong with the parameters is found before anything is sent.
"""

import hashlib
import io
import json
import runpy
import sys
import time
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from skelift import __version__
from skelift.errors import InputError, RunError
from skelift.http import Unexpected, check_url, read_token
from skelift.kubeflow.parameters import check_parameters, parse_parameters, read_spec

OWN = "skelift"  # the project's pipeline, whose parameters compose a configuration
TOKEN = "SKELIFT_KFP_TOKEN"  # noqa: S105 - the name of a variable
FINISHED = ("SUCCEEDED", "SKIPPED", "FAILED", "CANCELED")
PATIENCE = 10  # polls that may fail one after the other before the wait is given up
POLL_S = 5.0  # seconds between two looks at a run


@dataclass(frozen=True)
class Target:
    """Where to submit, and under which names."""

    host: str  # URL of Kubeflow Pipelines (its UI's and its API's)
    namespace: str | None = None  # profile of a multi-user Kubeflow
    experiment: str = "skelift"  # created if it does not exist
    run: str | None = None  # default: pipeline and version
    service_account: str | None = None  # of the run's pods
    cache: bool = True  # False runs every task, whatever has been run before


def submit(
    pipeline: Path,
    arguments: Sequence[str],
    target: Target,
    *,
    wait: bool = False,
    timeout: float | None = None,
) -> str:
    """Compile, upload as a version, start a run; returns the run's URL.

    Args:
        pipeline: a Python file with one pipeline in it, or a compiled YAML file.
        arguments: parameters of the pipeline, ``NAME=VALUE``.
        target: where to.
        wait: print the states of run and tasks until the run ends.
        timeout: seconds to wait at most; None: until the end.

    Raises:
        InputError: no such pipeline, or a parameter that it does not take; nothing was sent then.
            Or what answers is not Kubeflow Pipelines, or redirects to another origin.
        RunError: the host does not answer or refuses, or the run (``wait``) did not succeed.
    """
    check_url(target.host, f"--host {target.host}")
    with TemporaryDirectory() as scratch:
        package = compile_pipeline(pipeline, Path(scratch) / "pipeline.yaml")
        spec = read_spec(package)
        parameters = parse_parameters(spec, arguments, str(pipeline))
        name = spec["pipelineInfo"]["name"]
        if name == OWN:
            check_parameters(spec, parameters)
        with _told_plainly(target.host):
            client = _connect(target)
            # kfp prints links, also to what a stranger's answer does not name.
            with redirect_stdout(io.StringIO()):
                run_id = _start(client, package, name, parameters, target)
    url = f"{target.host.rstrip('/')}/#/runs/details/{run_id}"
    if wait:
        _follow(client, run_id, url, timeout)
    return url


def compile_pipeline(pipeline: Path, out: Path) -> Path:
    """Compile a Python file's pipeline to ``out``; a YAML file is taken as it is."""
    if not pipeline.is_file():
        raise InputError(f"{pipeline}: not found; name a pipeline's .py or compiled .yaml file")
    if pipeline.suffix in (".yaml", ".yml"):
        return pipeline
    if pipeline.suffix != ".py":
        raise InputError(f"{pipeline}: not a Python file; name a .py or a compiled .yaml file")
    kfp = _kfp()
    root = str(pipeline.resolve().parents[1])
    with warnings.catch_warnings(action="ignore"):
        sys.path.insert(0, root)
        try:
            module = runpy.run_path(str(pipeline))
        finally:
            sys.path.remove(root)
        kind = kfp.dsl.graph_component.GraphComponent
        graphs = [value for value in module.values() if isinstance(value, kind)]
        if len(graphs) != 1:
            raise InputError(f"{pipeline}: has {len(graphs)} pipelines; name a file with one")
        kfp.compiler.Compiler().compile(graphs[0], str(out))
    return out


def _start(
    client: Any, package: Path, name: str, parameters: dict[str, Any], target: Target
) -> str:
    """The id of a new run."""
    version = f"{__version__}-{hashlib.sha256(package.read_bytes()).hexdigest()[:12]}"
    pipeline_id, version_id = _upload(client, package, name, version, target.namespace)
    experiment = client.create_experiment(target.experiment, namespace=target.namespace)
    # The client overrides caching in a run's own spec only, not in an uploaded version.
    what: dict[str, Any] = {"pipeline_id": pipeline_id, "version_id": version_id}
    if not target.cache:
        what = {"pipeline_package_path": str(package), "enable_caching": False}
    run = client.run_pipeline(
        _id(experiment.experiment_id),
        target.run or f"{name} {version}",
        params=parameters,
        service_account=target.service_account,
        **what,
    )
    return _id(run.run_id)


def _upload(
    client: Any, package: Path, name: str, version: str, namespace: str | None
) -> tuple[str, str]:
    """Ids of the pipeline and of this very version, uploaded if they do not exist."""
    pipeline_id = client.get_pipeline_id(name)
    if pipeline_id is None:
        uploaded = client.upload_pipeline(str(package), pipeline_name=name, namespace=namespace)
        pipeline_id = _id(uploaded.pipeline_id)
    same = json.dumps(
        {"predicates": [{"operation": "EQUALS", "key": "display_name", "stringValue": version}]}
    )
    known = client.list_pipeline_versions(pipeline_id, filter=same).pipeline_versions or []
    if known:
        return pipeline_id, _id(known[0].pipeline_version_id)
    uploaded = client.upload_pipeline_version(str(package), version, pipeline_id=pipeline_id)
    return pipeline_id, _id(uploaded.pipeline_version_id)


def _id(given: Any) -> str:
    if not isinstance(given, str) or not given:
        raise ValueError("an answer without an id")
    return given


def _follow(client: Any, run_id: str, url: str, timeout: float | None) -> None:
    """Print states as they change, until the run ends; RunError unless it succeeds."""
    started, failures = time.monotonic(), 0
    told: dict[str, str] = {}
    while True:
        try:
            run = client.get_run(run_id)
            if run.run_id != run_id:
                raise ValueError("the answer is about no run")
            failures = 0
        except InputError:  # the login has run out, say; asking again gives no other answer
            raise
        except Exception as error:  # the client raises urllib3's errors, and its own
            failures += 1
            if failures > PATIENCE:
                raise RunError(f"{url}: no answer any more ({_line(error)})") from None
            time.sleep(POLL_S)
            continue
        _tell(run, told, time.monotonic() - started)
        if run.state in FINISHED:
            break
        if timeout is not None and time.monotonic() - started > timeout:
            raise RunError(f"{url}: {run.state} after {timeout:.0f} s; it goes on without us")
        time.sleep(POLL_S)
    if run.state != "SUCCEEDED":
        failed = [task for task, state in told.items() if state == "FAILED" and task != "run"]
        why = f"; failed: {', '.join(failed)}" if failed else ""
        message = f" ({_line(run.error.message)})" if run.error and run.error.message else ""
        raise RunError(f"{url}: {run.state}{why}{message}; its log says more")


def _tell(run: Any, told: dict[str, str], seconds: float) -> None:
    details = run.run_details.task_details if run.run_details else None
    states = {task.display_name: task.state for task in details or []} | {"run": run.state}
    for name, state in states.items():
        if state and told.get(name) != state:
            told[name] = state
            clock = time.strftime("%H:%M:%S", time.gmtime(seconds))
            print(f"{clock} {name}: {state}", flush=True)


def _connect(target: Target) -> Any:
    token = read_token(TOKEN)
    _kfp()
    from skelift.kubeflow.client import Client

    return Client(target.host, token, target.namespace)


@contextmanager
def _told_plainly(host: str) -> Iterator[None]:
    """Turn what goes wrong with the server into one line."""
    _kfp()
    from kfp_server_api import ApiException
    from urllib3.exceptions import HTTPError as ConnectionFailed

    try:
        yield
    except ApiException as error:
        if not error.status:  # kfp's word for a connection without trust
            raise RunError(f"{host}: does not answer ({_line(error.reason)})") from None
        hint = f"; set {TOKEN}" if error.status in (401, 403) else ""
        fault = RunError if error.status >= 500 else InputError
        reason = _line(_reason(error))
        raise fault(f"{host}: refused with {error.status} ({reason}){hint}") from None
    except (OSError, ConnectionFailed) as error:
        reason = _line(getattr(error, "reason", None) or error)
        raise RunError(f"{host}: does not answer ({reason}); check --host") from None
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise Unexpected(
            f"{host}: does not answer as Kubeflow Pipelines does ({_line(error)}); check --host"
        ) from None


def _reason(error: Any) -> str:
    try:
        content = json.loads(error.body)
        return str(content.get("error_message") or content.get("message") or error.reason)
    except (TypeError, ValueError, AttributeError):
        return str(error.reason)


def _kfp() -> Any:
    try:
        with warnings.catch_warnings(action="ignore"):
            import kfp
            import kfp.compiler
            import kfp.dsl.graph_component
    except ModuleNotFoundError:
        raise InputError("skelift submit needs kfp: pip install 'skelift[kubeflow]'") from None
    return kfp


def _line(error: object) -> str:
    return " ".join(str(error).split())
