"""``skelift submit`` through the genuine kfp.Client, against a test double of its API."""

import json
import re
import socket
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from kfp_api_test_double import KfpApiTestDouble, complaints, serve
from tiny import know_motion, tiny_dataset

from components.conftest import TINY
from skelift.cli import main
from skelift.errors import InputError, RunError
from skelift.http import Unexpected
from skelift.kubeflow import submit

PIPELINE = """
from kfp import dsl

@dsl.component(install_kfp_package=False, base_image="python:3.11")
def train(steps: int, metrics: dsl.Output[dsl.Metrics]) -> float:
    if steps > 100:
        raise ValueError("too long")
    metrics.log_metric("steps", steps)
    return 1 / steps

@dsl.component(install_kfp_package=False, base_image="python:3.11")
def gate(loss: float, threshold: float) -> str:
    return "better" if loss < threshold else "worse"

@dsl.pipeline(name="tiny")
def tiny(
    data: str, steps: int = 10, threshold: float = 0.5, sweep: bool = False, tags: list = []
):
    trained = train(steps=steps)
    gate(loss=trained.outputs["Output"], threshold=threshold)
"""


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The compiled pipeline."""
    folder = tmp_path_factory.mktemp("pipeline")
    (folder / "tiny.py").write_text(PIPELINE)
    return submit.compile_pipeline(folder / "tiny.py", folder / "tiny.yaml")


@pytest.fixture
def double(tmp_path: Path) -> KfpApiTestDouble:
    return KfpApiTestDouble(tmp_path / "runs")


@pytest.fixture
def host(double: KfpApiTestDouble, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setenv("HOME", str(double.folder))  # a context of kfp's on this machine
    monkeypatch.setattr(submit, "POLL_S", 0.1)
    with serve(double) as url:
        yield url


def test_run_succeeds_and_a_second_one_uploads_nothing(
    double: KfpApiTestDouble, host: str, pipeline: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    call = ["submit", "--host", host, "--pipeline", str(pipeline), "data=s3://bucket/people"]
    assert main([*call, "steps=20", "--wait", "--experiment", "first"]) == 0
    printed = capsys.readouterr().out
    (run,) = double.runs.values()
    assert f"{host}/#/runs/details/{run['run_id']}" in printed
    assert re.search(r"train: SUCCEEDED(.|\n)*run: SUCCEEDED", printed)
    assert run["runtime_config"]["parameters"] == {"data": "s3://bucket/people", "steps": 20}
    (output,) = (double.folder / run["run_id"]).rglob("train/executor_output.json")
    assert json.loads(output.read_text())["parameterValues"]["Output"] == 1 / 20

    uploads = [path for _, path in double.asked if "upload" in path]
    double.executes = False
    assert main([*call, "--no-cache", "--experiment", "first"]) == 0
    assert [path for _, path in double.asked if "upload" in path] == uploads
    assert [e["display_name"] for e in double.experiments.values()] == ["first"]
    again = list(double.runs.values())[1]["pipeline_spec"]
    tasks = again["root"]["dag"]["tasks"].values()
    assert not any(task["cachingOptions"].get("enableCache") for task in tasks)
    assert not double.broken  # every request and answer as the swagger file says


def test_failed_run_exits_1_and_names_the_task(
    double: KfpApiTestDouble, host: str, pipeline: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    call = ["submit", "--host", host, "--pipeline", str(pipeline), "data=x", "steps=200"]
    assert main([*call, "--wait"]) == 1
    printed = capsys.readouterr()
    assert "train: FAILED" in printed.out
    assert re.search(r"runs/details/\S+: FAILED; failed: train", printed.err)
    assert printed.err.count("\n") == 1
    assert not double.broken


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["data=x", "stesp=20"], "has no parameter stesp; did you mean steps"),
        (["data=x", "steps=ten"], "steps=ten: not a whole number"),
        (["data=x", "steps=1.5"], "steps=1.5: not a whole number"),
        (["data=x", "threshold=true"], "threshold=true: not a number"),
        (["data=x", "sweep=perhaps"], "sweep=perhaps: not true or false"),
        (["data=x", "tags={}"], "tags={}: not a JSON list"),
        (["data"], "write NAME=VALUE"),
        ([], "needs data"),
    ],
)
def test_wrong_parameter_is_refused_before_anything_is_sent(
    double: KfpApiTestDouble,
    host: str,
    pipeline: Path,
    arguments: list[str],
    message: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["submit", "--host", host, "--pipeline", str(pipeline), *arguments]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert not double.asked


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["experiment=bogus"], "no experiment/bogus; there are"),
        (["train_stpes=5"], "has no parameter train_stpes; did you mean train_steps"),
        (['overrides=["loss.flwo=1"]'], "did you mean loss.flow"),
        (['overrides=["train.steps=many"]'], "train.steps"),
        (["flow_steps=-1"], "flow.steps=-1"),
        (["sweep_trials=0"], "sweep_trials=0"),
        (["train_steps=-5"], "train.steps=-5"),
        (["gate_threshold=1.5"], "gate_threshold=1.5"),
    ],
)
def test_the_projects_own_pipeline_is_checked_further(
    double: KfpApiTestDouble,
    host: str,
    arguments: list[str],
    message: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    own = Path(__file__).parents[1] / "pipelines" / "skelift.yaml"
    assert main(["submit", "--host", host, "--pipeline", str(own), *arguments]) == 2
    assert message in capsys.readouterr().err
    assert not double.asked


def test_the_projects_own_pipeline_is_compiled_and_accepted(
    double: KfpApiTestDouble, host: str
) -> None:
    double.executes = False
    own = Path(__file__).parents[1] / "pipelines" / "skelift.py"
    arguments = ["train_steps=500", "sweep=true", 'gpu_node_selector={"pool": "gpu"}']
    assert main(["submit", "--host", host, "--pipeline", str(own), *arguments]) == 0
    (run,) = double.runs.values()
    assert run["runtime_config"]["parameters"] == {
        "train_steps": 500,
        "sweep": True,
        "gpu_node_selector": {"pool": "gpu"},
    }
    version = double.versions[run["pipeline_version_reference"]["pipeline_version_id"]]
    assert "platforms" in version["pipeline_spec"]["platform_spec"]
    assert not double.broken


@pytest.mark.slow
def test_the_projects_own_pipeline_is_executed_to_an_archive(
    double: KfpApiTestDouble, host: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    know_motion(tiny_dataset(tmp_path / "data", size=32))
    own = Path(__file__).parents[1] / "pipelines" / "skelift.py"
    arguments = [
        f"data_uri={tmp_path / 'data'}",
        f"overrides={json.dumps(TINY)}",
        f"champion={tmp_path / 'champion'}",
        f"checkpoints={tmp_path / 'checkpoints'}",
        "train_steps=6",
        "flow_steps=10",
        "sweep=true",
        "sweep_trials=2",
    ]
    code = main(["submit", "--host", host, "--pipeline", str(own), "--wait", *arguments])
    (run,) = double.runs.values()
    printed = capsys.readouterr()
    assert code == 0, printed.err + (double.folder / run["run_id"] / "log").read_text()
    for task in ("configure", "validate", "trial", "choose", "train", "gate", "package"):
        assert f"{task}: SUCCEEDED" in printed.out
    assert (tmp_path / "champion" / "archive" / "skelift.mar").exists()
    assert (tmp_path / "champion" / "model" / "model.safetensors").exists()
    assert not double.broken


def test_token_is_sent_and_asked_for(
    double: KfpApiTestDouble,
    host: str,
    pipeline: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    double.executes = False
    double.token = "open sesame"  # noqa: S105
    call = ["submit", "--host", host, "--pipeline", str(pipeline), "data=x"]
    assert main(call) == 2
    assert f"refused with 401 (no valid token); set {submit.TOKEN}" in capsys.readouterr().err
    monkeypatch.setenv(submit.TOKEN, double.token)
    assert main(call) == 0
    assert double.token not in capsys.readouterr().out


def test_silent_host_and_missing_pipeline(
    pipeline: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
    assert main(["submit", "--host", url, "--pipeline", str(pipeline), "data=x"]) == 1
    assert f"{url}: does not answer" in capsys.readouterr().err
    assert main(["submit", "--host", "localhost", "--pipeline", str(pipeline)]) == 2
    assert "not an HTTP URL" in capsys.readouterr().err
    assert main(["submit", "--host", url, "--pipeline", "nowhere.py"]) == 2
    assert "nowhere.py: not found" in capsys.readouterr().err


class ClientDouble:
    """Test double of kfp's client: gives, or raises, one thing again and again."""

    def __init__(self, answer: Any) -> None:
        self.answer = answer
        self.asked = 0

    def get_run(self, run_id: str) -> Any:
        self.asked += 1
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


def test_waiting_ends_where_something_else_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(submit, "POLL_S", 0.0)
    login = ClientDouble(Unexpected("redirects to a login"))
    with pytest.raises(InputError, match="redirects to a login"):
        submit._follow(login, "a", "http://a.org", None)
    assert login.asked == 1
    other = ClientDouble(SimpleNamespace(run_id=None, state=None, run_details=None))
    with pytest.raises(RunError, match="no answer any more"):
        submit._follow(other, "a", "http://a.org", None)
    assert other.asked == submit.PATIENCE + 1


def test_the_test_double_can_refuse(double: KfpApiTestDouble) -> None:
    run = {"experiment_id": "e", "display_name": "r", "runtime_config": {"parameters": {"n": 1}}}
    assert not complaints({"$ref": "#/definitions/v2beta1Run"}, run)
    assert complaints({"$ref": "#/definitions/v2beta1Run"}, run | {"job_name": "r"})
    assert double.answer("post", "/apis/v2beta1/runs", {}, run | {"state": "DONE"})[0] == 400
    assert double.answer("get", "/apis/v2beta1/experiments", {"page": "1"}, None)[0] == 400
    assert double.answer("get", "/apis/v1beta1/runs", {}, None)[0] == 404
