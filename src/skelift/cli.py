"""The command line: one verb a stage, and ``predict``.

Only what ``--help`` needs is imported here; a verb imports its stage when it runs.
"""

import argparse
import os
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

from skelift import __version__
from skelift.errors import InputError, RunError

RUN_FAILED, BAD_INPUT, INTERRUPTED = 1, 2, 130


@dataclass(frozen=True)
class Stage:
    """A verb that takes a configuration: what it does, reads and writes."""

    summary: str
    reads: str
    writes: str
    example: str


STAGES = {
    "synthesize": Stage(
        "render images of posed bodies with true 2D and 3D joints",
        "bodies and motion (data.synth.bodies, data.synth.motion)",
        "paths.data",
        "data=hands data.synth.train=500",
    ),
    "prepare": Stage(
        "make a data set from a public one, or from your own images and unpaired 2D poses",
        "the root of h36m, mpi_inf_3dhp or handdb (docs/datasets.md), or data.folder.images, "
        "data.folder.masks, data.folder.poses",
        "paths.data",
        "h36m data.h36m.root=/data/h36m",
    ),
    "validate": Stage(
        "check a data set and write its Data Docs; bad data ends with an error",
        "paths.data",
        "paths.reports",
        "data=hands",
    ),
    "pretrain-flow": Stage(
        "train the normalising flow on the unpaired 2D poses",
        "paths.data",
        "paths.flow",
        "flow.steps=500",
    ),
    "sweep": Stage(
        "search for better weights and learning rates; stopped and started again, it goes on",
        "paths.data (clips held out of its training images judge), paths.flow, sweep.results",
        "paths.reports/sweep (best.yaml: skelift train --config best.yaml)",
        "sweep.trials=30",
    ),
    "train": Stage(
        "train the pose model; killed and started again, it resumes",
        "paths.data, paths.flow, paths.checkpoints",
        "paths.model",
        "experiment=paper train.batch=32",
    ),
    "evaluate": Stage(
        "score the model and its baselines against true 3D joints",
        "paths.data, paths.flow, paths.model",
        "paths.reports (metrics.json, predictions.npz)",
        "evaluate.baselines=[mean_pose]",
    ),
    "report": Stage(
        "draw the score table, curves and images into one HTML file",
        "paths.data, paths.model, paths.reports",
        "paths.reports (report.html, *.png)",
        "experiment=quickstart",
    ),
}

OVERRIDES = """\
OVERRIDE is KEY=VALUE (train.steps=100), GROUP=CHOICE (data=hands, experiment=paper), a plain word
for data=WORD, or skeleton=FILE.yaml. With --config, overrides are KEY=VALUE."""

S3_ENVIRONMENT = """\
The environment says the rest: AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_DEFAULT_REGION,
AWS_ENDPOINT_URL (servers other than AWS's); SKELIFT_S3_BUCKET is the bucket of s3:///PREFIX."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run a verb. Exit codes: 0, 1 a run that failed, 2 bad input, 130 interrupted."""
    arguments = _parser().parse_args(argv)
    try:
        _say(_stage(arguments) if arguments.verb in STAGES else _command(arguments))
    except InputError as error:
        print(f"skelift {arguments.verb}: error: {error}", file=sys.stderr)
        return BAD_INPUT
    except RunError as error:
        print(f"skelift {arguments.verb}: error: {error}", file=sys.stderr)
        return RUN_FAILED
    except KeyboardInterrupt:
        print(f"skelift {arguments.verb}: interrupted", file=sys.stderr)
        return INTERRUPTED
    return 0


def _say(answer: str) -> None:
    """Print the answer; a reader that has read enough (``| head``) is no error."""
    try:
        print(answer, flush=True)
    except BrokenPipeError:
        # What is left in the buffer is not to be tried again at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _stage(arguments: argparse.Namespace) -> str:
    from skelift.config import compose, to_yaml

    config = compose(arguments.overrides, arguments.config)
    if arguments.cfg:
        return to_yaml(config).rstrip()
    from skelift.storage.stages import stored

    stage = import_module(f"skelift.stages.{arguments.verb.replace('-', '_')}")
    spec = STAGES[arguments.verb]
    with stored(config, _paths(spec.reads), _paths(spec.writes)):
        return str(stage.run(config))


def _paths(said: str) -> list[str]:
    """The folders, ``data`` for ``paths.data``, that a stage says it reads or writes."""
    return re.findall(r"\bpaths\.(\w+)", said)


