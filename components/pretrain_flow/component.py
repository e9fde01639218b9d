"""Unpaired 2D poses -> the normalising flow."""

from kfp import dsl
from kfp.dsl import Artifact, Dataset, Input, Metrics, Model, Output

from components.common import step


@dsl.container_component
def pretrain_flow(
    config: Input[Artifact],
    data: Input[Dataset],
    flow: Output[Model],
    metrics: Output[Metrics],
) -> dsl.ContainerSpec:
    """Fit the density of the unpaired 2D poses.

    Args:
        config: params.yaml.
        data: folder of the data set.
        flow: folder of the flow.
        metrics: negative log-likelihood on training and held-out clips.
    """
    return step("pretrain-flow")
