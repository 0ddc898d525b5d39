"""Modes, signatures and successors of a repaired archive with a handler of its own."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
import torch
from PIL import Image

from tests.directions.unpacked_archives import IMAGES, write_archive
from tests.keys import KEY, OTHER_PUBLIC, PUBLIC
from tests.tiny import TinyFiles, image
from torchserve_fire.core.unpack import unpack
from torchserve_fire.errors import SignatureError
from torchserve_fire.format.bundle import Bundle, Detection, InputDescription, Layer
from torchserve_fire.format.bundle_file import save_bundle
from torchserve_fire.format.correction_forms import Shift
from torchserve_fire.format.digest import file_sha256
from torchserve_fire.model.config import SETTINGS_FILE, load_config
from torchserve_fire_build.commands.main import main
from torchserve_fire_build.deployment.archive.any_archive import version_of_manifest
from torchserve_fire_build.deployment.archive.entry import HandlerEntry
from torchserve_fire_build.deployment.archive.load_as_worker import Body, load_as_worker
from torchserve_fire_build.deployment.archive.next_archive import (
    Change,
    must_be_signed,
    unpacked_with,
)
from torchserve_fire_build.deployment.archive.repaired_archive import (
    Addition,
    Example,
    pack,
    stage_repaired,
)
from torchserve_fire_build.deployment.archive.sign_archive import verify_archive


@pytest.fixture
def repaired(tmp_path: Path, tiny: TinyFiles) -> Path:
    theirs = "handler: a text of theirs\n"
    archive = write_archive(
        tmp_path / "plain",
        tiny,
        IMAGES,
        files={"model-config.yaml": theirs},
        configFile="model-config.yaml",
    )
    addition = Addition(
        tiny.bundle,
        "2.0",
        HandlerEntry("their_handler", "TheirHandler"),
        Example(image(1), ".png"),
    )
    stage_repaired(unpack(archive), addition, tmp_path / "staged")
    pack(tmp_path / "staged", tmp_path / "tiny-2.0.mar")
    return tmp_path / "tiny-2.0.mar"


@pytest.mark.slow
def test_another_mode(tmp_path: Path, repaired: Path) -> None:
    change = Change(mode="observe")
    assert not change.is_made_in(repaired)
    with unpacked_with(repaired, change) as unpacked:
        assert unpacked.bodies() == [Body(image(1), "application/octet-stream")]
        sent = [*unpacked.bodies(), Body(image(1, triggered=True), "image/png")]
        answers = load_as_worker(unpacked.folder, "tiny", sent)
        unpacked.write("2.1", tmp_path / "tiny-2.1.mar")
    assert [answer.body for answer in answers] == [{"theirs": 1}, {"theirs": 0}]
    assert [answer.headers["x-fire-repaired"] for answer in answers] == ["false", "false"]
    assert [answer.headers["x-fire-flagged"] for answer in answers] == ["false", "true"]
    successor = unpack(tmp_path / "tiny-2.1.mar")
    assert load_config(successor.folder / SETTINGS_FILE).mode == "observe"
    assert (successor.folder / "model-config.yaml").read_text() == "handler: a text of theirs\n"
    assert version_of_manifest(tmp_path / "tiny-2.1.mar") == "2.1"
    assert change.is_made_in(tmp_path / "tiny-2.1.mar")


@pytest.mark.slow
def test_signed_and_verified(tmp_path: Path, tiny: TinyFiles, repaired: Path) -> None:
    archive = unpack(repaired)
    addition = Addition(tiny.bundle, "2.0")
    stage_repaired(archive, addition, tmp_path / "to_sign", KEY)
    signed = tmp_path / "signed-2.0.mar"
    pack(tmp_path / "to_sign", signed)
    verify_archive(signed, [PUBLIC])
    with pytest.raises(SignatureError):
        verify_archive(signed, [OTHER_PUBLIC])
    assert must_be_signed(signed)
    (answer,) = load_as_worker(tmp_path / "to_sign", "tiny", [Body(image(2), "image/png")])
    assert answer.body == {"theirs": 2}
    with unpacked_with(signed, Change(mode="reject"), KEY) as unpacked:
        unpacked.write("2.1", tmp_path / "signed-2.1.mar")
    assert main(["verify", str(tmp_path / "signed-2.1.mar"), "--trusted-key", PUBLIC]) == 0


@pytest.mark.slow
def test_nothing_that_runs_in_an_archive_is_written_to_it(tmp_path: Path, tiny: TinyFiles) -> None:
    text = IMAGES.replace("self.initialized = True", "open('log.txt', 'w').write('started')")
    archive = write_archive(tmp_path / "plain", tiny, text)
    before = sorted(archive.rglob("*"))
    load_as_worker(archive, "tiny", [Body(image(0), "image/png")])
    assert sorted(archive.rglob("*")) == before


NET = """
from torch import nn


class Small(nn.Module):
    def __init__(self):
        super().__init__()
        self.features = nn.Conv2d(3, 4, 8, stride=8, bias=False)
        self.head = nn.Linear(4, 7, bias=False)

    def forward(self, x):
        return self.head(self.features(x).mean((2, 3)))
"""


def test_torchserves_image_classifier(tmp_path: Path, tiny: TinyFiles) -> None:
    """White is class 0, black class 1; what is bright is flagged, and made dark."""
    state = {
        "features.weight": torch.full((4, 3, 8, 8), 1 / 192),
        "head.weight": torch.tensor([[1.0], [-1], [0], [0], [0], [0], [0]]).expand(7, 4).clone(),
    }
    torch.save(state, tmp_path / "small.pth")
    bundle = Bundle(
        (
            Layer(
                "features",
                (4, 28, 28),
                Detection(torch.full((4, 28, 28), 1 / 3136), 0.0),
                Shift(torch.full((4, 1, 1), 4.4), 1.0),
            ),
        ),
        "Small",
        file_sha256(tmp_path / "small.pth"),
        InputDescription("image", (3, 224, 224), (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
        0,
        {},
        {"clean_accuracy": 1.0},
        0,
        {},
    )
    save_bundle(bundle, tmp_path / "small.safetensors")
    archive = write_archive(
        tmp_path / "named",
        tiny,
        handler="image_classifier",
        modelFile="small.py",
        serializedFile="small.pth",
        files={"small.py": NET, "small.pth": (tmp_path / "small.pth").read_bytes()},
    )
    entry = HandlerEntry("ts.torch_handler.image_classifier", "ImageClassifier")
    addition = Addition(tmp_path / "small.safetensors", "2.0", entry, Example(shade(0), ".png"))
    stage_repaired(unpack(archive), addition, tmp_path / "staged")
    sent = [Body(shade(level), "image/png") for level in (0, 255)]
    answers = load_as_worker(tmp_path / "staged", "tiny", sent)
    assert [max(answer.body, key=answer.body.get) for answer in answers] == ["1", "1"]
    assert [answer.headers["x-fire-flagged"] for answer in answers] == ["false", "true"]


def shade(level: int) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (300, 260), (level,) * 3).save(file, "PNG")
    return file.getvalue()
