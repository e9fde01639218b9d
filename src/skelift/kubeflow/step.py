"""One step of the pipeline: calls the same verbs as ``dvc.yaml`` and hands over what the UI shows.

    python -m skelift.kubeflow.step train --executor-input '{"inputs": ...}'

Exit codes are those of the command line: 2 for bad input, with one line on stderr.
"""

import argparse
import json
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

from skelift import cli
from skelift.config import Config, compose, to_yaml
from skelift.errors import InputError, RunError
from skelift.files import atomic_file, read_json
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
        task = Task(arguments.executor_input)
        STEPS[arguments.step](task)
        task.finish()
    except VerbFailed as failed:
        return failed.code
    except (InputError, RunError) as error:
        print(f"skelift step {arguments.step}: error: {error}", file=sys.stderr)
        return cli.BAD_INPUT if isinstance(error, InputError) else cli.RUN_FAILED
    return 0


def configure(task: Task) -> None:
    """Parameters that a person fills in -> one composed configuration for all later steps."""
    config = configuration_of(task.parameters)
    trials = int(task.parameters["sweep_trials"])
    _write(task.outputs["config"].path, to_yaml(config))
    task.log("config", {"name": config.name, "experiment": task.parameters["experiment"]})
    task.set_parameter("trials", list(range(trials)))


def prepare(task: Task) -> None:
    """A data set: taken as it is, or made as the configuration says."""
    data, uri = task.outputs["data"], str(task.parameters["data_uri"])
    source = None if not uri else fetch(uri, _scratch()) if is_remote(uri) else Path(uri)
    if source and (source / "dataset.json").exists():
        shutil.copytree(source, data.path, dirs_exist_ok=True)
    else:
        _verb("prepare", task, f"paths.data={data.path}", *_places(_config(task), source, uri))
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
        _verb("validate", task, f"paths.data={task.input('data')}", f"paths.reports={reports}")
    finally:
        page = reports / "validation" / "index.html"
        if page.exists():  # also of data that failed
            shutil.copy(page, _parent(task.outputs["report"].path))
    report = read_json(reports / "validation" / "validation.json", "skelift validate")
    rows = report["expectations"]
    failed = sum(not row["success"] for row in rows)
    task.log("metrics", {"expectations": len(rows), "failed": failed, **report["counts"]})


def pretrain_flow(task: Task) -> None:
    """The density over 2D poses."""
    flow = task.outputs["flow"].path
    _verb("pretrain-flow", task, f"paths.data={task.input('data')}", f"paths.flow={flow}")
    about = _numbers(read_json(flow / "flow.json", "skelift pretrain-flow"))
    task.log("flow", about)
    task.log("metrics", about)


def train(task: Task) -> None:
    """The model. Killed and started again, it goes on from the checkpoint in ``checkpoints``."""
    model = task.outputs["model"].path
    with _checkpoints(task) as checkpoints:
        _verb(
            "train",
            task,
            f"paths.data={task.input('data')}",
            f"paths.flow={task.input('flow')}",
            f"paths.checkpoints={checkpoints}",
            f"paths.model={model}",
        )
    config = _config(task)
    task.log("model", {"name": config.name, "framework": "skelift", "steps": config.train.steps})
    last = json.loads((model / "stats.jsonl").read_text().splitlines()[-1])
    task.log("metrics", {k.replace("/", "_"): v for k, v in last.items() if k != "per_second"})


def trial(task: Task) -> None:
    """One trial of the search space; its result is small and travels as a parameter."""
    reports, number = _scratch(), int(task.parameters["number"])
    with _checkpoints(task, f"trial-{number}") as checkpoints:
        _verb(
            "sweep",
            task,
            f"paths.data={task.input('data')}",
            f"paths.flow={task.input('flow')}",
            f"paths.checkpoints={checkpoints}",
            f"paths.reports={reports}",
            f"sweep.trial={number}",
        )
    (result,) = (reports / "sweep").glob("trial-*.json")
    task.set_parameter("result", result.read_text())
    trial = json.loads(result.read_text())
    task.log("metrics", {"trial": number, trial["metric"]: trial["score"]})


def choose(task: Task) -> None:
    """The winner of the trials -> the configuration of the final training."""
    reports, results = _scratch(), _scratch()
    for text in task.parameters["results"]:
        trial = json.loads(text)
        _write(results / f"trial-{trial['number']:05d}.json", text)
    _verb("sweep", task, f"paths.reports={reports}", f"sweep.results=[{results}]")
    shutil.copy(reports / "sweep" / "best.yaml", _parent(task.outputs["best"].path))
    best = read_json(reports / "sweep" / "sweep.json", "skelift sweep")["best"]
    task.log("best", {"trial": best["number"], **best["values"]})
    task.log("metrics", {"trial": best["number"], best["metric"]: best["score"]})


