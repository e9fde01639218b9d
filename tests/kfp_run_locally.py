"""Execute a compiled pipeline with kfp.local: ``python kfp_run_locally.py FOLDER``.

FOLDER holds ``pipeline.yaml`` and ``parameters.json``. No container is made: commands of container
components run as processes of this machine, with this Python in place of the image's.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import yaml
from kfp import components, local
from kfp.local import docker_task_handler
from kfp.local.status import Status


def run_as_process(handler: docker_task_handler.DockerTaskHandler) -> Status:
    """``DockerTaskHandler.run`` without Docker."""
    program, *arguments = handler.full_command
    assert program == "python"
    environment = {**os.environ, **handler.env_vars}
    done = subprocess.run([sys.executable, *arguments], env=environment)
    return Status.FAILURE if done.returncode else Status.SUCCESS


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[1]))
    from pipelines.local import fix_kfp_local

    folder = Path(sys.argv[1])
    os.environ["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    spec = yaml.safe_load((folder / "pipeline.yaml").read_text())
    executors = spec["deploymentSpec"]["executors"].values()
    is_python = all(
        "kfp.dsl.executor_main" in " ".join(e["container"].get("command", [])) for e in executors
    )
    runner = local.SubprocessRunner(use_venv=False) if is_python else local.DockerRunner()
    local.init(runner, pipeline_root=str(folder / "artifacts"))
    docker_task_handler.DockerTaskHandler.run = run_as_process
    fix_kfp_local()
    pipeline = components.load_component_from_file(str(folder / "pipeline.yaml"))
    pipeline(**json.loads((folder / "parameters.json").read_text()))