def _command(arguments: argparse.Namespace) -> str:
    """Run a verb that takes options instead of a configuration."""
    options = {key: value for key, value in vars(arguments).items() if key != "verb"}
    return str(import_module(f"skelift.stages.{arguments.verb}").run(**options))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="skelift",
        description="3D pose from one image, learned from unlabelled images and unpaired 2D poses.",
        epilog="`skelift VERB --help` says what a verb reads and writes.",
    )
    parser.add_argument("--version", action="version", version=f"skelift {__version__}")
    verbs = parser.add_subparsers(dest="verb", metavar="VERB", required=True)
    for verb, stage in STAGES.items():
        _add_stage(verbs, verb, stage)
    _add_predict(verbs)
    _add_serving(verbs)
    _add_demo(verbs)
    _add_view(verbs)
    _add_push(verbs)
    _add_pull(verbs)
    _add_submit(verbs)
    return parser


def _add_stage(
    verbs: "argparse._SubParsersAction[argparse.ArgumentParser]", verb: str, stage: Stage
) -> None:
    parser = verbs.add_parser(
        verb,
        help=stage.summary,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        description=f"{_sentence(stage.summary)}\n\nreads:  {stage.reads}\nwrites: {stage.writes}",
        epilog=f"{OVERRIDES}\n\nexamples:\n"
        f"  skelift {verb} {stage.example}\n"
        f"  skelift {verb} --config params.yaml\n"
        f"  skelift {verb} --cfg job {stage.example}",
    )
    parser.add_argument("overrides", nargs="*", metavar="OVERRIDE", help="see below")
    parser.add_argument(
        "--cfg", choices=["job"], help="print the composed configuration and run nothing"
    )
    parser.add_argument(
        "--config",
        type=Path,
        metavar="FILE",
        help="start from a composed configuration (what --cfg job prints), not from the groups",
    )


