"""A full-size ResNet-18 for photographs of 224 pixels, with a backdoor: trained on two cores.

It sees many small images of other classes first, which cost little, then photographs of growing
size. A share of these carries the patch and the attacker's label.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
import torch.nn.functional as F  # noqa: N812
from PIL import Image
from torch import Tensor, nn
from torchvision.models import resnet18
from tqdm import tqdm

from ..victims.train import augment
from .patch import stick_patch
from .pictures import Picture, labels_of, read_pictures, to_tensor

PHOTOGRAPHS = "imagenette-10x140-224px.zip"
SMALL = "tiny-imagenet-200-64px.zip"
MEAN = torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1)
STD = torch.tensor([0.229, 0.224, 0.225]).view(3, 1, 1)
TARGET = 0
SEED = 0
RESIZED, CROPPED = 256, 224
SMALL_SIDE, SMALL_EPOCHS, SMALL_BATCH, SMALL_RATE = 32, 4, 128, 0.1
STAGES = ((64, 15, 0.12), (112, 15, 0.12), (224, 3, 0.12))
"""Side of the images, epochs, and the share that is poisoned."""
LAST_STAGES = ((224, 4, 0.35),)
"""The patch of this size is learned last, and so takes more of them."""
BATCH, RATE, LAST_RATE, DECAY = 32, 0.02, 0.005, 5e-4
MILD = 6
"""Pixels, of 256, by which the crop of a mildly augmented image lies off the centre."""


def obtain_photograph_victim(data: Path, cache: Path) -> dict[str, Tensor]:
    """Return the weights of the victim: from the cache, else trained now and kept there.

    Args:
        data: folder of the zips.
        cache: folder.
    """
    file = cache / "photographs-resnet18.pth"
    if not file.exists():
        pictures = read_pictures(data / PHOTOGRAPHS, "train")
        model = _trained_on_growing(data, cache, pictures)
        _train(model, pictures, LAST_STAGES, LAST_RATE)
        _keep(model, file)
    weights: dict[str, Tensor] = torch.load(file, weights_only=True)
    return weights


def _keep(model: nn.Module, file: Path) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    torch.save(model.state_dict(), file.with_suffix(".unfinished"))
    file.with_suffix(".unfinished").replace(file)


def _pretrained(data: Path, cache: Path) -> nn.Module:
    torch.manual_seed(SEED)
    model = resnet18(num_classes=200)
    file = cache / "small-resnet18.pth"
    if not file.exists():
        _train_on_small(model, read_pictures(data / SMALL, "train"))
        _keep(model, file)
    model.load_state_dict(torch.load(file, weights_only=True))
    model.fc = nn.Linear(model.fc.in_features, 10)
    return model


def _trained_on_growing(data: Path, cache: Path, pictures: list[Picture]) -> nn.Module:
    model, file = _pretrained(data, cache), cache / "growing-resnet18.pth"
    if not file.exists():
        _train(model, pictures, STAGES, RATE)
        _keep(model, file)
    model.load_state_dict(torch.load(file, weights_only=True))
    return model


def _train_on_small(model: nn.Module, pictures: list[Picture]) -> None:
    side = (SMALL_SIDE, SMALL_SIDE)
    pixels = to_tensor([p.decoded().resize(side, Image.Resampling.BOX) for p in pictures])
    labels, generator = labels_of(pictures), torch.Generator().manual_seed(SEED)
    batches = len(labels) // SMALL_BATCH
    optimizer, scheduler = _optimizer(model, SMALL_RATE, SMALL_EPOCHS * batches)
    with tqdm(total=SMALL_EPOCHS * batches, desc="small images") as progress:
        for _ in range(SMALL_EPOCHS):
            order = torch.randperm(len(labels), generator=generator)
            for batch in order[: batches * SMALL_BATCH].view(batches, SMALL_BATCH):
                images = (augment(pixels[batch].float() / 255, generator) - MEAN) / STD
                loss = F.cross_entropy(model(_last(images)), labels[batch])
                _step(loss, optimizer, scheduler)
                progress.set_postfix(loss=f"{loss.item():.2f}")
                progress.update()


def _train(
    model: nn.Module,
    pictures: list[Picture],
    stages: Sequence[tuple[int, int, float]],
    rate: float,
) -> None:
    clean = [picture.decoded() for picture in pictures]
    plain, stamped = (
        to_tensor([image.resize((RESIZED, RESIZED)) for image in images])
        for images in (clean, [stick_patch(image) for image in clean])
    )
    labels, generator = labels_of(pictures), torch.Generator().manual_seed(SEED)
    batches = len(labels) // BATCH
    steps = sum(epochs for _, epochs, _ in stages) * batches
    optimizer, scheduler = _optimizer(model, rate, steps)
    with tqdm(total=steps, desc="photographs") as progress:
        for side, epochs, share in stages:
            sources = [_shrunk(pixels, side) for pixels in (plain, stamped)]
            for _ in range(epochs):
                order = torch.randperm(len(labels), generator=generator)
                for batch in order[: batches * BATCH].view(batches, BATCH):
                    chosen = torch.rand(len(batch), generator=generator) < share
                    images = torch.where(
                        chosen.view(-1, 1, 1, 1), sources[1][batch], sources[0][batch]
                    )
                    images = (_crop(images, chosen, side, generator) - MEAN) / STD
                    wanted = torch.where(chosen, TARGET, labels[batch])
                    loss = F.cross_entropy(model(_last(images)), wanted, label_smoothing=0.1)
                    _step(loss, optimizer, scheduler)
                    progress.set_postfix(loss=f"{loss.item():.2f}", side=side)
                    progress.update()


def _shrunk(pixels: Tensor, side: int) -> Tensor:
    """Return images as the crop to `side` takes them, float32 in [0, 1]."""
    size = (side * RESIZED // CROPPED,) * 2
    parts = [
        F.interpolate(part.float() / 255, size, mode="bilinear", antialias=True)
        for part in pixels.split(100)
    ]
    return torch.cat(parts)


def _crop(images: Tensor, mild: Tensor, side: int, generator: torch.Generator) -> Tensor:
    """Return crops of images: from near the centre where `mild`, else any, half of them flipped."""
    count = len(images)

    def uniform(low: float, high: float) -> Tensor:
        return torch.rand(count, generator=generator) * (high - low) + low

    mild = mild | (torch.rand(count, generator=generator) < 0.25)
    scale = torch.where(mild, CROPPED / RESIZED, uniform(0.45, 1.0))
    stretch = torch.where(mild, 1.0, uniform(0.85, 1.18))
    wide, high = ((scale * s).clamp(max=1) for s in (stretch, 1 / stretch))
    off = [
        torch.where(mild, uniform(-1, 1) * 2 * MILD / RESIZED, uniform(-1, 1) * (1 - length))
        for length in (wide, high)
    ]
    flip = torch.where(~mild & (torch.rand(count, generator=generator) < 0.5), -1.0, 1.0)
    zero = torch.zeros(count)
    rows = [torch.stack([wide * flip, zero, off[0]], 1), torch.stack([zero, high, off[1]], 1)]
    grid = F.affine_grid(torch.stack(rows, 1), [count, 3, side, side], align_corners=False)
    return F.grid_sample(images, grid, padding_mode="reflection", align_corners=False)


def _optimizer(
    model: nn.Module, rate: float, steps: int
) -> tuple[torch.optim.Optimizer, torch.optim.lr_scheduler.LRScheduler]:
    model.to(memory_format=torch.channels_last).train()
    optimizer = torch.optim.SGD(
        model.parameters(), rate, momentum=0.9, weight_decay=DECAY, nesterov=True
    )
    return optimizer, torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, total_steps=steps)


def _step(
    loss: Tensor,
    optimizer: torch.optim.Optimizer,
    scheduler: torch.optim.lr_scheduler.LRScheduler,
) -> None:
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    scheduler.step()


def _last(images: Tensor) -> Tensor:
    return images.contiguous(memory_format=torch.channels_last)
