"""A tiny unpacked archive whose answers can be worked out by hand, and TorchServe's context of it.

The model sums its 12 input values (an image of 2 x 2 RGB pixels in [0, 1], or 12 numbers): logits
(sum, 6, 0). The trigger is brightness: a sum above 6 is flagged, and repaired by taking 9 off, so a
white input (sum 12) goes from class 0 to class 1, and a black one stays at class 1.
"""

import hashlib
import io
import math
from dataclasses import replace
from pathlib import Path

import torch
import ts
import yaml
from PIL import Image
from safetensors.torch import save
from ts.context import Context, RequestProcessor
from ts.metrics.metric_cache_yaml_impl import MetricsCacheYamlImpl

from torchserve_fire.format.bundle import Bundle, Detection, InputDescription, Layer
from torchserve_fire.format.bundle_file import BUNDLE_FILE, bundle_to_parts
from torchserve_fire.format.clean_scores import CleanScores
from torchserve_fire.format.correction_forms import Shift

MODEL_FILE = """
from torch import nn


class Helper(nn.Module):
    def __init__(self, size):
        super().__init__()


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.features = nn.Flatten()
        self.head = nn.Linear(12, 3)

    def forward(self, x):
        return self.head(self.features(x))
"""
IMAGE = {"input": "image", "image_size": [2, 2], "mean": [0, 0, 0], "std": [1, 1, 1]}
TENSOR = {"input": "tensor"}


CLEAN_SCORES = CleanScores(40, (0.5, 1.0, 1.5, 2.0, 2.5, 3.0, 3.5, 4.0, 4.5))


def state_dict() -> dict[str, torch.Tensor]:
    weight = torch.zeros(3, 12)
    weight[0] = 1
    return {"head.weight": weight, "head.bias": torch.tensor([0.0, 6.0, 0.0])}


def make_bundle(weights: Path, kind: str = "image") -> Bundle:
    layer = Layer(
        "features",
        (12,),
        Detection(torch.ones(12), 6.0, clean_scores=CLEAN_SCORES),
        Shift(torch.full((12,), 0.75), 1.0),
    )
    described = (
        InputDescription("image", (3, 2, 2), (0.0,) * 3, (1.0,) * 3)
        if kind == "image"
        else InputDescription("tensor", (12,))
    )
    digest = hashlib.sha256(weights.read_bytes()).hexdigest()
    return Bundle((layer,), "Net", digest, described, 0, {}, {"clean_accuracy": 0.5}, 0, {})


def save_bundle(folder: Path, bundle: Bundle) -> str:
    """Write the bundle's file and return its digest."""
    data = save(*bundle_to_parts(bundle))
    (folder / BUNDLE_FILE).write_bytes(data)
    return hashlib.sha256(data).hexdigest()


def make_archive(folder: Path, settings: dict | None = None, **bundle_fields) -> Context:
    """Fill `folder` as an unpacked archive and return TorchServe's context of it."""
    settings = dict(IMAGE if settings is None else settings)
    (folder / "net.py").write_text(MODEL_FILE)
    torch.save(state_dict(), folder / "w.pth")
    bundle = make_bundle(folder / "w.pth", str(settings["input"]))
    save_bundle(folder, replace(bundle, **bundle_fields))
    return make_context(folder, {"handler": settings})


def make_context(folder: Path, config: object, **manifest) -> Context:
    metrics = MetricsCacheYamlImpl(str(Path(ts.__file__).parent / "configs" / "metrics.yaml"))
    metrics.initialize_cache()
    metrics.set_request_ids("0")
    model = {
        "modelName": "m",
        "modelVersion": "1.0",
        "modelFile": "net.py",
        "serializedFile": "w.pth",
        "configFile": "model-config.yaml",
    } | manifest
    model = {key: value for key, value in model.items() if value is not None}
    (folder / "model-config.yaml").write_text(yaml.safe_dump(config))
    return Context("m", str(folder), {"model": model}, 8, None, "0.12.0", True, metrics, config)


def ask(handler, context: Context, rows: list, headers: dict[int, dict] | None = None) -> list:
    """Send one batch as TorchServe's service does, and return (status, body) per request."""
    headers = headers or {}
    context.request_processor = [RequestProcessor(headers.get(i, {})) for i in range(len(rows))]
    context.request_ids = {i: str(i) for i in range(len(rows))}
    answers = handler.handle(rows, context)
    assert isinstance(answers, list)
    assert len(answers) == len(rows)
    return [(context.get_response_status(i)[0], answer) for i, answer in enumerate(answers)]


def grey(level: int, form: str = "PNG", mode: str = "RGB") -> bytes:
    """Return an image file of one shade of grey."""
    return encode(Image.new("RGB", (4, 4), (level,) * 3).convert(mode), form)


def encode(image: Image.Image, form: str = "PNG", **options) -> bytes:
    file = io.BytesIO()
    image.save(file, form, **options)
    return file.getvalue()


def softmax(*logits: float) -> list[float]:
    total = sum(math.exp(v) for v in logits)
    return [math.exp(v) / total for v in logits]
