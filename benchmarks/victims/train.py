"""Training a victim, and keeping it."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn
from tqdm import tqdm

from torchserve_fire_build.rivals.random_crops import crop_and_flip

from .architectures import ARCHITECTURES
from .attacks.attack import Attack
from .data import Data, Images
from .poison import poison, to_float
from .recipe import ATTACKS, Recipe, Schedule

MEAN = (0.4914, 0.4822, 0.4465)
STD = (0.247, 0.243, 0.261)
BATCH = 128
PAD = 4


@dataclass(frozen=True)
class Victim:
    """A trained model with the attack that it fell to.

    Attributes:
        recipe: what it was made from.
        model: in evaluation mode, for images normalised by `normalise`.
        attack: None for a benign model.
        weights_sha256: of its file.
        weights_bytes: size of its file.
    """

    recipe: Recipe
    model: nn.Module
    attack: Attack | None
    weights_sha256: str
    weights_bytes: int

    @property
    def target(self) -> int | None:
        """The class that the trigger leads to; None where there are several, or no attack."""
        return None if self.attack is None else self.attack.target


def normalise(images: Tensor) -> Tensor:
    """Return float images (N, 3, H, W) in [0, 1] as the victims take them."""
    return (images - torch.tensor(MEAN).view(3, 1, 1)) / torch.tensor(STD).view(3, 1, 1)


def victim_file(recipe: Recipe, data: Data, cache: Path) -> Path:
    """Return where the cache holds the victim of a recipe, once it is trained."""
    return cache / f"victim-{recipe.name}-{recipe.digest(data.digest)}.pth"


def obtain_victim(recipe: Recipe, data: Data, cache: Path) -> Victim:
    """Return the victim of a recipe: from the cache, else trained now and kept there."""
    file = victim_file(recipe, data, cache)
    if not file.exists():
        model, attack = _train(recipe, data)
        state = {
            "model": model.state_dict(),
            "attack": {} if attack is None else attack.state(),
        }
        cache.mkdir(parents=True, exist_ok=True)
        torch.save(state, file.with_suffix(".unfinished"))
        file.with_suffix(".unfinished").replace(file)
    state = torch.load(file, weights_only=True)
    model = ARCHITECTURES[recipe.architecture](data.classes).eval()
    model.load_state_dict(state["model"])
    attack = None
    if recipe.attack is not None:
        attack = ATTACKS[recipe.attack](data.classes)
        attack.load_state(state["attack"])
    contents = file.read_bytes()
    return Victim(recipe, model, attack, hashlib.sha256(contents).hexdigest(), len(contents))


def obtain_backdoored(recipe: Recipe, data: Data, cache: Path) -> tuple[Victim, Attack]:
    """Return the victim of a recipe, and the attack that it fell to.

    Raises:
        SystemExit: it is the recipe of a benign model.
    """
    victim = obtain_victim(recipe, data, cache)
    if victim.attack is None:
        raise SystemExit(f"{recipe.name}: a benign model has nothing to repair")
    return victim, victim.attack


def _train(recipe: Recipe, data: Data) -> tuple[nn.Module, Attack | None]:
    generator = torch.Generator().manual_seed(recipe.seed)
    attack, train = None, data.train
    if recipe.attack is not None:
        attack = ATTACKS[recipe.attack](data.classes)
        attack.fit(to_float(train.pixels), train.labels, generator)
        train = poison(attack, train, generator)
    # Layers draw their first weights from the global generator only.
    with torch.random.fork_rng():
        torch.manual_seed(recipe.seed)
        model = ARCHITECTURES[recipe.architecture](data.classes)
    fit_model(model, train, recipe.schedule, generator, recipe.name, flips=recipe.flips)
    return model, attack


def fit_model(
    model: nn.Module,
    train: Images,
    schedule: Schedule,
    generator: torch.Generator,
    title: str,
    *,
    flips: bool = True,
) -> None:
    """Train a model on images, cropped and flipped at random; leave it in evaluation mode."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    model.to(device, memory_format=torch.channels_last).train()
    batches = len(train) // BATCH
    # A processor that only emulates it takes ten times as long as in float32.
    bfloat16 = schedule.bfloat16 and (
        device.type == "cuda" or torch.ops.mkldnn._is_mkldnn_bf16_supported()
    )
    if schedule.adaptive:
        optimizer: torch.optim.Optimizer
        optimizer = torch.optim.AdamW(model.parameters(), schedule.rate, weight_decay=0.05)
    else:
        optimizer = torch.optim.SGD(
            model.parameters(), schedule.rate, momentum=0.9, weight_decay=5e-4, nesterov=True
        )
    scheduler = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, schedule.rate, total_steps=schedule.epochs * batches
    )
    with tqdm(total=schedule.epochs * batches, desc=title, leave=False) as progress:
        for _ in range(schedule.epochs):
            order = torch.randperm(len(train), generator=generator)
            for batch in order[: batches * BATCH].view(batches, BATCH):
                images = normalise(augment(to_float(train.pixels[batch]), generator, flips=flips))
                images = images.to(device, memory_format=torch.channels_last)
                with torch.autocast(device.type, torch.bfloat16, enabled=bfloat16):
                    logits = model(images)
                loss = F.cross_entropy(logits.float(), train.labels[batch].to(device))
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                scheduler.step()
                progress.update()
    model.to("cpu", memory_format=torch.contiguous_format).eval()


def augment_normalised(images: Tensor, generator: torch.Generator) -> Tensor:
    """Return normalised images (N, 3, H, W), cropped and flipped as `augment` does it."""
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (MEAN, STD))
    return normalise(augment(images * std + mean, generator))


def augment(images: Tensor, generator: torch.Generator, *, flips: bool = True) -> Tensor:
    """Return images (N, 3, H, W), each cropped from its padded self, half of them flipped."""
    return crop_and_flip(images, generator, pad=PAD, flips=flips)