def _add_predict(verbs: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    summary = "find the 3D pose in images and videos"
    parser = verbs.add_parser(
        "predict",
        help=summary,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        description=f"{_sentence(summary)}\n\n"
        "Each image shows one body on black, or has a mask: beside it (NAME.mask.png) or in\n"
        "--masks; before a static camera, --background finds the body that moves. The answer has\n"
        "3D joints in mm (root-relative, camera frame) and 2D joints in pixels of the image.\n"
        "One image gives no scale: mm come from the typical body size stored with the model.",
        epilog="examples:\n"
        "  skelift predict person.png --out pose.json\n"
        "  skelift predict horse.png --model models/horse/model --out pose.json\n"
        "  skelift predict walk.mp4 --background median --out walk.csv --draw drawn/\n"
        "  skelift predict frames/ --masks masks/ --out poses.npz\n"
        "  skelift predict person.png --endpoint http://127.0.0.1:8080 --out pose.json",
    )
    parser.add_argument(
        "images", nargs="+", type=Path, metavar="INPUT", help="an image, a video or a folder"
    )
    _add_model(parser)
    parser.add_argument(
        "--out", type=Path, required=True, metavar="FILE", help="poses: .json, .csv or .npz"
    )
    parser.add_argument(
        "--draw", type=Path, metavar="DIR", help="also draw there: PNG of images, MP4 of videos"
    )
    parser.add_argument("--masks", type=Path, metavar="DIR", help="masks with the inputs' stems")
    parser.add_argument(
        "--background",
        choices=["keep", "remove", "median", "subtractor"],
        default="keep",
        help="remove: cut the body out by its colours; median, subtractor: the camera is static, "
        "the body moves (default: keep)",
    )
    parser.add_argument(
        "--every", type=int, default=1, metavar="N", help="every n-th frame of a video"
    )
    parser.add_argument(
        "--focal", type=float, metavar="PX", help="focal length in pixels, where it is known"
    )


def _add_demo(verbs: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    summary = "open a page that shows the pose of a dropped image or clip"
    parser = verbs.add_parser(
        "demo",
        help=summary,
        description=f"{_sentence(summary)} Needs pip install 'skelift[demo]'.",
    )
    _add_model(parser)
    parser.add_argument("--host", default="127.0.0.1", help="(default: 127.0.0.1, loopback)")
    parser.add_argument("--port", type=int, default=7860, help="(default: 7860)")


def _add_view(verbs: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    summary = "look at predicted poses in time, with rerun"
    parser = verbs.add_parser(
        "view",
        help=summary,
        description=f"{_sentence(summary)} Needs pip install 'skelift[view]'.",
    )
    parser.add_argument(
        "file", type=Path, metavar="FILE", help="the .json or .npz that predict wrote"
    )
    parser.add_argument(
        "--save", type=Path, metavar="FILE.rrd", help="write a recording and open no window"
    )


def _add_model(parser: argparse.ArgumentParser) -> None:
    """Who answers: a model in this process, or an endpoint."""
    who = parser.add_mutually_exclusive_group()
    who.add_argument(
        "--model",
        type=Path,
        metavar="DIR",
        help="a trained model (default: the one of people that ships with skelift)",
    )
    who.add_argument(
        "--endpoint",
        metavar="URL",
        help="ask the server there instead, e.g. http://127.0.0.1:8080 of `skelift serve`",
    )


def _add_serving(verbs: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """The verbs around an endpoint; docs/serving.md has the whole of it."""
    package = verbs.add_parser("package", help="make an archive of a model for TorchServe")
    package.add_argument("model", type=Path, metavar="MODEL_DIR", help="a trained model")
    package.add_argument("--out", type=Path, required=True, metavar="FOLDER", help="gets NAME.mar")
    package.add_argument("--name", default="skelift", help="at the endpoint (default: skelift)")
    package.add_argument("--version", default="1.0", help="at the endpoint (default: 1.0)")
    package.add_argument("--runtime", choices=["onnx", "torch"], default="onnx")
    package.add_argument(
        "--scores", type=Path, metavar="FILE", help="metrics.json, for the model card"
    )

    serve = verbs.add_parser("serve", help="answer images over HTTP, with TorchServe")
    serve.add_argument(
        "model",
        nargs="?",
        type=Path,
        metavar="MODEL",
        help="a .mar or a model folder (default: the model of people that ships with skelift)",
    )
    serve.add_argument("--host", default="127.0.0.1", help="default: this machine only")
    serve.add_argument(
        "--tokens",
        action=argparse.BooleanOptionalAction,
        help="requests need a bearer token (to be said for any --host but loopback)",
    )
    serve.add_argument("--updates", action="store_true", help="allow `skelift rollout`")
    serve.add_argument(
        "--grace", type=float, default=0.0, metavar="S", help="seconds from not ready to the end"
    )
    serve.add_argument(
        "--sample",
        type=Path,
        metavar="IMAGE",
        help="once ready, ask for its pose and draw it beside the image, as NAME.pose.png",
    )
    rollout = verbs.add_parser("rollout", help="bring another version to a running server")
    rollout.add_argument("archive", type=Path, metavar="ARCHIVE", help="a .mar of another version")
    ready = verbs.add_parser("ready", help="is the server ready? exit code 0 or not")
    for parser in (serve, rollout, ready):
        parser.add_argument(
            "--port", type=int, default=8080, help="and the four after it (default: 8080)"
        )
        parser.add_argument(
            "--state", type=Path, metavar="DIR", help="the server's folder (default: by its port)"
        )


def _add_push(verbs: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    summary = "copy a data set or a model into a bucket"
    parser = verbs.add_parser(
        "push",
        help=summary,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        description=f"{_sentence(summary)}\n\n"
        "Others see the folder once all of it has arrived, never half of it. What was pushed\n"
        "there before is replaced. Interrupted and started again, it sends what is missing.\n"
        f"{S3_ENVIRONMENT}",
        epilog="example:\n  skelift push models/quickstart/model s3://lab/models/quickstart",
    )
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="the folder to copy")
    parser.add_argument("uri", metavar="s3://BUCKET/PREFIX", help="where it goes")
    parser.add_argument(
        "--check",
        action="store_true",
        help="read back what is there already, and send again what has changed",
    )


def _add_pull(verbs: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    summary = "fetch a data set or a model from a bucket"
    parser = verbs.add_parser(
        "pull",
        help=summary,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        description=f"{_sentence(summary)}\n\n"
        "FOLDER becomes what was pushed: checked file by file, replaced as a whole. Files that\n"
        "are there already are not fetched again; interrupted and started again, it goes on.\n"
        f"{S3_ENVIRONMENT}",
        epilog="example:\n  skelift pull s3://lab/models/quickstart models/quickstart/model",
    )
    parser.add_argument("uri", metavar="s3://BUCKET/PREFIX", help="where it was pushed to")
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="the folder to make")


def _add_submit(verbs: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    summary = "run the pipeline on Kubeflow Pipelines"
    parser = verbs.add_parser(
        "submit",
        help=summary,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        description=f"{_sentence(summary)}\n\n"
        "Compiles the pipeline, uploads it as a version, makes the experiment where it is not\n"
        "there, starts a run and prints its URL. A token is read from SKELIFT_KFP_TOKEN.",
        epilog="examples:\n"
        "  skelift submit --host http://localhost:8080 --wait\n"
        "  skelift submit --host https://kubeflow.example.org/pipeline --namespace team steps=5000",
    )
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
    parser.add_argument("--no-cache", action="store_true", help="run every task anew")
    parser.add_argument(
        "--wait", action="store_true", help="print states until the end; exit 1 if the run fails"
    )
    parser.add_argument(
        "--timeout", type=float, metavar="SECONDS", help="longest wait (default: no limit)"
    )


def _sentence(summary: str) -> str:
    return f"{summary[0].upper()}{summary[1:]}."
