"""One step of the pipeline: calls the same verbs as ``dvc.yaml`` and hands over what the UI shows.

    python -m skelift.kubeflow.step train --executor-input '{"inputs": ...}'

Exit codes are those of the command line: 2 for bad input, with one line on stderr.
"""

import argparse
import json
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

from skelift import cli, threads
from skelift.config import Config, compose, to_yaml
from skelift.errors import InputError
from skelift.files import STATISTICS, read_json
from skelift.kubeflow.bucket import fetch, fetch_if_there, is_remote, upload
from skelift.kubeflow.executor import Task
from skelift.kubeflow.parameters import configuration_of
from skelift.storage.bucket import Location
from skelift.storage.mirror import mirrored


class VerbFailed(Exception):
    """A verb ended with an exit code; it has said why itself."""

    def __init__(self, code: int) -> None:
        self.code = code


def main(argv: Sequence[str] | None = None) -> int:
    """Run a step. Exit codes as of the command line."""
    parser = argparse.ArgumentParser(prog="skelift.kubeflow.step", description=__doc__)
    parser.add_argument("step", choices=sorted(STEPS))
    parser.add_argument("--executor-input", required=True, metavar="JSON")
    arguments = parser.parse_args(argv)
    try:
        threads.settle()
        task = Task(arguments.executor_input)
        STEPS[arguments.step](task)
        task.finish()
    except VerbFailed as failed:
        return failed.code
    except cli.FAULTS as error:
        return cli.refused(f"skelift step {arguments.step}", error)
    return 0


def configure(task: Task) -> None:
    """Parameters that a person fills in -> one composed configuration for all later steps."""
    config = configuration_of(task.parameters)
    task.outputs["config"].path.write_text(to_yaml(config))
    task.log("config", {"name": config.name, "experiment": task.parameters["experiment"]})
    task.set_parameter("trials", list(range(int(task.parameters["sweep_trials"]))))


def prepare(task: Task) -> None:
    """A data set: taken as it is, or made as the configuration says."""
    data, uri = task.outputs["data"], str(task.parameters["data_uri"])
    source = fetch(uri, _scratch()) if uri else None
    if source and (source / "dataset.json").exists():
        shutil.copytree(source, data.path, dirs_exist_ok=True)
    else:
        _verb("prepare", task, *_places(_config(task), source, uri), data=data.path)
    about = read_json(data.path / "dataset.json", "skelift prepare")
    task.log("data", {k: about[k] for k in ("name", "size", "synthetic", "licence") if k in about})


def _places(config: Config, source: Path | None, uri: str) -> list[str]:
    """Where in ``source`` the images, masks and poses of ``data.folder`` are."""
    folder = config.data.folder
    if folder is None and source:
        raise InputError(
            f"{uri}: no dataset.json, and experiment {config.name} takes no images; name a data "
            "set, or take experiment scratch and data=folder data.folder.images=..."
        )
    if folder is None:
        return []
    if source is None:
        raise InputError("data_uri: empty; name the folder of images and poses, s3://...")
    places = {"images": folder.images, "masks": folder.masks, "poses": folder.poses}
    return [f"data.folder.{key}={source / at}" for key, at in places.items() if at]


def validate(task: Task) -> None:
    """Data Docs; bad data end the pipeline here."""
    reports = _scratch()
    try:
        _verb("validate", task, data=task.input("data"), reports=reports)
    finally:
        page = reports / "validation" / "index.html"
        if page.exists():  # also of data that failed
            shutil.copy(page, task.outputs["report"].path)
    report = read_json(reports / "validation" / "validation.json", "skelift validate")
    rows = report["expectations"]
    failed = sum(not row["success"] for row in rows)
    task.log("metrics", {"expectations": len(rows), "failed": failed, **report["counts"]})


def pretrain_flow(task: Task) -> None:
    """The density over 2D poses."""
    flow = task.outputs["flow"].path
    _verb("pretrain-flow", task, data=task.input("data"), flow=flow)
    about = _numbers(read_json(flow / "flow.json", "skelift pretrain-flow"))
    task.log("flow", about)
    task.log("metrics", about)


def train(task: Task) -> None:
    """The model. Killed and started again, it goes on from the checkpoint in ``checkpoints``."""
    model = task.outputs["model"].path
    with _checkpoints(task) as checkpoints:
        _verb("train", task, **_inputs(task), checkpoints=checkpoints, model=model)
    config = _config(task)
    task.log("model", {"name": config.name, "framework": "skelift", "steps": config.train.steps})
    last = json.loads((model / STATISTICS).read_text().splitlines()[-1])
    task.log("metrics", {k.replace("/", "_"): v for k, v in last.items() if k != "per_second"})


def trial(task: Task) -> None:
    """One trial of the search space; its result is small and travels as a parameter."""
    reports, number = _scratch(), int(task.parameters["number"])
    with _checkpoints(task, f"trial-{number}") as checkpoints:
        paths = _inputs(task) | {"checkpoints": checkpoints, "reports": reports}
        _verb("sweep", task, f"sweep.trial={number}", **paths)
    (result,) = (reports / "sweep").glob("trial-*.json")
    task.set_parameter("result", result.read_text())
    trial = json.loads(result.read_text())
    task.log("metrics", {"trial": number, trial["metric"]: trial["score"]})


