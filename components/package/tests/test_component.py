from pathlib import Path

from components.conftest import TinyRun
from components.package.component import package
from components.testing import run_component


def test_archive_comes_out_and_the_model_becomes_champion(
    tiny_run: TinyRun, tmp_path: Path
) -> None:
    model, champion = tiny_run.trained["model"], tmp_path / "champion"
    outputs = run_component(package, tmp_path / "out", model=model, champion=str(champion))
    (archive,) = Path(outputs["archive"].path).glob("*.mar")
    assert outputs["archive"].metadata["files"] == archive.name
    assert (champion / "archive" / archive.name).read_bytes() == archive.read_bytes()
    assert (champion / "model" / "model.safetensors").exists()
