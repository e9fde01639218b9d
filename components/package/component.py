"""A model -> an archive for TorchServe."""

from kfp import dsl
from kfp.dsl import Artifact, Input, Model, Output

from components.common import step


@dsl.container_component
def package(
    model: Input[Model],
    scores: Input[Artifact],
    archive: Output[Model],
    champion: str = "",
) -> dsl.ContainerSpec:
    """Make the archive. Never cached: it changes the champion.

    Args:
        model: folder of the model.
        scores: metrics.json, for the model card.
        archive: folder with the .mar.
        champion: s3://... or a mounted folder: model and archive are copied there, and the next
            run is compared with them.
    """
    return step("package", "serve")
