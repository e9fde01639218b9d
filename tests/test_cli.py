"""The command line: help, exit codes, and the way from a verb to its stage."""

import ctypes
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import yaml

from skelift.cli import STAGES, VERBS, _parser, main
from skelift.config import compose
from skelift.errors import InputError, RunError
from skelift.times import read_costs

ROOT = Path(__file__).parents[1]
HEAVY = ("torch", "numpy", "hydra", "omegaconf", "cv2", "numba", "scipy", "matplotlib", "pandas")


class StageDouble(ModuleType):
    """Test double of a stage module: records what ``run`` was given."""

    def __init__(self, error: BaseException | None = None) -> None:
        super().__init__("stage_double")
        self.error = error
        self.calls: list[Any] = []

    def run(self, *args: Any, **kwargs: Any) -> Path:
        self.calls.append(args[0] if args else SimpleNamespace(**kwargs))
        if self.error:
            raise self.error
        return Path("what/it/wrote")


def stand_in(monkeypatch: pytest.MonkeyPatch, verb: str, stage: StageDouble) -> StageDouble:
    monkeypatch.setitem(sys.modules, f"skelift.stages.{verb.replace('-', '_')}", stage)
    return stage


def options_of(monkeypatch: pytest.MonkeyPatch, *command: str) -> dict[str, Any]:
    """What a command with options is run with."""
    double = StageDouble()
    monkeypatch.setattr(f"skelift.commands.{command[0]}.run", double.run)
    assert main(command) == 0
    return vars(double.calls[0])


