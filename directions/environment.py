"""Whether what a TorchServe worker imports is installed and fits together."""

from __future__ import annotations

import importlib
import sys

from handler.errors import FireError

PACKAGES = {
    "ts": "torchserve",
    "yaml": "PyYAML",
    "PIL": "Pillow",
    "numpy": "numpy",
    "torch": "torch",
    "torchvision": "torchvision",
}


def check_environment() -> None:
    """Import what a worker imports: builds that do not fit each other fail only then.

    Raises:
        FireError: a package is missing, or torch and torchvision do not fit together.
    """
    for module, package in PACKAGES.items():
        try:
            importlib.import_module(module)
        except Exception as error:  # torchvision raises RuntimeError beside a foreign torch.
            reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
            if package == "torchvision" and not isinstance(error, ModuleNotFoundError):
                raise FireError(
                    f"torch and torchvision do not fit together ({reason}): install both from the "
                    "same place, in one command, in a virtual environment of their own"
                ) from None
            raise FireError(
                f"{package} cannot be imported ({reason}): pip install {package}"
            ) from None


if __name__ == "__main__":
    try:
        check_environment()
    except FireError as error:
        sys.exit(str(error))
