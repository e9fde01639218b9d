"""What runs the forward pass: PyTorch, or ONNX Runtime on an exported graph."""

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol, get_args

import numpy as np
import torch
from numpy.typing import NDArray

from skelift.errors import InputError

if TYPE_CHECKING:
    from skelift.models.pipeline import PosePipeline

RuntimeName = Literal["torch", "onnx"]
NAMES: tuple[RuntimeName, ...] = get_args(RuntimeName)
Floats = NDArray[np.float32]


class Inputs(NamedTuple):
    """What is known of B crops, see ``PosePipeline``."""

    crop_rgb: NDArray[np.uint8]
    crop_box: Floats
    focal_px: Floats
    facing_prior: Floats


class Outputs(NamedTuple):
    """Poses of B crops, see ``PosePipeline``."""

    joints_3d_mm: Floats
    joints_2d_px: Floats
    spread_px: Floats
    front_log_odds: Floats


class Runtime(Protocol):
    """Runs ``PosePipeline``."""

    def __call__(self, inputs: Inputs) -> Outputs:
        """B crops -> their poses."""


class TorchRuntime:
    """The networks as they were trained."""

    def __init__(self, pipeline: "PosePipeline", device: torch.device) -> None:
        self._pipeline, self._device = pipeline, device

    @torch.inference_mode()
    def __call__(self, inputs: Inputs) -> Outputs:
        """See ``Runtime``."""
        poses = self._pipeline(*(torch.from_numpy(a).to(self._device) for a in inputs))
        return Outputs(*(getattr(poses, name).cpu().numpy() for name in Outputs._fields))


class OnnxRuntime:
    """An exported graph on the processor; InputError without it or ONNX Runtime."""

    def __init__(self, graph: Path, threads: int = 1) -> None:
        try:
            import onnxruntime
        except ImportError:
            raise InputError(
                "onnxruntime is not installed; add it with `pip install 'skelift[onnx]'`"
            ) from None
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        # Threads that wait leave their core to others.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        try:
            self._session: Any = onnxruntime.InferenceSession(
                str(graph), options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # its errors share no class of their own
            raise InputError(
                f"{graph}: not found or broken ({type(error).__name__}); recreate it with "
                "`skelift package`"
            ) from None
        self._inputs = {each.name for each in self._session.get_inputs()}
        if not set(Outputs._fields) <= {each.name for each in self._session.get_outputs()}:
            raise InputError(
                f"{graph}: an older version made it; recreate it with `skelift package`"
            )

    def __call__(self, inputs: Inputs) -> Outputs:
        """See ``Runtime``."""
        # The graph of a model without facing heads does not ask what is known of it.
        used = {name: a for name, a in inputs._asdict().items() if name in self._inputs}
        return Outputs(*self._session.run(Outputs._fields, used))
