"""Naming the package that an import lacks, as pip calls it."""

from __future__ import annotations

PIP_NAMES = {
    "PIL": "Pillow",
    "cv2": "opencv-python-headless",
    "skimage": "scikit-image",
    "sklearn": "scikit-learn",
    "yaml": "PyYAML",
    "ts": "torchserve",
    "pytorch_lightning": "pytorch-lightning",
    "efficientnet_pytorch": "efficientnet-pytorch",
}
"""What pip calls modules that have other names in Python."""


def missing_package(error: ModuleNotFoundError) -> str:
    """Say in a line which module is missing, and how to install it or to bring it along."""
    module = (error.name or "").split(".")[0]
    if not module:
        return str(error)
    package = PIP_NAMES.get(module, module)
    return (
        f"No module named {error.name!r}: pip install {package} here and where the model is "
        "served; a file of your own goes into the archive by --extra-files"
    )
