"""A data set -> Data Docs, or the end of the pipeline."""

from kfp import dsl
from kfp.dsl import HTML, Artifact, Dataset, Input, Metrics, Output

from components.common import step


@dsl.container_component
def validate(
    config: Input[Artifact],
    data: Input[Dataset],
    report: Output[HTML],
    metrics: Output[Metrics],
) -> dsl.ContainerSpec:
    """Check the data set. Bad data end the pipeline; the last line of the log has the reason.

    Args:
        config: params.yaml.
        data: folder of the data set.
        report: every expectation and its result.
        metrics: how many expectations there are, and how many hold.
    """
    return step("validate")
