"""The exported graph: crop, crop geometry and focal length -> skeleton image, 2D and 3D pose."""

import logging
import warnings
from pathlib import Path

import torch

from skelift.errors import InputError
from skelift.files import atomic_file
from skelift.models.pipeline import INPUTS, OUTPUTS, CropToPose
from skelift.training.model_files import load_model

OPSET = 18


def export_onnx(model: Path, graph: Path) -> Path:
    """Write the model folder's networks as one ONNX file, weights inside, any batch size.

    Raises:
        InputError: the folder is no model, or ONNX is not installed.
    """
    try:
        import onnx
        import onnxscript  # noqa: F401
    except ImportError:
        raise InputError(
            "onnx is not installed; add it with `pip install 'skelift[onnx]'`"
        ) from None
    pose, card = load_model(model, torch.device("cpu"))
    size = card["size"]
    example = (
        torch.zeros(2, size, size, 3, dtype=torch.uint8),
        torch.tensor([[size / 2, size / 2, float(size)]] * 2),
        torch.full((2, 1), float(size)),
    )
    batch = torch.export.Dim("batch", min=1, max=1024)
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            CropToPose(pose).eval(),
            example,
            dynamo=True,
            opset_version=OPSET,
            input_names=INPUTS,
            output_names=OUTPUTS,
            dynamic_shapes=tuple({0: batch} for _ in example),
            verbose=False,
        )
    assert program is not None
    with atomic_file(graph) as unfinished:
        onnx.save_model(program.model_proto, unfinished, save_as_external_data=False)
    return graph
