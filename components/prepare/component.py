"""Rendered bodies, or images and poses -> a data set."""

from kfp import dsl
from kfp.dsl import Artifact, Dataset, Input, Output

from components.common import step


@dsl.container_component
def prepare(
    config: Input[Artifact],
    data: Output[Dataset],
    data_uri: str = "",
    data_version: str = "1",
) -> dsl.ContainerSpec:
    """Take, prepare or render the data set.

    Args:
        config: params.yaml.
        data: folder of the data set.
        data_uri: s3://... or a mounted folder: a finished data set (it has dataset.json), or what
            ``skelift prepare`` reads (data.folder.images and .poses are names inside it). Empty:
            render what the configuration says.
        data_version: change it when what lies at data_uri has changed, or cached results are taken.
    """
    return step("prepare")
