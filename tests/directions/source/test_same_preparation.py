from __future__ import annotations

from pathlib import Path

import pytest

from tests.tiny import TinyFiles
from torchserve_fire_build.commands.main import main

HANDLER = """
import io, os, torch
from PIL import Image
from torchvision import transforms
from ts.torch_handler.base_handler import BaseHandler
import tiny_net

class Theirs(BaseHandler):
    def initialize(self, context):
        self.device = torch.device("cpu")
        self.model = tiny_net.TinyNet()
        folder = context.system_properties["model_dir"]
        self.model.load_state_dict(torch.load(os.path.join(folder, "tiny.pth")))
        self.model.eval()
        self.initialized = True

    def preprocess(self, data):
        images = [Image.open(io.BytesIO(row["body"])).convert("RGB") for row in data]
        prepare = transforms.Compose([STEPS])
        return torch.stack([prepare(image) for image in images])

    def postprocess(self, data):
        return [{"theirs": int(i)} for i in data.argmax(1)]
"""
RESIZE, TENSOR = "transforms.Resize((8, 8))", "transforms.ToTensor()"


def pack(tiny: TinyFiles, folder: Path, steps: str) -> int:
    handler = folder / "theirs.py"
    handler.write_text(HANDLER.replace("STEPS", steps))
    (folder / "out").mkdir()
    files = ["--model-file", str(tiny.model_file), "--serialized-file", str(tiny.serialized_file)]
    files += ["--config-file", str(tiny.config(folder)), "--bundle", str(tiny.bundle)]
    files += ["--handler", str(handler), "--export-path", str(folder / "out")]
    return main(["package", "--model-name", "tiny", "--version", "1.0", *files])


@pytest.mark.parametrize("steps", [f"{RESIZE}, {TENSOR}", TENSOR], ids=["resized", "as it comes"])
@pytest.mark.slow
def test_a_handler_that_prepares_as_the_settings_say_is_packed(
    tiny: TinyFiles, tmp_path: Path, capsys: pytest.CaptureFixture[str], steps: str
) -> None:
    assert pack(tiny, tmp_path, steps) == 0
    assert capsys.readouterr().out == f"{tmp_path / 'out' / 'tiny-1.0.mar'}\n"


@pytest.mark.parametrize(
    "steps",
    [
        f"transforms.Resize(8), transforms.CenterCrop(8), {TENSOR}",
        f"{RESIZE}, {TENSOR}, lambda x: x.flip(0)",
        f"{TENSOR}, transforms.Normalize([0.5] * 3, [0.25] * 3)",
        f"{RESIZE}, {TENSOR}, transforms.Normalize([0.01] * 3, [1] * 3)",
    ],
    ids=["crop", "channels", "mean", "a little mean"],
)
@pytest.mark.slow
def test_a_handler_that_prepares_otherwise_is_refused_and_nothing_is_written(
    tiny: TinyFiles, tmp_path: Path, capsys: pytest.CaptureFixture[str], steps: str
) -> None:
    assert pack(tiny, tmp_path, steps) == 64
    message = capsys.readouterr().err
    assert message.startswith("torchserve-fire package: tiny-1.0.mar: ")
    assert "settings" in message
    assert message.count("\n") == 1
    assert list((tmp_path / "out").iterdir()) == []
