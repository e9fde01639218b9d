"""Where PyTorch runs."""

import torch

from skelift.errors import InputError

TYPES = ("cpu", "cuda", "mps", "xpu")


def usable_device(name: str, key: str = "device") -> torch.device:
    """A device by PyTorch's name for it; InputError where this machine has none such."""
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, TypeError) as error:
        said = str(error).splitlines()[0]
        raise InputError(f"{key}={name}: {said}; take cpu, or cuda on a GPU") from None
    if device.type not in TYPES:
        raise InputError(f"{key}={name}: must be one of {', '.join(TYPES)}")
    return device
