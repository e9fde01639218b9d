"""Compile the pipeline: ``python -m pipelines.compile`` writes pipelines/skelift.yaml.

``SKELIFT_IMAGES=registry.example/team/skelift`` names the images of one's own registry, and
``--out`` another file.
"""

import argparse
from pathlib import Path

from kfp import compiler

from pipelines.skelift import skelift

COMPILED = Path(__file__).with_name("skelift.yaml")


def compile_pipeline(out: Path = COMPILED) -> Path:
    """Write the pipeline's specification."""
    compiler.Compiler().compile(skelift, str(out))
    return out


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=COMPILED)
    print(compile_pipeline(parser.parse_args().out))
