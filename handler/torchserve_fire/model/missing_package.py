"""Naming the package that an import lacks, as pip calls it."""

from __future__ import annotations

STAND_IN = "_fire_model_"
"""Begins the name of a package that stands for the folder of a model file."""

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
    name = error.name or ""
    if not name:
        return str(error)
    if name.startswith(STAND_IN):
        name = name.partition(".")[2]
        return f"No module named {name!r} beside the model file: it is packed by --extra-files"
    module = name.split(".")[0]
    return (
        f"No module named {name!r}: pip install {PIP_NAMES.get(module, module)} here and where the "
        "model is served; a file of your own is packed by --extra-files"
    )
