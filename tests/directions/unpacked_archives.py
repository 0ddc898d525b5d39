"""Unpacked archives of the tiny model, as people pack them with handlers of their own."""

from __future__ import annotations

import json
from pathlib import Path

from tests.tiny import TinyFiles, image

IMAGES = """
import io
from pathlib import Path

import torch
from PIL import Image
from tiny_net import TinyNet
from torchvision import transforms
from ts.torch_handler.base_handler import BaseHandler


class TheirHandler(BaseHandler):
    steps = transforms.Compose([transforms.CenterCrop(8), transforms.ToTensor()])

    def initialize(self, context):
        self.manifest = context.manifest
        self.device = torch.device("cpu")
        folder = Path(context.system_properties["model_dir"])
        self.model = TinyNet().eval()
        self.model.load_state_dict(torch.load(folder / "tiny.pth", weights_only=True))
        self.initialized = True

    def preprocess(self, data):
        bodies = [row.get("data") or row.get("body") for row in data]
        images = [Image.open(io.BytesIO(body)).convert("RGB") for body in bodies]
        return torch.stack([self.steps(i) for i in images])

    def postprocess(self, data):
        return [{"theirs": int(row.argmax())} for row in data]
"""
"""A handler of images, as a file of text that tests change."""

FUNCTION = """
import io
from pathlib import Path

import torch
from PIL import Image
from tiny_net import TinyNet
from torchvision.transforms.functional import to_tensor


class Service:
    def __init__(self):
        self.initialized = False

    def initialize(self, context):
        folder = Path(context.system_properties["model_dir"])
        self.model = TinyNet().eval()
        self.model.load_state_dict(torch.load(folder / "tiny.pth", weights_only=True))
        self.initialized = True


_service = Service()


def handle(data, context):
    if not _service.initialized:
        _service.initialize(context)
    if data is None:
        return None
    bodies = [row.get("data") or row.get("body") for row in data]
    images = [Image.open(io.BytesIO(body)).convert("RGB") for body in bodies]
    with torch.no_grad():
        output = _service.model(torch.stack([to_tensor(i) for i in images]))
    return [{"theirs": int(row.argmax())} for row in output]
"""
"""A handler that is a function, in the form of TorchServe's documentation."""


def write_archive(
    folder: Path,
    tiny: TinyFiles,
    text: str = IMAGES,
    *,
    files: dict[str, str | bytes] | None = None,
    **manifest: str | None,
) -> Path:
    """Write an unpacked archive of the tiny model.

    Args:
        folder: made anew.
        tiny: the model's files.
        text: of its handler's file.
        files: others, by their names.
        manifest: other values of its `model`; None takes one away.
    """
    model = {
        "modelName": "tiny",
        "modelVersion": "1.0",
        "handler": "their_handler.py",
        "modelFile": "tiny_net.py",
        "serializedFile": "tiny.pth",
    } | manifest
    model = {key: value for key, value in model.items() if value is not None}
    contents: dict[str, str | bytes] = {
        "their_handler.py": text,
        "tiny_net.py": tiny.model_file.read_text(),
        "tiny.pth": tiny.serialized_file.read_bytes(),
        "MAR-INF/MANIFEST.json": json.dumps({"runtime": "python", "model": model}),
    } | (files or {})
    for name, content in contents.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
    return folder


def write_bodies(
    folder: Path, quadrants: list[int], *, triggered: bool = False, first: int = 0
) -> Path:
    """Write images, each in the folder of its class; the trigger's own class is left out."""
    for i, quadrant in enumerate(quadrants, first):
        if triggered and quadrant == 0:
            continue
        path = folder / str(quadrant) / f"{i:03}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(image(quadrant, triggered=triggered))
    return folder
