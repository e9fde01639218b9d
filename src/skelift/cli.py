"""The command line: one verb a stage, and ``predict``.

Only what ``--help`` needs is imported here; a verb imports its stage when it runs.
"""

import argparse
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
        "render pictures of posed bodies with true 2D and 3D joints",
        "bodies and motion (data.synth.bodies, data.synth.motion)",
        "paths.data",
        "data=hands data.synth.train=500",
    ),
    "prepare": Stage(
        "make a data set from your own pictures or video, and unpaired 2D poses",
        "data.folder.images, data.folder.masks, data.folder.poses",
        "paths.data",
        "data=folder data.folder.images=pictures/ data.folder.poses=poses.npz",
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
        "paths.data (clips held out of its training pictures judge), paths.flow, sweep.results",
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
        "draw the score table, curves and pictures into one HTML file",
        "paths.data, paths.model, paths.reports",
        "paths.reports (report.html, *.png)",
        "experiment=quickstart",
    ),
}

OVERRIDES = """\
OVERRIDE is KEY=VALUE (train.steps=100), GROUP=CHOICE (data=hands, experiment=paper) or
skeleton=FILE.yaml. With --config, overrides are KEY=VALUE."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run a verb. Exit codes: 0, 1 a run that failed, 2 bad input, 130 interrupted."""
    arguments = _parser().parse_args(argv)
    try:
        own = {"predict": _predict, "submit": _submit}
        print(own.get(arguments.verb, _stage)(arguments))
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


def _stage(arguments: argparse.Namespace) -> str:
    from skelift.config import compose, to_yaml

    config = compose(arguments.overrides, arguments.config)
    if arguments.cfg:
        return to_yaml(config).rstrip()
    stage = import_module(f"skelift.stages.{arguments.verb.replace('-', '_')}")
    return str(stage.run(config))


def _predict(arguments: argparse.Namespace) -> str:
    stage = import_module("skelift.stages.predict")
    return str(
        stage.run(
            images=arguments.images,
            model=arguments.model,
            out=arguments.out,
            draw=arguments.draw,
            masks=arguments.masks,
            focal=arguments.focal,
        )
    )


def _submit(arguments: argparse.Namespace) -> str:
    submit = import_module("skelift.kubeflow.submit")
    target = submit.Target(
        host=arguments.host,
        namespace=arguments.namespace,
        experiment=arguments.experiment,
        run=arguments.run,
        service_account=arguments.service_account,
        cache=not arguments.no_cache,
    )
    return str(
        submit.submit(
            arguments.pipeline,
            arguments.parameters,
            target,
            wait=arguments.wait,
            timeout=arguments.timeout,
        )
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="skelift",
        description="3D pose from one picture, learned from unlabelled pictures and unpaired 2D "
        "poses.",
        epilog="`skelift VERB --help` says what a verb reads and writes.",
    )
    parser.add_argument("--version", action="version", version=f"skelift {__version__}")
    verbs = parser.add_subparsers(dest="verb", metavar="VERB", required=True)
    for verb, stage in STAGES.items():
        _add_stage(verbs, verb, stage)
    _add_predict(verbs)
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
    summary = "find the 3D pose in pictures"
    parser = verbs.add_parser(
        "predict",
        help=summary,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        description=f"{_sentence(summary)}\n\n"
        "Each picture shows one body on black, or has a mask: beside it (NAME.mask.png) or in\n"
        "--masks. The answer has 3D joints in mm (root-relative, camera frame) and 2D joints in\n"
        "pixels of the picture. One picture gives no scale: mm come from the typical body size\n"
        "stored with the model.",
        epilog="examples:\n"
        "  skelift predict person.png --model models/quickstart/model --out pose.json\n"
        "  skelift predict frames/*.jpg --masks masks/ --out poses.json --draw drawn/",
    )
    parser.add_argument("images", nargs="+", type=Path, metavar="IMAGE", help="a picture")
    parser.add_argument(
        "--model",
        type=Path,
        metavar="DIR",
        help="a trained model (default: models/quickstart/model)",
    )
    parser.add_argument("--out", type=Path, required=True, metavar="FILE", help="JSON to write")
    parser.add_argument("--draw", type=Path, metavar="DIR", help="also draw every pose there")
    parser.add_argument("--masks", type=Path, metavar="DIR", help="masks with the pictures' stems")
    parser.add_argument(
        "--focal", type=float, metavar="PX", help="focal length in pixels, where it is known"
    )


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
