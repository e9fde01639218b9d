"""Two models -> whether the new one is released."""

from kfp import dsl
from kfp.dsl import Artifact, Dataset, Input, Metrics, Model, Output

from components.common import step


@dsl.container_component
def gate(
    config: Input[Artifact],
    data: Input[Dataset],
    flow: Input[Model],
    scores: Input[Artifact],
    better: dsl.OutputPath(bool),  # type: ignore[valid-type]
    metrics: Output[Metrics],
    champion: str = "",
    threshold: float = 0.0,
) -> dsl.ContainerSpec:
    """Release a model that scores better than the champion, on the same images.

    P-MPJPE decides where true 3D joints are known, the label-free score elsewhere. Never cached:
    the champion changes.

    Args:
        config: params.yaml.
        data: folder of the data set.
        flow: folder of the flow.
        scores: metrics.json of the new model.
        better: whether it is released. Without a champion it is.
        metrics: both scores.
        champion: s3://... or a mounted folder where the last released model lies (``model/``).
        threshold: share of the champion's score by which the new one has to be lower.
    """
    return step("gate")
