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
    """Train the model; killed and started again, it goes on from its last checkpoint.

    Args:
        config: params.yaml, or the sweep's best.yaml.
        data: folder of the data set.
        flow: folder of the flow.
        model: folder of the model.
        metrics: the loss terms at the end.
        checkpoints: s3://... or a mounted folder that outlives the pod. Empty: a killed training
            starts afresh.
    """
    return step("train", "gpu")
