"""Make an archive of a model for TorchServe.

The one stage that takes options, not a configuration: a model folder has its own configuration.
"""

from argparse import ArgumentParser
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from skelift.inference.runtimes import RuntimeName


def add_arguments(parser: ArgumentParser) -> None:
    """Declare the options that ``run`` takes."""
    parser.add_argument("model", type=Path, metavar="MODEL_DIR", help="a trained model")
    parser.add_argument("--out", type=Path, required=True, metavar="FOLDER", help="gets NAME.mar")
    parser.add_argument("--name", default="skelift", help="at the endpoint (default: skelift)")
    parser.add_argument("--version", default="1.0", help="at the endpoint (default: 1.0)")
    parser.add_argument("--runtime", choices=["onnx", "torch"], default="onnx")
    parser.add_argument(
        "--scores", type=Path, metavar="FILE", help="metrics.json, for the model card"
    )


def run(
    model: Path, out: Path, name: str, version: str, runtime: "RuntimeName", scores: Path | None
) -> Path:
    """Write the archive, see ``skelift.serving.archive.package``."""
    from skelift.files import check_file
    from skelift.serving.archive import package

    check_file(out / f"{name}.mar")
    return package(model, out, name=name, version=version, runtime=runtime, scores=scores)
