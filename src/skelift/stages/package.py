"""Stage: trained model -> archive for TorchServe."""

from pathlib import Path

from skelift.inference.runtimes import RuntimeName


def run(
    model: Path, out: Path, name: str, version: str, runtime: RuntimeName, scores: Path | None
) -> Path:
    """Write the archive, see ``skelift.serving.archive.package``."""
    from skelift.serving.archive import package

    return package(model, out, name=name, version=version, runtime=runtime, scores=scores)
