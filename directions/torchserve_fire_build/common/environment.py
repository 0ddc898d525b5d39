"""Whether what a TorchServe worker imports is installed and fits together."""

from __future__ import annotations

import importlib
import sys

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
    problem = find_problem()
    if problem is not None:
        from torchserve_fire.errors import FireError

        raise FireError(problem)


def find_problem() -> str | None:
    """Return what is missing or does not fit, None where nothing is.

    It imports nothing of this project, which needs some of these packages itself.
    """
    for module, package in PACKAGES.items():
        try:
            importlib.import_module(module)
        except Exception as error:  # torchvision raises RuntimeError beside a foreign torch.
            reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
            if package == "torchvision" and not isinstance(error, ModuleNotFoundError):
                return (
                    f"torch and torchvision do not fit together ({reason}): install both from the "
                    "same place, in one command, in a virtual environment of their own"
                )
            return f"{package} cannot be imported ({reason}): pip install {package}"
    return None


if __name__ == "__main__":
    sys.exit(find_problem())
