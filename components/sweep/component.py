"""The search space -> trials -> the configuration of the final training."""

from kfp import dsl
from kfp.dsl import Artifact, Dataset, Input, Metrics, Model, Output

from components.common import step


@dsl.container_component
def trial(
    config: Input[Artifact],
    data: Input[Dataset],
    flow: Input[Model],
    result: dsl.OutputPath(str),  # type: ignore[valid-type]
    metrics: Output[Metrics],
    number: int,
    checkpoints: str = "",
) -> dsl.ContainerSpec:
    """Train and score one trial; killed and tried again, it resumes from its checkpoint.

    Args:
        config: params.yaml.
        data: folder of the data set; trials are scored on clips held out of its training images.
        flow: folder of the flow.
        result: values and score of the trial, as JSON.
        metrics: the score.
        number: trial 0 is the configuration as it stands.
        checkpoints: s3://... or a mounted folder that outlives the pod.
    """
    return step("trial", "gpu")


@dsl.container_component
def choose(
    config: Input[Artifact],
    best: Output[Artifact],
    metrics: Output[Metrics],
    results: list,  # type: ignore[type-arg]
) -> dsl.ContainerSpec:
    """Take the trial with the lowest score.

    Args:
        config: params.yaml.
        best: the configuration with the winner's values.
        metrics: number and score of the winner.
        results: of all trials.
    """
    return step("choose")