@pytest.mark.parametrize(
    "arguments", [["--help"], ["train", "--help"], ["predict", "--help"], ["serve", "--help"]]
)
def test_help_imports_nothing_heavy(arguments: list[str]) -> None:
    program = (
        "import sys\nfrom skelift.cli import main\n"
        f"try: main({arguments})\nexcept SystemExit: pass\n"
        f"print([name for name in {HEAVY} if name in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert "usage: skelift" in done.stdout
    assert done.stderr.strip() == "[]"


def modules(folder: str) -> set[str]:
    return {file.stem for file in (ROOT / "src/skelift" / folder).glob("[!_]*.py")}


def test_help_lists_every_verb_once_in_a_group(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--help"])
    assert ended.value.code == 0
    printed = re.findall(r"^  ([a-z-]+) {2,}\w", capsys.readouterr().out, re.MULTILINE)
    verbs = modules("stages") | modules("commands") - {"options"}
    assert sorted(v.replace("-", "_") for v in printed if v[0] != "-") == sorted(verbs)


@pytest.mark.parametrize("verb", VERBS)
def test_examples_in_the_help_parse(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main([verb, "--help"])
    for example in re.findall(rf"^  skelift ({verb} .*)", capsys.readouterr().out, re.MULTILINE):
        assert _parser().parse_args(example.split()).verb == verb


def test_stages_are_those_of_dvc_and_the_pipeline() -> None:
    steps = {file.parent.name for file in (ROOT / "components").glob("*/component.py")}
    # Steps of the pipeline alone: one writes its configuration, the other decides on a release.
    steps -= {"configure", "gate"}
    dvc = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
    assert modules("stages") == steps | {name.replace("-", "_") for name in dvc}


def test_a_reader_that_stops_early_is_not_an_error() -> None:
    command = [sys.executable, "-m", "skelift", "train", "--cfg", "job"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.close()
    assert (process.stderr.read(), process.wait()) == ("", 0)


@pytest.mark.parametrize(
    ("verb", "meant"),
    [("synthesize", "prepare"), ("evalute", "evaluate"), ("preprocess", "prepare")],
)
def test_unknown_verb_is_one_line_and_exit_2(
    verb: str, meant: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([verb, "data=hands"]) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"skelift: error: unknown verb {verb}; did you mean {meant}?")
    assert error.count("\n") == 1


@pytest.mark.parametrize("verb", STAGES)
def test_verb_runs_its_stage_and_prints_the_path(
    verb: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    stage = stand_in(monkeypatch, verb, StageDouble())
    example = STAGES[verb].example.split()
    assert main([verb, *example]) == 0
    assert capsys.readouterr().out == "what/it/wrote\n"
    assert stage.calls == [compose(example)]


def test_a_stage_notes_its_time_and_a_printed_configuration_does_not(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    stand_in(monkeypatch, "report", StageDouble())
    file = tmp_path / "times.json"
    monkeypatch.setenv("SKELIFT_TIMES", str(file))
    assert main(["train", "--cfg", "job"]) == 0
    assert not file.exists()
    assert main(["report"]) == 0
    assert list(read_costs(file)) == ["report"]


def test_cfg_job_prints_a_configuration_that_composes_again(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    stage = stand_in(monkeypatch, "train", StageDouble())
    assert main(["train", "--cfg", "job", "experiment=paper"]) == 0
    assert not stage.calls
    file = tmp_path / "params.yaml"
    file.write_text(capsys.readouterr().out)
    assert main(["train", "--config", str(file), "train.steps=7"]) == 0
    assert stage.calls == [compose(["experiment=paper", "train.steps=7"])]


def test_bad_input_is_one_line_and_exit_2(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    stand_in(monkeypatch, "train", StageDouble(InputError("cat.png: truncated; copy it again")))
    assert main(["train"]) == 2
    printed = capsys.readouterr()
    assert printed.err == "skelift train: error: cat.png: truncated; copy it again\n"
    assert printed.out == ""


def test_failed_run_is_one_line_and_exit_1(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    stand_in(monkeypatch, "train", StageDouble(RunError("'flow' is nan at step 8")))
    assert main(["train"]) == 1
    assert capsys.readouterr().err == "skelift train: error: 'flow' is nan at step 8\n"


def test_bad_configuration_is_one_line_and_exit_2(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "train.steps=abc"]) == 2
    error = capsys.readouterr().err
    assert error.startswith("skelift train: error: train.steps=abc: must be a valid integer")
    assert error.count("\n") == 1


def test_interrupt_exits_130(monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in(monkeypatch, "train", StageDouble(KeyboardInterrupt()))
    assert main(["train"]) == 130


def test_sigterm_is_left_to_who_handles_it(monkeypatch: pytest.MonkeyPatch) -> None:
    handlers = []

    def run(config: Any) -> None:
        handlers.append(signal.getsignal(signal.SIGTERM))

    stand_in(monkeypatch, "train", SimpleNamespace(run=run))  # type: ignore[arg-type]
    before = signal.getsignal(signal.SIGTERM)
    try:
        for handler, processes in ((signal.SIG_IGN, "1"), (signal.SIG_DFL, "2")):
            signal.signal(signal.SIGTERM, handler)
            monkeypatch.setenv("WORLD_SIZE", processes)
            main(["train"])
            assert handlers.pop() == handler == signal.getsignal(signal.SIGTERM)
        monkeypatch.setenv("WORLD_SIZE", "1")
        main(["train"])
        assert handlers.pop() != signal.SIG_DFL
        assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
    finally:
        signal.signal(signal.SIGTERM, before)


# What Python does not hand on: raised in a library's callback, where an object ends, or caught.
def in_callback() -> None:
    ctypes.CFUNCTYPE(None)(lambda: signal.raise_signal(signal.SIGTERM))()


def in_del() -> None:
    type("Ends", (), {"__del__": lambda self: signal.raise_signal(signal.SIGTERM)})()


def in_suppress() -> None:
    with suppress(BaseException):
        signal.raise_signal(signal.SIGTERM)


@pytest.fixture
def sigterm_as_at_start() -> Iterator[None]:
    before = signal.signal(signal.SIGTERM, signal.SIG_DFL)
    try:
        yield
        assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
        assert signal.getsignal(signal.SIGALRM) == signal.SIG_DFL
        assert signal.getitimer(signal.ITIMER_REAL) == (0, 0)
    finally:
        signal.signal(signal.SIGTERM, before)


@pytest.mark.usefixtures("sigterm_as_at_start")
@pytest.mark.parametrize("lose", [in_callback, in_del, in_suppress])
@pytest.mark.parametrize("times", [1, 2])
def test_a_sigterm_that_is_lost_comes_again(
    lose: Callable[[], None],
    times: int,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def run(config: Any) -> None:
        for _ in range(times):
            lose()
        time.sleep(20)  # the run goes on

    stand_in(monkeypatch, "train", SimpleNamespace(run=run))  # type: ignore[arg-type]
    assert main(["train"]) == 143
    assert capsys.readouterr().err == "skelift train: terminated\n"


@pytest.mark.usefixtures("sigterm_as_at_start")
def test_more_sigterms_do_not_disturb_cleaning_up(monkeypatch: pytest.MonkeyPatch) -> None:
    cleaned = []

    def run(config: Any) -> None:
        try:
            signal.raise_signal(signal.SIGTERM)
        finally:
            for number in (signal.SIGTERM, signal.SIGALRM):  # the latter by the process itself
                signal.raise_signal(number)
                cleaned.append(number)

    stand_in(monkeypatch, "train", SimpleNamespace(run=run))  # type: ignore[arg-type]
    assert main(["train"]) == 143
    assert cleaned == [signal.SIGTERM, signal.SIGALRM]


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (PermissionError(13, "Permission denied", "/a/b"), 2, "/a/b: Permission denied"),
        (OSError(28, "No space left on device", "/a/b"), 1, "/a/b: No space left on device"),
        (OSError(18, "Invalid link", "/a/.b.tmp", None, "/a/b"), 2, "/a/b: Invalid link"),
        (OSError(40, "Too many links", b"/a/b"), 2, "/a/b: Too many links"),
        (ConnectionError("the other\nside"), 2, "the other side"),
        (OSError(), 2, "OSError"),
        (UnicodeDecodeError("utf-8", b"\xfc", 0, 1, "bad"), 2, "'utf-8' codec can't decode byte"),
    ],
)
def test_errors_of_files_are_one_line(
    error: Exception,
    code: int,
    said: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    stand_in(monkeypatch, "train", StageDouble(error))
    assert main(["train"]) == code
    printed = capsys.readouterr().err
    assert printed.startswith(f"skelift train: error: {said}")
    assert printed.count("\n") == 1


def test_a_path_that_is_no_text_is_printed() -> None:
    program = (
        "from skelift import cli\ncli._command = lambda **_: 'a/\\udcfc.json'\n"
        "raise SystemExit(cli.main(['view', 'x.json']))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "a/\\udcfc.json\n", "")


@pytest.mark.parametrize(
    "option",
    [
        *(f"predict a.png --out x.json --focal={n}" for n in ("-1", "0", "nan", "inf", "1e999")),
        *(f"predict a.png --out x.json --every={n}" for n in ("0", "-1", "1.5", "two")),
        *(f"serve --port={n}" for n in ("0", "-1", "65536", "http")),
        "demo --port=0",
        "serve --grace=-1",
        "serve --grace=nan",
        "submit --host h --timeout=0",
        "submit --host h --timeout=nan",
    ],
)
def test_numbers_of_options_are_one_line(option: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(option.split())
    assert ended.value.code == 2
    error = capsys.readouterr().err
    verb, given, value = option.split()[0], *option.split()[-1].split("=")
    assert error.startswith(f"skelift {verb}: error: argument {given}: {value!r}: must be ")
    assert error.count("\n") == 1


def test_one_number_too_many_is_told_of_its_verb(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["predict", "a.png", "--out", "x.json", "--box", "1", "2", "3", "4", "5", "--odd"])
    assert ended.value.code == 2
    said = "skelift predict: error: unrecognized arguments: 5 --odd; see skelift predict --help\n"
    assert capsys.readouterr().err == said


def test_serve_refuses_what_is_no_model_before_all_else(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("signal.signal", lambda *_: None)  # test double: the test's stay
    assert main(["serve", str(tmp_path / "nothere")]) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"skelift serve: error: {tmp_path}/nothere/model.json: not found")
    assert error.count("\n") == 1


def test_other_errors_keep_their_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in(monkeypatch, "train", StageDouble(ZeroDivisionError()))
    with pytest.raises(ZeroDivisionError):
        main(["train"])


def test_predict_passes_its_arguments(monkeypatch: pytest.MonkeyPatch) -> None:
    options = ["--endpoint", "http://h", "--draw", "d", "--masks", "k", "--focal", "900"]
    options += ["--background", "median", "--every", "2", "--camera", "c.json:left", "--turn"]
    options += ["--contrast", "darker", "--facing", "back", "--fps", "30"]
    nothing = dict(
        model=None, endpoint=None, draw=None, masks=None, focal=None, background="keep", every=1
    ) | {"camera": None, "box": None, "turn": False, "contrast": "any"}
    nothing |= {"facing": None, "fps": None, "each_frame": False}
    given = dict(draw=Path("d"), masks=Path("k"), focal=900.0, background="median", every=2)
    everything = dict(model=None, endpoint="http://h", camera="c.json:left", box=None, **given)
    everything |= {"turn": True, "contrast": "darker", "each_frame": False}
    everything |= {"facing": "back", "fps": 30.0}
    assert options_of(monkeypatch, "predict", "a.png", "b.png", "--out", "o.json") == dict(
        images=[Path("a.png"), Path("b.png")], out=Path("o.json"), **nothing
    )
    assert options_of(monkeypatch, "predict", "a.png", "--out", "o.json", *options) == dict(
        images=[Path("a.png")], out=Path("o.json"), **everything
    )


def test_demo_listens_on_loopback_and_view_saves(monkeypatch: pytest.MonkeyPatch) -> None:
    page = options_of(monkeypatch, "demo", "--model", "m")
    assert page == dict(model=Path("m"), endpoint=None, host="127.0.0.1", port=7860)
    seen = options_of(monkeypatch, "view", "p.json", "--save", "p.rrd")
    assert seen == dict(file=Path("p.json"), save=Path("p.rrd"))


def test_model_and_endpoint_exclude_each_other(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["predict", "a.png", "--out", "o.json", "--model", "m", "--endpoint", "http://h"])
    assert ended.value.code == 2
    assert "not allowed with" in capsys.readouterr().err


def test_python_dash_m_and_exit_code() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "skelift", "train", "bogus=1"], capture_output=True, text=True
    )
    assert done.returncode == 2
    assert done.stderr.startswith("skelift train: error: no key bogus")
