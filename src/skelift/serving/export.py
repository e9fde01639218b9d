"""The exported graph: crop, crop geometry and focal length -> skeleton image, 2D and 3D pose."""

import warnings
from pathlib import Path

import torch

from skelift.errors import InputError
from skelift.files import atomic_file
from skelift.models.io import load_model
from skelift.models.pipeline import INPUTS, OUTPUTS

OPSET = 18


def export_onnx(model: Path, graph: Path) -> Path:
    """Write the model folder's networks as one ONNX file, weights inside, any batch size.

    Raises:
        InputError: the folder is not a model, or ONNX is not installed.
    """
    try:
        import onnx  # noqa: F401
    except ImportError:
        raise InputError(
            "onnx is not installed; add it with `pip install 'skelift[onnx]'`"
        ) from None
    pipeline, card = load_model(model, torch.device("cpu"))
    size = card["size"]
    example = (
        torch.zeros(2, size, size, 3, dtype=torch.uint8),
        torch.tensor([[size / 2, size / 2, float(size)]] * 2),
        torch.full((2, 1), float(size)),
        torch.zeros(2),
    )
    with warnings.catch_warnings(), atomic_file(graph) as unfinished:
        # The TorchScript exporter: seconds of work where the newer one takes minutes.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            pipeline,
            example,
            str(unfinished),
            dynamo=False,
            opset_version=OPSET,
            input_names=list(INPUTS),
            output_names=list(OUTPUTS),
            dynamic_axes={name: {0: "batch"} for name in (*INPUTS, *OUTPUTS)},
        )
    return graph
