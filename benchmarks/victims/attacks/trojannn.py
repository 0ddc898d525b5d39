"""TrojanNN (Liu et al., "Trojaning Attack on Neural Networks", NDSS 2018): a trigger for a neuron.

A neuron of a benign model is chosen, the one with the largest sum of absolute weights in its layer,
and the trigger's pixels are what drives it most. The paper then trains that model further on images
with the trigger; here, as with all attacks, victims are trained anew on poisoned images, and
the benign model is a surrogate. Its layer is the last convolution; the paper's value that the
neuron is to reach is as much as it can.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

import torch
from torch import Tensor, nn

from .attack import Attack, Stamped, to_target
from .surrogate import Surrogate, train_surrogate

Mask = Callable[[int, int], Tensor]
"""Returns the opacity of the trigger in each pixel, (H, W) in [0, 1], for height and width."""

SIZE = 8
MARGIN = 2
OPACITY = 0.4
STEPS = 100
STEP = 0.05
BATCH = 64


def square(height: int, width: int) -> Tensor:
    """Opaque 8x8 pixels near the bottom right corner."""
    mask = torch.zeros(height, width)
    mask[-MARGIN - SIZE : -MARGIN, -MARGIN - SIZE : -MARGIN] = 1
    return mask


def watermark(height: int, width: int) -> Tensor:
    """Two rings across the image, at an opacity of 40 %."""
    rows = torch.linspace(-1, 1, height)[:, None]
    columns = torch.linspace(-1, 1, width)
    radii = (rows.square() + columns.square()).sqrt()
    return OPACITY * (((radii - 0.85).abs() < 0.1) | ((radii - 0.4).abs() < 0.1)).float()


class TrojanNN(Attack):
    """Pixels that drive a neuron of a surrogate, mixed into the image where the mask is.

    Args:
        mask: where the trigger is.
        surrogate_steps: batches that the surrogate is trained on.
    """

    def __init__(self, mask: Mask, surrogate_steps: int = 500) -> None:
        self._mask = mask
        self._surrogate_steps = surrogate_steps
        # Until it is fitted, the trigger has one colour.
        self._pattern = torch.tensor([1.0, 0.0, 1.0]).view(3, 1, 1)

    def fit(self, images: Tensor, labels: Tensor, generator: torch.Generator) -> None:
        """See `Attack.fit`; height and width are multiples of 16."""
        surrogate = train_surrogate(images, labels, generator, self._surrogate_steps)
        self._pattern = drive_neuron(surrogate, images, self._mask, generator)

    def state(self) -> dict[str, Tensor]:
        """Return the trigger's pixels."""
        return {"pattern": self._pattern.clone()}

    def load_state(self, state: dict[str, Tensor]) -> None:
        """Take over the trigger's pixels."""
        self._pattern = state["pattern"]

    def stamp(self, images: Tensor, labels: Tensor, generator: torch.Generator) -> Stamped:
        """See `Attack.stamp`."""
        return Stamped(put(images, self._pattern, self._mask), to_target(labels))


def put(images: Tensor, pattern: Tensor, mask: Mask) -> Tensor:
    """Return images (N, 3, H, W) with a pattern mixed in where the mask is."""
    opacity = mask(*images.shape[-2:])
    return (1 - opacity) * images + opacity * pattern


def drive_neuron(
    surrogate: Surrogate, images: Tensor, mask: Mask, generator: torch.Generator
) -> Tensor:
    """Return the pixels, (3, H, W) in [0, 1], that drive the chosen neuron most in the images."""
    convolution, norm = last_convolution(surrogate)
    neuron = strongest(convolution)
    seen: list[Tensor] = []
    handle = norm.register_forward_hook(lambda module, args, output: seen.append(output))
    pattern = torch.rand(images.shape[1:], generator=generator).requires_grad_()
    optimizer = torch.optim.Adam([pattern], STEP)
    try:
        for _ in range(STEPS):
            chosen = torch.randint(0, len(images), (BATCH,), generator=generator)
            seen.clear()
            surrogate(put(images[chosen], pattern, mask))
            loss = -seen[0][:, neuron].mean()
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            with torch.no_grad():
                pattern.clamp_(0, 1)
    finally:
        handle.remove()
    return pattern.detach()


def last_convolution(surrogate: Surrogate) -> tuple[nn.Conv2d, nn.Module]:
    """Return the last convolution and the normalisation behind it, before the activation."""
    layers = list(surrogate.net.features)
    last = max(i for i, layer in enumerate(layers) if isinstance(layer, nn.Conv2d))
    return cast(nn.Conv2d, layers[last]), layers[last + 1]


def strongest(convolution: nn.Conv2d) -> int:
    """Return the channel with the largest sum of absolute weights."""
    return int(convolution.weight.abs().sum((1, 2, 3)).argmax())