def evaluate(task: Task) -> None:
    """Scores, and the report with table, curves and images."""
    from skelift.evaluation.gate import headline

    reports, model = _scratch(), task.input("model")
    paths = [
        f"paths.data={task.input('data')}",
        f"paths.flow={task.input('flow')}",
        f"paths.model={model}",
        f"paths.reports={reports}",
    ]
    _verb("evaluate", task, *paths)
    _verb("report", task, *paths)
    shutil.copy(reports / "report.html", _parent(task.outputs["report"].path))
    shutil.copy(reports / "metrics.json", _parent(task.outputs["scores"].path))
    metrics = read_json(reports / "metrics.json", "skelift evaluate")
    task.log("metrics", _numbers(metrics["rows"][metrics["model"]]["overall"]))
    name, score = headline(metrics)
    task.log("scores", {"headline": name, name: score})


def gate(task: Task) -> None:
    """Whether the model is better than the champion, scored on the same images."""
    from skelift.evaluation.gate import is_better

    scores = read_json(task.input("scores"), "skelift evaluate")
    champion = _champion_scores(task)
    verdict = is_better(scores, champion, float(task.parameters["threshold"]))
    print(verdict.reason, flush=True)
    task.set_parameter("better", verdict.better)
    task.log("metrics", verdict.numbers())


def package(task: Task) -> None:
    """The archive for TorchServe; the model becomes the champion."""
    model, archive = task.input("model"), task.outputs["archive"]
    scores = task.input("scores")
    _run(["package", str(model), "--out", str(archive.path), "--scores", str(scores)])
    names = sorted(file.name for file in archive.path.glob("*.mar"))
    task.log("archive", {"files": ", ".join(names), "model": task.input_uri("model")})
    if champion := str(task.parameters["champion"]):
        _put(archive.path, f"{champion.rstrip('/')}/archive")
        # The model last: it is what the next run is compared with.
        _put(model, f"{champion.rstrip('/')}/model")
        print(f"champion: {champion}", flush=True)


STEPS: dict[str, Callable[[Task], None]] = {
    "configure": configure,
    "prepare": prepare,
    "validate": validate,
    "pretrain-flow": pretrain_flow,
    "train": train,
    "trial": trial,
    "choose": choose,
    "evaluate": evaluate,
    "gate": gate,
    "package": package,
}


def _champion_scores(task: Task) -> Any:
    champion = str(task.parameters["champion"])
    model = _scratch() / "model"
    if not champion:
        return None
    if is_remote(champion):
        if not fetch_if_there(f"{champion.rstrip('/')}/model", model):
            return None
    elif not (model := Path(champion) / "model").exists():
        return None
    reports = _scratch()
    _verb(
        "evaluate",
        task,
        f"paths.data={task.input('data')}",
        f"paths.flow={task.input('flow')}",
        f"paths.model={model}",
        f"paths.reports={reports}",
        "evaluate.baselines=[]",
    )
    return read_json(reports / "metrics.json", "skelift evaluate")


def _verb(verb: str, task: Task, *overrides: str) -> None:
    _run([verb, "--config", str(task.input("config")), *overrides])


def _run(command: list[str]) -> None:
    if code := cli.main(command):
        raise VerbFailed(code)


def _config(task: Task) -> Config:
    return compose((), task.input("config"))


@contextmanager
def _checkpoints(task: Task, part: str = "final") -> Iterator[Path]:
    """A folder of the run's own, in a bucket or on a volume, that outlives the step."""
    place = str(task.parameters["checkpoints"])
    # The same configuration goes on; another one starts afresh beside it.
    own = f"{sha256(task.input('config').read_bytes()).hexdigest()[:12]}/{part}"
    if not is_remote(place):
        yield Path(place) / own if place else _scratch()
        return
    folder = _scratch()
    with mirrored(folder, Location.parse(place) / own, pushes=True):
        yield folder


def _put(source: Path, place: str) -> None:
    if is_remote(place):
        upload(source, place)
    else:
        shutil.copytree(source, place, dirs_exist_ok=True)


def _numbers(values: dict[str, Any]) -> dict[str, float]:
    return {
        name: value
        for name, value in values.items()
        if isinstance(value, int | float) and not isinstance(value, bool)
    }


def _scratch() -> Path:
    return Path(mkdtemp(prefix="step-"))


def _parent(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def _write(path: Path, text: str) -> None:
    with atomic_file(path) as unfinished:
        unfinished.write_text(text)


if __name__ == "__main__":
    sys.exit(main())
