"""A model -> an archive for TorchServe."""

from kfp import dsl
from kfp.dsl import Input, Model, Output

from components.common import step


@dsl.container_component
def package(
    model: Input[Model],
    archive: Output[Model],
    champion: str = "",
) -> dsl.ContainerSpec:
    """Make the archive.

    Args:
        model: folder of the model.
        archive: folder with the .mar.
        champion: s3://... or a mounted folder: model and archive are put there, too, and the next
            run is compared with them.
    """
    return step("package", "serve")