def choose(task: Task) -> None:
    """The winner of the trials -> the configuration of the final training."""
    reports, results = _scratch(), _scratch()
    for text in task.parameters["results"]:
        trial = json.loads(text)
        (results / f"trial-{trial['number']:05d}.json").write_text(text)
    _verb("sweep", task, f"sweep.results=[{results}]", reports=reports)
    shutil.copy(reports / "sweep" / "best.yaml", task.outputs["best"].path)
    best = read_json(reports / "sweep" / "sweep.json", "skelift sweep")["best"]
    task.log("best", {"trial": best["number"], **best["values"]})
    task.log("metrics", {"trial": best["number"], best["metric"]: best["score"]})


def evaluate(task: Task) -> None:
    """Scores, and the report with table, curves and images."""
    from skelift.evaluation.gate import headline

    reports = _scratch()
    paths = _inputs(task) | {"model": task.input("model"), "reports": reports}
    _verb("evaluate", task, **paths)
    _verb("report", task, **paths)
    shutil.copy(reports / "report.html", task.outputs["report"].path)
    shutil.copy(reports / "metrics.json", task.outputs["scores"].path)
    metrics = read_json(reports / "metrics.json", "skelift evaluate")
    task.log("metrics", _numbers(metrics["rows"][metrics["model"]]["overall"]))
    name, score = headline(metrics)
    task.log("scores", {"headline": name, name: score})


def gate(task: Task) -> None:
    """Whether the model is better than the champion, scored again on the same images."""
    from skelift.evaluation.gate import is_better

    scores = read_json(task.input("scores"), "skelift evaluate")
    verdict = is_better(scores, _champion_scores(task), float(task.parameters["threshold"]))
    print(verdict.reason, flush=True)
    task.set_parameter("better", verdict.better)
    task.log("metrics", verdict.numbers())


def package(task: Task) -> None:
    """The archive for TorchServe; the model becomes the champion."""
    model, archive = task.input("model"), task.outputs["archive"].path
    _run("package", str(model), "--out", str(archive), "--scores", str(task.input("scores")))
    names = sorted(file.name for file in archive.glob("*.mar"))
    task.log("archive", {"files": ", ".join(names), "model": task.input_uri("model")})
    if champion := str(task.parameters["champion"]):
        upload(archive, f"{champion.rstrip('/')}/archive")
        # The model last: it is what the next run is compared with.
        upload(model, f"{champion.rstrip('/')}/model")
        print(f"champion: {champion}", flush=True)


_ALL = (configure, prepare, validate, pretrain_flow, train, trial, choose, evaluate, gate, package)
STEPS = {step.__name__.replace("_", "-"): step for step in _ALL}


def _champion_scores(task: Task) -> Any:
    champion, reports = str(task.parameters["champion"]), _scratch()
    model = fetch_if_there(f"{champion.rstrip('/')}/model", _scratch()) if champion else None
    if model is None:
        return None
    paths = _inputs(task) | {"model": model, "reports": reports}
    _verb("evaluate", task, "evaluate.baselines=[]", **paths)
    return read_json(reports / "metrics.json", "skelift evaluate")


def _inputs(task: Task) -> dict[str, Path]:
    return {name: task.input(name) for name in ("data", "flow")}


def _verb(verb: str, task: Task, *overrides: str, **paths: Path) -> None:
    folders = [f"paths.{name}={path}" for name, path in paths.items()]
    _run(verb, "--config", str(task.input("config")), *folders, *overrides, *_named(paths))


def _named(paths: Mapping[str, Path]) -> list[str]:
    """The name of the data set that goes in: ``data_uri`` may be another than the experiment's."""
    about = paths["data"] / "dataset.json" if "data" in paths else None
    if about is None or not about.exists():
        return []
    return [f"data.name={read_json(about, 'skelift prepare')['name']}"]


def _run(*command: str) -> None:
    if code := cli.main(command):
        raise VerbFailed(code)


def _config(task: Task) -> Config:
    return compose((), task.input("config"))


@contextmanager
def _checkpoints(task: Task, part: str = "final") -> Iterator[Path]:
    """A folder of the run's own, in a bucket or on a volume, that outlives the step."""
    place = str(task.parameters["checkpoints"])
    # The same configuration on the same data and flow resumes; another one starts beside it.
    read = ("config", ""), ("data", "dataset.json"), ("flow", "flow.safetensors")
    same = b"".join((task.input(name) / file).read_bytes() for name, file in read)
    own = f"{sha256(same).hexdigest()[:12]}/{part}"
    if not is_remote(place):
        yield Path(place) / own if place else _scratch()
        return
    folder = _scratch()
    with mirrored(folder, Location.parse(place) / own, pushes=True):
        yield folder


def _numbers(values: dict[str, Any]) -> dict[str, float]:
    return {name: value for name, value in values.items() if type(value) in (int, float)}


def _scratch() -> Path:
    return Path(mkdtemp(prefix="step-"))


if __name__ == "__main__":
    sys.exit(main())
