"""Whether the packages that a command needs are installed, and fit together."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Iterable, Mapping

BASE: Mapping[str, str] = {
    "yaml": "PyYAML",
    "PIL": "Pillow",
    "numpy": "numpy",
    "torch": "torch",
    "torchvision": "torchvision",
}
"""What every model needs: import names, and the names under which pip installs them."""

EXTRAS: Mapping[str, Mapping[str, str]] = {
    "torchserve": {
        "ts": "torchserve",
        "model_archiver": "torch-model-archiver",
        "requests": "requests",
        "psutil": "psutil",
    },
    "ray": {"ray": "ray"},
    "onnx": {"onnx": "onnx", "onnxscript": "onnxscript", "onnxruntime": "onnxruntime"},
    "kserve": {"kserve": "kserve", "prometheus_client": "prometheus-client"},
    "report": {"matplotlib": "matplotlib", "jinja2": "Jinja2"},
    "review": {"starlette": "starlette", "uvicorn": "uvicorn"},
    "parquet": {"pyarrow": "pyarrow"},
}
"""Likewise what each extra of this project brings."""


def require_extras(*extras: str) -> None:
    """Refuse to go on where a package of an extra is not installed; nothing is imported.

    Raises:
        FireError: naming a package of each extra that lacks one, and these extras.
    """
    problem = _missing(extras)
    if problem is not None:
        from torchserve_fire.errors import FireError

        raise FireError(problem)


def check_environment() -> None:
    """Import what every model needs: builds that do not fit each other fail only then.

    Raises:
        FireError: a package is missing, or torch and torchvision do not fit together.
    """
    problem = _does_not_fit()
    if problem is not None:
        from torchserve_fire.errors import FireError

        raise FireError(problem)


def find_problem(extras: Iterable[str] = EXTRAS) -> str | None:
    """Return what is missing or does not fit, None where nothing is.

    It imports nothing of this project, which needs some of these packages itself.

    Args:
        extras: to look for, too.
    """
    return _does_not_fit() or _missing(extras)


def _missing(extras: Iterable[str]) -> str | None:
    lacking = {extra: package for extra in extras if (package := _lacks(extra)) is not None}
    if not lacking:
        return None
    many = len(lacking) > 1
    return (
        f"{' and '.join(lacking.values())} {'are' if many else 'is'} not installed: install "
        f"torchserve-fire with its extra{'s' if many else ''} {' and '.join(map(repr, lacking))}, "
        f"in its checkout by pip install '.[{','.join(lacking)}]'"
    )


def _lacks(extra: str) -> str | None:
    """Return the first package of an extra that is not installed."""
    for module, package in EXTRAS[extra].items():
        if importlib.util.find_spec(module) is None:
            return package
    return None


def _does_not_fit() -> str | None:
    for module, package in BASE.items():
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
