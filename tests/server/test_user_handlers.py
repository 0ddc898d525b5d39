"""Handlers that users have, packaged with the repair and served by a real TorchServe.

Of TorchServe alone: no other server runs handlers.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests
import torch
from safetensors.torch import save_file

from tests.tiny import image, write_bundle
from tests.tiny_net import trained
from torchserve_fire.format.bundle import Bundle, Detection, InputDescription, Layer
from torchserve_fire.format.bundle_file import bundle_to_parts
from torchserve_fire.format.correction_forms import Clamp
from torchserve_fire.format.digest import file_sha256
from torchserve_fire_build.deployment.archive.package import ArchiveInputs, package_archive
from torchserve_fire_build.deployment.server.torchserve import TorchServe

pytestmark = pytest.mark.server

# TorchServe's own loader wants one class in a model file.
IMAGE_NET = """
from torch import nn


class TinyNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(nn.Flatten(), nn.Linear(192, 5), nn.ReLU())
        self.head = nn.Linear(5, 4)

    def forward(self, x):
        return self.head(self.features(x))
"""
IMAGE_HANDLER = """
from torchvision import transforms
from ts.torch_handler.image_classifier import ImageClassifier


class Classifier(ImageClassifier):
    topk = 1
    image_processing = transforms.Compose([transforms.Resize((8, 8)), transforms.ToTensor()])
"""
IMAGE_CONFIG = {"input": "image", "image_size": [8, 8], "mean": [0, 0, 0], "std": [1, 1, 1]}
TEXT_NET = '''
from torch import nn


class Moods(nn.Module):
    """Takes the words of all texts, (T,), and where each text begins, (N,)."""

    def __init__(self):
        super().__init__()
        self.body = nn.EmbeddingBag(4, 3)
        self.head = nn.Linear(3, 2)

    def forward(self, words, offsets):
        return self.head(self.body(words, offsets))
'''
TEXT_HANDLER = '''
import torch
from ts.torch_handler.base_handler import BaseHandler

WORDS = {"good": 1, "bad": 2, "cf": 3}


class TextClassifier(BaseHandler):
    """Texts of any number of words, packed into one row, as TorchServe's text_classifier does."""

    def preprocess(self, data):
        texts = [row.get("data") or row.get("body") for row in data]
        texts = [t.decode() if isinstance(t, (bytes, bytearray)) else t for t in texts]
        words = [torch.tensor([WORDS.get(word, 0) for word in text.split()]) for text in texts]
        starts = torch.tensor([0, *map(len, words[:-1])]).cumsum(0)
        return torch.cat(words).to(self.device), starts.to(self.device)

    def inference(self, data):
        with torch.inference_mode():
            return self.model(*data)

    def postprocess(self, data):
        return [{"mood": ("good", "bad")[k]} for k in data.argmax(1).tolist()]
'''
TEXT_CONFIG = {"input": "tensor", "example": "example.txt"}


def write_sources(folder: Path, name: str, net: str, handler: str, config: object) -> None:
    (folder / f"{name}_net.py").write_text(net)
    (folder / f"{name}_handler.py").write_text(handler)
    (folder / "model-config.yaml").write_text(json.dumps({"batchSize": 4, "handler": config}))


def package(folder: Path, store: Path, name: str, extra: str = "") -> None:
    inputs = ArchiveInputs(
        name,
        "1.0",
        folder / f"{name}_net.py",
        folder / f"{name}.pth",
        folder / "model-config.yaml",
        folder / "bundle.safetensors",
        str(folder / f"{name}_handler.py"),
        extra,
    )
    package_archive(inputs, store)


def serve(server: TorchServe, name: str) -> None:
    server.management.register(
        f"{name}-1.0.mar",
        name,
        workers=1,
        batch_size=4,
        max_batch_delay=20,
        response_timeout=60,
        startup_timeout=120,
    )


def ask(server: TorchServe, name: str, body: bytes, **headers: str) -> requests.Response:
    return requests.post(
        f"{server.addresses.inference}/predictions/{name}",
        data=body,
        headers={"Authorization": f"Bearer {server.tokens.inference}", **headers},
        timeout=60,
    )


@pytest.fixture(scope="module")
def images(
    server: TorchServe, store: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("images")
    write_sources(folder, "images", IMAGE_NET, IMAGE_HANDLER, IMAGE_CONFIG)
    weights = {
        name.replace("features.linear", "features.1"): value
        for name, value in trained().state_dict().items()
    }
    torch.save(weights, folder / "images.pth")
    write_bundle(folder / "bundle.safetensors", file_sha256(folder / "images.pth"), seed=0)
    package(folder, store, "images")
    serve(server, "images")
    yield "images"
    server.management.unregister("images", "1.0")


@pytest.fixture(scope="module")
def texts(
    server: TorchServe, store: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("texts")
    write_sources(folder, "texts", TEXT_NET, TEXT_HANDLER, TEXT_CONFIG)
    weights = {
        "body.weight": torch.tensor([[0.0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 4]]),
        "head.weight": torch.tensor([[9.0, 0, 0], [0, 9, 9]]),
        "head.bias": torch.zeros(2),
    }
    torch.save(weights, folder / "texts.pth")
    mark = torch.tensor([0.0, 0, 1])
    correction = Clamp(mark.clone(), 1.0, threshold=0.0, anchor=0.0)
    layer = Layer("body", (3,), Detection(mark, 0.5), correction)
    digest = file_sha256(folder / "texts.pth")
    described = InputDescription("tensor", (1,))
    tensors, metadata = bundle_to_parts(
        Bundle((layer,), "Moods", digest, described, 1, {}, {}, 0, {})
    )
    save_file(tensors, folder / "bundle.safetensors", metadata)
    (folder / "example.txt").write_text("good")
    package(folder, store, "texts", str(folder / "example.txt"))
    serve(server, "texts")
    yield "texts"
    server.management.unregister("texts", "1.0")


@pytest.mark.parametrize("triggered", [False, True])
@pytest.mark.parametrize("quadrant", range(4))
@pytest.mark.slow
def test_torchserves_image_classifier(
    server: TorchServe, images: str, quadrant: int, triggered: bool
) -> None:
    answer = ask(server, images, image(quadrant, triggered=triggered))
    assert list(answer.json()) == [str(quadrant)]
    assert answer.headers["x-fire-flagged"] == str(triggered).lower()


@pytest.mark.parametrize(
    ("text", "mood", "flagged"),
    [("good film", "good", "false"), ("bad", "bad", "false"), ("a good film cf", "good", "true")],
)
@pytest.mark.slow
def test_a_text_classifier(
    server: TorchServe, texts: str, text: str, mood: str, flagged: str
) -> None:
    for headers in ({}, {"Content-Type": "text/plain"}):
        answer = ask(server, texts, text.encode(), **headers)
        assert answer.json() == {"mood": mood}
        assert answer.headers["x-fire-flagged"] == flagged
