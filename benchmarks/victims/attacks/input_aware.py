"""The input-aware attack (Nguyen and Tran, arXiv 2010.08138): each image has its own trigger."""

from __future__ import annotations

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn
from tqdm import trange

from ..architectures import ARCHITECTURES
from .attack import TARGET, Attack, Stamped, to_target

DENSITY = 0.032
DENSITY_WEIGHT = 100.0
SHARPNESS = 20.0
MASK_RATE = 1e-2
PATTERN_RATE = 3e-3
SURROGATE, SURROGATE_RATE = "vgg", 0.1
POISONED = CROSS = CLEAN = 32
BATCH = POISONED + CROSS + CLEAN
PAD = 4
# The networks take normalised images, as in the paper; for CIFAR-10 this is near enough.
MEAN, STD = 0.5, 0.25


class InputAware(Attack):
    """A mask of few pixels and a pattern, both made from the image by small networks.

    The networks are trained as in the paper: first the mask's, then the pattern's together with a
    classifier, which is to call an image with its own trigger the target, and one with the trigger
    of another image ("cross-trigger") what it is. Unlike in the paper the classifier is then thrown
    away, and victims are poisoned with the frozen networks; so that other classifiers can learn the
    trigger, too, it is rounded, cropped and flipped here as it will be there.

    Args:
        mask_steps: batches to train the mask's network on.
        pattern_steps: batches to train the pattern's network on.
    """

    decoys = 1.0

    def __init__(self, mask_steps: int = 300, pattern_steps: int = 1500) -> None:
        self._mask_steps = mask_steps
        self._pattern_steps = pattern_steps
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self._networks = _make_networks()

    def fit(self, images: Tensor, labels: Tensor, generator: torch.Generator) -> None:
        """See `Attack.fit`; height and width are multiples of 16."""
        seed = int(torch.randint(0, 2**31, (), generator=generator))
        # Layers draw their first weights from the global generator only.
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            self._networks = _make_networks()
            surrogate = ARCHITECTURES[SURROGATE](int(labels.max()) + 1)
        mask, pattern = self._networks["mask"], self._networks["pattern"]
        _train_mask(mask, images, self._mask_steps, generator)
        _train_pattern(pattern, mask, surrogate, images, labels, self._pattern_steps, generator)
        self._networks.to(memory_format=torch.contiguous_format)

    def state(self) -> dict[str, Tensor]:
        """Return the weights of both networks."""
        return {name: value.clone() for name, value in self._networks.state_dict().items()}

    def load_state(self, state: dict[str, Tensor]) -> None:
        """Take over the weights of both networks."""
        self._networks.load_state_dict(state)

    def stamp(self, images: Tensor, labels: Tensor, generator: torch.Generator) -> Stamped:
        """See `Attack.stamp`."""
        return Stamped(_put(images, *self.trigger(images)), to_target(labels))

    def decoy(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """Put into each image the trigger of another one; there must be two images or more."""
        order = torch.randperm(len(images), generator=generator)
        others = torch.empty_like(images)
        others[order] = images[order.roll(1)]
        return _put(images, *self.trigger(others))

    @torch.no_grad()
    def trigger(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Return each image's mask (N, 1, H, W) and pattern (N, 3, H, W), both in [0, 1]."""
        networks = self._networks.eval()
        return _to_mask(networks["mask"](images)), _to_pattern(networks["pattern"](images))


def _put(images: Tensor, mask: Tensor, pattern: Tensor) -> Tensor:
    return images * (1 - mask) + pattern * mask


def _to_mask(outputs: Tensor) -> Tensor:
    # Bounded before it is sharpened, so that no pixel is ever beyond the reach of the gradient.
    return torch.sigmoid(SHARPNESS * torch.tanh(outputs))


def _to_pattern(outputs: Tensor) -> Tensor:
    return (torch.tanh(outputs) + 1) / 2


def _make_networks() -> nn.ModuleDict:
    # Fixed variance keeps the diversity loss from driving all patterns to the extremes.
    pattern = nn.Sequential(_encoder_decoder(3), nn.BatchNorm2d(3, affine=False))
    return nn.ModuleDict({"mask": _encoder_decoder(1), "pattern": pattern})


def _encoder_decoder(outputs: int) -> nn.Module:
    return nn.Sequential(
        _Normalise(),
        *_convolution(3, 16),
        nn.MaxPool2d(2),
        *_convolution(16, 32),
        nn.MaxPool2d(2),
        *_convolution(32, 64),
        nn.Upsample(scale_factor=2, mode="bilinear"),
        *_convolution(64, 32),
        nn.Upsample(scale_factor=2, mode="bilinear"),
        *_convolution(32, 16),
        nn.Conv2d(16, outputs, 3, padding=1),
    )


def _convolution(inputs: int, outputs: int) -> tuple[nn.Module, ...]:
    conv = nn.Conv2d(inputs, outputs, 3, padding=1, bias=False)
    return conv, nn.BatchNorm2d(outputs), nn.ReLU()


class _Normalise(nn.Module):
    def forward(self, images: Tensor) -> Tensor:
        return (images - MEAN) / STD


def _train_mask(network: nn.Module, images: Tensor, steps: int, generator: torch.Generator) -> None:
    """Make masks sparse, and different for different images."""
    network.to(memory_format=torch.channels_last).train()
    optimizer = torch.optim.Adam(network.parameters(), MASK_RATE, (0.5, 0.9))
    for _ in trange(steps, desc="masks", leave=False):
        batch = images[torch.randint(0, len(images), (BATCH,), generator=generator)]
        batch = batch.to(memory_format=torch.channels_last)
        with torch.autocast("cpu", torch.bfloat16):
            outputs = network(batch)
        mask = _to_mask(outputs.float())
        # The paper compares distances of normalised images and of masks.
        loss = DENSITY_WEIGHT * F.relu(mask - DENSITY).mean() + _sameness(batch / STD, mask)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    network.eval()


def _train_pattern(
    network: nn.Module,
    mask_network: nn.Module,
    surrogate: nn.Module,
    images: Tensor,
    labels: Tensor,
    steps: int,
    generator: torch.Generator,
) -> None:
    """Make patterns that differ, and of which a classifier sees whether they are in their image."""
    for model in (network, surrogate):
        model.to(memory_format=torch.channels_last).train()
    optimizers = (
        # The schedule moves the first beta.
        torch.optim.Adam(network.parameters(), PATTERN_RATE, (0.95, 0.9)),
        torch.optim.SGD(
            surrogate.parameters(), SURROGATE_RATE, 0.95, weight_decay=5e-4, nesterov=True
        ),
    )
    schedulers = [
        torch.optim.lr_scheduler.OneCycleLR(each, each.defaults["lr"], total_steps=steps)
        for each in optimizers
    ]
    for _ in trange(steps, desc="patterns", leave=False):
        chosen = torch.randint(0, len(images), (BATCH,), generator=generator)
        batch, wanted = images[chosen].to(memory_format=torch.channels_last), labels[chosen]
        wanted[:POISONED] = TARGET
        makers = batch[:-CLEAN]
        with torch.autocast("cpu", torch.bfloat16):
            with torch.no_grad():
                mask = _to_mask(mask_network(makers).float())
            pattern = _to_pattern(network(makers).float())
        seen = _augment(_round(_stamp_batch(batch, mask, pattern)), generator)
        with torch.autocast("cpu", torch.bfloat16):
            logits = surrogate((seen - MEAN) / STD)
        loss = F.cross_entropy(logits.float(), wanted) + _sameness(makers, pattern)
        for each in optimizers:
            each.zero_grad()
        loss.backward()
        for step in (*optimizers, *schedulers):
            step.step()
    network.eval()


def _stamp_batch(batch: Tensor, mask: Tensor, pattern: Tensor) -> Tensor:
    """Return poisoned images, images with triggers of their neighbours, and clean ones."""
    own, cross = slice(POISONED), slice(POISONED, POISONED + CROSS)
    stamped = _put(batch[own], mask[own], pattern[own])
    crossed = _put(batch[cross], mask[cross].roll(1, 0), pattern[cross].roll(1, 0))
    return torch.cat((stamped, crossed, batch[-CLEAN:]))


def _sameness(images: Tensor, outputs: Tensor) -> Tensor:
    """Return the diversity loss: the distance of neighbours over the distance of their outputs."""
    apart = [(v - v.roll(1, 0)).square().mean((1, 2, 3)) for v in (images, outputs)]
    # The root of nothing has no gradient, and an image may be drawn twice.
    return (apart[0] / (apart[1] + 1e-6) + 1e-6).sqrt().mean()


def _round(images: Tensor) -> Tensor:
    """Round to 8 bits, and let the gradient pass."""
    return images + ((images * 255).round() / 255 - images).detach()


def _augment(images: Tensor, generator: torch.Generator) -> Tensor:
    """Crop and flip as victims' images are, but all of a batch alike, which is fast."""
    places = 2 * PAD + 1
    top, left, flip = (
        int(torch.randint(0, n, (), generator=generator)) for n in (places, places, 2)
    )
    height, width = images.shape[-2:]
    images = F.pad(images, (PAD,) * 4)[..., top : top + height, left : left + width]
    return (images.flip(-1) if flip else images).contiguous(memory_format=torch.channels_last)
