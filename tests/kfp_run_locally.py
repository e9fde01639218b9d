"""Execute a compiled pipeline with kfp.local: ``python kfp_run_locally.py FOLDER``.

FOLDER holds ``pipeline.yaml`` and ``parameters.json``. Container components run in Docker; a
pipeline of Python components alone runs in subprocesses.
"""

import json
import os
import sys
from pathlib import Path

import yaml
from kfp import components, local

if __name__ == "__main__":
    folder = Path(sys.argv[1])
    os.environ["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    spec = yaml.safe_load((folder / "pipeline.yaml").read_text())
    executors = spec["deploymentSpec"]["executors"].values()
    is_python = all(
        "kfp.dsl.executor_main" in " ".join(e["container"].get("command", [])) for e in executors
    )
    runner = local.SubprocessRunner(use_venv=False) if is_python else local.DockerRunner()
    local.init(runner, pipeline_root=str(folder / "artifacts"))
    pipeline = components.load_component_from_file(str(folder / "pipeline.yaml"))
    pipeline(**json.loads((folder / "parameters.json").read_text()))
