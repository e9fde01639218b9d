"""What all components share: the images, and the command of a step."""

import os

from kfp import dsl

from skelift import __version__

IMAGES = os.environ.get("SKELIFT_IMAGES", "skelift")
"""Images are ``IMAGES:VERSION-cpu``, ``-gpu``, ``-serve``; e.g. registry.example/team/skelift."""


def image(target: str) -> str:
    """Name of the image of a target of the Dockerfile."""
    return f"{IMAGES}:{__version__}-{target}"


def step(name: str, target: str = "cpu") -> dsl.ContainerSpec:
    """A step of ``skelift.kubeflow.step``, in the image of a target.

    The whole ExecutorInput goes in, and the step writes the ExecutorOutput: metadata of artifacts
    and metrics reach the UI only that way.
    """
    return dsl.ContainerSpec(
        image=image(target),
        command=["python", "-m", "skelift.kubeflow.step", name],
        args=["--executor-input", dsl.PIPELINE_TASK_EXECUTOR_INPUT_PLACEHOLDER],
    )
