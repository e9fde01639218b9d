"""The command line: help, exit codes, and the way from a verb to its stage."""

import subprocess
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from skelift.cli import STAGES, main
from skelift.config import compose
from skelift.errors import InputError, RunError

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


@pytest.mark.parametrize(
    "arguments", [["--help"], ["train", "--help"], ["predict", "--help"], ["demo", "--help"]]
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


def test_help_names_every_verb(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--help"])
    assert ended.value.code == 0
    printed = capsys.readouterr().out
    assert all(verb in printed for verb in (*STAGES, "predict", "demo", "view"))


def test_a_reader_that_has_read_enough_is_no_error() -> None:
    command = [sys.executable, "-m", "skelift", "train", "--cfg", "job"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.close()
    assert (process.stderr.read(), process.wait()) == ("", 0)


def test_unknown_verb_exits_2(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["fly"])
    assert ended.value.code == 2
    assert "synthesize" in capsys.readouterr().err


@pytest.mark.parametrize("verb", STAGES)
def test_verb_runs_its_stage_and_prints_the_path(
    verb: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    stage = stand_in(monkeypatch, verb, StageDouble())
    example = STAGES[verb].example.split()
    assert main([verb, *example]) == 0
    assert capsys.readouterr().out == "what/it/wrote\n"
    assert stage.calls == [compose(example)]


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
    stand_in(monkeypatch, "train", StageDouble(InputError("cat.png: truncated; copy it anew")))
    assert main(["train"]) == 2
    printed = capsys.readouterr()
    assert printed.err == "skelift train: error: cat.png: truncated; copy it anew\n"
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
    assert error.startswith("skelift train: error: train.steps=abc: must be a whole number")
    assert error.count("\n") == 1


def test_interrupt_exits_130(monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in(monkeypatch, "train", StageDouble(KeyboardInterrupt()))
    assert main(["train"]) == 130


def test_other_errors_keep_their_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in(monkeypatch, "train", StageDouble(ZeroDivisionError()))
    with pytest.raises(ZeroDivisionError):
        main(["train"])


def test_predict_passes_its_arguments(monkeypatch: pytest.MonkeyPatch) -> None:
    stage = stand_in(monkeypatch, "predict", StageDouble())
    assert main(["predict", "a.png", "b.png", "--out", "o.json"]) == 0
    options = ["--endpoint", "http://h", "--draw", "d", "--masks", "k", "--focal", "900"]
    options += ["--background", "median", "--every", "2"]
    assert main(["predict", "a.png", "--out", "o.json", *options]) == 0
    nothing = dict(
        model=None, endpoint=None, draw=None, masks=None, focal=None, background="keep", every=1
    )
    given = dict(draw=Path("d"), masks=Path("k"), focal=900.0, background="median", every=2)
    everything = dict(model=None, endpoint="http://h", **given)
    assert [vars(call) for call in stage.calls] == [
        dict(images=[Path("a.png"), Path("b.png")], out=Path("o.json"), **nothing),
        dict(images=[Path("a.png")], out=Path("o.json"), **everything),
    ]


def test_demo_listens_on_loopback_and_view_saves(monkeypatch: pytest.MonkeyPatch) -> None:
    demo = stand_in(monkeypatch, "demo", StageDouble())
    view = stand_in(monkeypatch, "view", StageDouble())
    assert main(["demo", "--model", "m"]) == 0
    assert main(["view", "p.json", "--save", "p.rrd"]) == 0
    (page,), (seen,) = demo.calls, view.calls
    assert vars(page) == dict(model=Path("m"), endpoint=None, host="127.0.0.1", port=7860)
    assert vars(seen) == dict(file=Path("p.json"), save=Path("p.rrd"))


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
