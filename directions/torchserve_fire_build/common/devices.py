"""The device that a model runs on, by the name that a user gives it."""

from __future__ import annotations

import re

import torch

from .errors import OptionError

NAME = re.compile(r"auto|cpu|mps|cuda(:\d+)?")
"""What a device may be called."""

Device = str | torch.device
"""A name as `find_device` takes it, or a device of torch."""


def find_device(device: Device) -> torch.device:
    """Return a device of this machine.

    Args:
        device: `auto`, which is a CUDA GPU where there is one, else the CPU; `cpu`, `cuda`,
            `cuda:N` or `mps`; or a device of torch. `cuda` is torch's current GPU.

    Raises:
        OptionError: there is none of that name here; the message says which there are.
    """
    name = str(device)
    if NAME.fullmatch(name) is None:
        raise OptionError(f"device {name}: expected auto, cpu, cuda, cuda:N or mps")
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    found = torch.device(name)
    if found.type == "cpu" or (found.type == "mps" and torch.backends.mps.is_available()):
        return found
    if found.type == "cuda" and torch.cuda.is_available():
        index = torch.cuda.current_device() if found.index is None else found.index
        if index < torch.cuda.device_count():
            return torch.device("cuda", index)
    raise OptionError(
        f"device {name}: not here, where torch {torch.__version__} finds {', '.join(_present())}: "
        "name one of these, or auto; a GPU needs its driver, and a torch that was built for it"
    )


def _present() -> list[str]:
    gpus = range(torch.cuda.device_count() if torch.cuda.is_available() else 0)
    mps = ["mps"] * torch.backends.mps.is_available()
    return ["cpu", *(f"cuda:{i}" for i in gpus), *mps]
