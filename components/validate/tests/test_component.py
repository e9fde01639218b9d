import shutil
from pathlib import Path

import pytest
from kfp import dsl

from components.conftest import TinyRun
from components.testing import artifact, refusal, run_component
from components.validate.component import validate


@pytest.mark.slow
def test_good_data_pass_with_a_report(tiny_run: TinyRun, tmp_path: Path) -> None:
    outputs = run_component(validate, tmp_path, config=tiny_run.config, data=tiny_run.data)
    assert "All expectations hold" in Path(outputs["report"].path).read_text()
    assert outputs["metrics"].metadata["failed"] == 0
    assert outputs["metrics"].metadata["expectations"] > 10


def test_changed_data_end_the_pipeline_with_the_reason(tiny_run: TinyRun, tmp_path: Path) -> None:
    broken = tmp_path / "data"
    shutil.copytree(tiny_run.data.path, broken)
    file = next(broken.rglob("images-*.npy"))
    content = file.read_bytes()
    file.write_bytes(content[:-1] + bytes([content[-1] ^ 255]))
    data = artifact(dsl.Dataset, broken, "data")
    assert file.name in refusal(validate, tmp_path / "out", config=tiny_run.config, data=data)
