"""The command line: one verb per stage and per command.

Only what ``--help`` needs is imported here; stages are imported when they run.
"""

import argparse
import errno
import io
import os
import re
import sys
from collections.abc import Sequence
from difflib import get_close_matches
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple, NoReturn

from skelift import __version__, threads
from skelift.errors import InputError, RunError
from skelift.processes import Terminated, cleaning_up_on_sigterm

RUN_FAILED, BAD_INPUT, INTERRUPTED, TERMINATED = 1, 2, 130, 143
# Faults of the machine, whatever the input was.
MACHINE = {
    *(errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO),
    *(errno.EMFILE, errno.ENFILE, errno.ENOMEM),
}

GROUPS = {
    "make data": ["prepare", "validate"],
    "train and score": ["pretrain-flow", "sweep", "train", "evaluate", "report"],
    "use": ["predict", "demo", "view"],
    "serve": ["package", "serve", "rollout", "ready"],
    "cluster": ["submit", "push", "pull"],
}
VERBS = [verb for verbs in GROUPS.values() for verb in verbs]
RENAMED = {"synthesize": "prepare"}


PATH = (str, bytes, os.PathLike)
FAULTS = (InputError, RunError, OSError, UnicodeError)  # that end in one line, not a traceback


class Parser(argparse.ArgumentParser):
    """Says what is wrong in one line."""

    def error(self, message: str) -> NoReturn:
        """End with the exit code of bad input."""
        self.exit(BAD_INPUT, f"{self.prog}: error: {message}; see {self.prog} --help\n")

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Refuse the others here: a verb's parser would leave them to the one above, without it."""
        known, others = super().parse_known_args(args, namespace)
        if others:
            self.error(f"unrecognized arguments: {' '.join(others)}")
        return known, others


class Stage(NamedTuple):
    """A verb that takes a configuration: what it does, reads and writes."""

    summary: str
    reads: str
    writes: str
    example: str


STAGES = {
    "prepare": Stage(
        "Make a data set: rendered bodies, your own images and poses, or public data.",
        "the files that data.synth, data.folder, data.h36m, data.mpi_inf_3dhp, data.handdb or\n"
        "        data.mix names",
        "paths.data",
        "data=hands data.synth.train=500",
    ),
    "validate": Stage(
        "Check a data set and write a report with every rule; bad data ends with an error.",
        "paths.data",
        "paths.reports",
        "data=hands",
    ),
    "pretrain-flow": Stage(
        "Train the normalising flow on the unpaired 2D poses.",
        "paths.data",
        "paths.flow",
        "flow.steps=500",
    ),
    "sweep": Stage(
        "Search for better loss weights and learning rates; started again, it resumes.",
        "paths.data (clips held out of its training images judge), paths.flow, sweep.results",
        "paths.reports/sweep (best.yaml: skelift train --config best.yaml)",
        "sweep.trials=30",
    ),
    "train": Stage(
        "Train the pose model; started again, it resumes.",
        "paths.data, paths.flow, paths.checkpoints",
        "paths.model",
        "experiment=paper train.batch=32",
    ),
    "evaluate": Stage(
        "Score the model and its baselines against true 3D joints.",
        "paths.data, paths.flow, paths.model",
        "paths.reports (metrics.json, predictions.npz, baselines)",
        "evaluate.baselines=[mean_pose]",
    ),
    "report": Stage(
        "Draw the score table, curves and images into one HTML file.",
        "paths.data, paths.model, paths.reports",
        "paths.reports (report.html, *.png)",
        "experiment=quickstart",
    ),
}

OVERRIDES = """\
OVERRIDE is KEY=VALUE (train.steps=100), GROUP=CHOICE (data=hands, experiment=paper), a plain word
for data=WORD, or skeleton=FILE.yaml. With --config, overrides are KEY=VALUE."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run a verb. Exit codes: 0, 1 a run that failed, 2 bad input, 130 Ctrl-C, 143 SIGTERM."""
    argv = sys.argv[1:] if argv is None else argv
    if isinstance(sys.stdout, io.TextIOWrapper):  # names of files need not be text
        sys.stdout.reconfigure(errors="backslashreplace")
    if argv and argv[0] not in VERBS and not argv[0].startswith("-"):
        print(f"skelift: error: {_unknown(argv[0])}", file=sys.stderr)
        return BAD_INPUT
    arguments = _parser().parse_args(argv)
    try:
        with cleaning_up_on_sigterm():
            threads.settle(spin=arguments.verb in GROUPS["train and score"])
            _say(_stage(arguments) if arguments.verb in STAGES else _command(**vars(arguments)))
    except FAULTS as error:
        return refused(f"skelift {arguments.verb}", error)
    except Terminated:
        print(f"skelift {arguments.verb}: terminated", file=sys.stderr)
        return TERMINATED
    except KeyboardInterrupt:
        print(f"skelift {arguments.verb}: interrupted", file=sys.stderr)
        return INTERRUPTED
    return 0


