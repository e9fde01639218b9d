"""A model -> scores and the report."""

from kfp import dsl
from kfp.dsl import HTML, Artifact, Dataset, Input, Metrics, Model, Output

from components.common import step


@dsl.container_component
def evaluate(
    config: Input[Artifact],
    data: Input[Dataset],
    flow: Input[Model],
    model: Input[Model],
    metrics: Output[Metrics],
    scores: Output[Artifact],
    report: Output[HTML],
) -> dsl.ContainerSpec:
    """Score the model beside its baselines.

    Args:
        config: params.yaml.
        data: folder of the data set.
        flow: folder of the flow.
        model: folder of the model.
        metrics: the model's scores over all test images.
        scores: metrics.json, with the baselines and every group of images.
        report: one page: table, curves, images, worst cases.
    """
    return step("evaluate")
