"""Images and unpaired poses -> a model."""

from kfp import dsl
from kfp.dsl import Artifact, Dataset, Input, Metrics, Model, Output

from components.common import step


@dsl.container_component
def train(
    config: Input[Artifact],
    data: Input[Dataset],
    flow: Input[Model],
    model: Output[Model],
    metrics: Output[Metrics],
    checkpoints: str = "",
) -> dsl.ContainerSpec:
    """Train the model, on the pod's GPU where it has one.

    Killed and tried again, it resumes from its last checkpoint; on a CPU it ends with the same
    weights bit by bit.

    Args:
        config: params.yaml, or the sweep's best.yaml.
        data: folder of the data set.
        flow: folder of the flow.
        model: folder of the model.
        metrics: the loss terms at the end.
        checkpoints: s3://... or a mounted folder that outlives the pod. Empty: a killed training
            starts over.
    """
    return step("train", "gpu")