def _unknown(verb: str) -> str:
    nearest = RENAMED.get(verb) or get_close_matches(verb, VERBS, n=1, cutoff=0)[0]
    return f"unknown verb {verb}; did you mean {nearest}? `skelift --help` lists all"


def refused(program: str, error: Exception) -> int:
    """Say on stderr, in one line, which of the ``FAULTS`` stopped a program; its exit code."""
    print(f"{program}: error: {_explain(error)}", file=sys.stderr)
    failed = isinstance(error, RunError) or getattr(error, "errno", None) in MACHINE
    return RUN_FAILED if failed else BAD_INPUT


def _explain(error: Exception) -> str:
    """What an error says; ``file: reason`` for one of the system."""
    if isinstance(error, InputError | RunError):
        return str(error)
    if isinstance(error, OSError) and error.strerror:
        names = [os.fsdecode(n) for n in (error.filename, error.filename2) if isinstance(n, PATH)]
        return ": ".join([*names[-1:], error.strerror])
    return " ".join(str(error).split()) or type(error).__name__


def _say(answer: str) -> None:
    """Print the answer; a reader that stops early (``| head``) is not an error."""
    try:
        print(answer, flush=True)
    except BrokenPipeError:
        # Python would try to write the rest of the buffer again at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _stage(arguments: argparse.Namespace) -> str:
    from skelift.config import compose, to_yaml

    config = compose(arguments.overrides, arguments.config)
    if arguments.cfg:
        return to_yaml(config).rstrip()
    from skelift.times import noted

    with noted(arguments.verb):
        from skelift.storage.stages import stored

        stage = import_module(f"skelift.stages.{arguments.verb.replace('-', '_')}")
        spec = STAGES[arguments.verb]
        with stored(config, _paths(spec.reads), _paths(spec.writes)):
            return str(stage.run(config))


def _paths(text: str) -> list[str]:
    """The folders, ``data`` for ``paths.data``, that a stage says it reads or writes."""
    return re.findall(r"\bpaths\.(\w+)", text)


def _command(verb: str, **options: Any) -> str:
    """Run a verb that takes options instead of a configuration."""
    return str(_module(verb).run(**options))


def _module(verb: str) -> ModuleType:
    """The module of a verb with options: a command, or the stage ``package``."""
    return import_module(f"skelift.{'stages' if verb == 'package' else 'commands'}.{verb}")


def _parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="skelift",
        usage="skelift [--version] VERB ...",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        description="3D pose from one image, learned from unlabelled images and unpaired 2D poses.",
        epilog=_listing(),
    )
    parser.add_argument("--version", action="version", version=f"skelift {__version__}")
    verbs = parser.add_subparsers(
        prog="skelift", dest="verb", metavar="VERB", required=True, help=argparse.SUPPRESS
    )
    for verb in VERBS:
        summary, description, examples = _texts(verb)
        added = verbs.add_parser(
            verb,
            formatter_class=argparse.RawDescriptionHelpFormatter,
            description=f"{summary}\n\n{description}",
            epilog=examples,
        )
        (_add_configuration if verb in STAGES else _module(verb).add_arguments)(added)
    return parser


def _listing() -> str:
    """The verbs in their groups, which argparse cannot print."""
    lines = []
    for group, verbs in GROUPS.items():
        lines += [f"{group}:", *(f"  {verb:<14} {_texts(verb)[0]}" for verb in verbs), ""]
    return "\n".join([*lines, "`skelift VERB --help` describes a verb."])


def _texts(verb: str) -> tuple[str, str, str]:
    """Summary, description and examples of a verb; a command's are its module's docstring."""
    if stage := STAGES.get(verb):
        calls = [stage.example, "--config params.yaml", f"--cfg job {stage.example}"]
        lines = "\n".join(f"  skelift {verb} {call}" for call in calls)
        description = f"reads:  {stage.reads}\nwrites: {stage.writes}"
        return stage.summary, description, f"{OVERRIDES}\n\nexamples:\n{lines}"
    summary, _, rest = str(_module(verb).__doc__).partition("\n")
    description, heading, examples = rest.partition("Examples:\n")
    return summary, description.strip(), heading.lower() + examples


def _add_configuration(parser: argparse.ArgumentParser) -> None:
    """Declare what every stage with a configuration takes."""
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
