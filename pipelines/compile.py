"""Compile the pipeline: ``python -m pipelines.compile`` writes pipelines/skelift.yaml.

``SKELIFT_IMAGES=registry.example/team/skelift`` names the images of one's own registry, and
``--out`` another file.
"""

import argparse
from itertools import dropwhile
from pathlib import Path

from kfp import compiler

from pipelines.skelift import skelift

COMPILED = Path(__file__).with_name("skelift.yaml")


def compile_pipeline(out: Path = COMPILED) -> Path:
    """Write the pipeline's specification."""
    compiler.Compiler().compile(skelift, str(out))
    # kfp's comment at the top repeats the inputs, with keys of defaults in an order that changes.
    lines = out.read_text().splitlines(keepends=True)
    out.write_text("".join(dropwhile(lambda line: line.startswith("#"), lines)))
    return out


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=COMPILED)
    print(compile_pipeline(parser.parse_args().out))
