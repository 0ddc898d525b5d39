"""NeuronInspect: classes whose saliency maps look like those of a trigger."""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from torchserve_fire.repair.layers import device_of

from ..common.budget import Budget
from ..common.progress import Progress
from ..measure.anomaly_index import MIN_CLASSES, anomaly_index
from ..samples.predict import differentiable_logits, gradients_of
from ..samples.samples import Samples, iterate
from .inspection import Inspection

NAME = "neuron-inspect"

WEIGHTS: Mapping[str, float] = {"sparse": 1.0, "smooth": 1.0, "persistent": 1.0}
"""Weights of the features in their sum. Each feature is a mean, over pixels and samples, of values
from 0 on."""

LAPLACIAN = ((0.0, 1.0, 0.0), (1.0, -4.0, 1.0), (0.0, 1.0, 0.0))

BATCH = 32


def neuron_inspect(
    model: nn.Module,
    clean: Samples,
    classes: int,
    generator: torch.Generator,
    budget: Budget,
    weights: Mapping[str, float] = WEIGHTS,
) -> Inspection:
    """Compare the saliency maps of the classes (Huang, Alzantot, Srivastava, arXiv 1911.07399).

    On clean samples, the output of a backdoored class depends more on the place of the trigger, and
    less on the content. So its saliency maps are sparser, smoother and, from sample to sample, more
    alike than those of other classes.

    As in the paper: a saliency map for every output and clean sample; three features, of which low
    values are suspicious; their weighted sum; and outliers by the MAD. The features are the L1 norm
    of the map (sparse), the L1 norm of the map after a Laplacian filter (smooth), and the exclusive
    or of the binarised maps of different samples (persistent).

    Not as in the paper, or not given there: the map is the largest absolute gradient of the logit
    among the channels, divided by its maximum, so that the sparse feature measures how concentrated
    the map is and not how steep the network is; norms are means over pixels, with equal weights;
    maps are binarised at their own mean, and those of consecutive samples are compared.

    A class of a benign model often stands out by more than 2, too. In a run on six of the
    benchmark's victims and their benign twins, which is not part of the benchmark, this threshold
    did not separate victims from twins. And a trigger leaves no saliency at all if its pixels act
    only beyond a brightness that clean samples lack.

    It needs clean samples, of any classes, whose inputs are maps, (H, W) or (C, H, W). It costs one
    forward pass for each sample, and one backward pass for each sample and class.

    Args:
        model: in evaluation mode.
        clean: clean samples.
        classes: number of classes.
        generator: draws the order of the samples, so that a small budget sees samples of many
            classes.
        budget: when it is spent, the samples seen so far are used.
        weights: of the features, by the names in `WEIGHTS`.

    Returns:
        The index of each class, and its mean saliency map, (classes, H, W), from 0 to 1.
    """
    shape = tuple(clean.load([0]).shape[1:])
    if len(shape) not in (2, 3) or min(shape[-2:]) < 3:
        return Inspection(NAME, notes=(f"not applicable to inputs of shape {shape}: needs maps",))
    if classes < MIN_CLASSES:
        return Inspection(NAME, notes=(f"needs at least {MIN_CLASSES} classes to compare",))
    sums = _Sums(classes, shape[-2:])
    order = torch.randperm(len(clean), generator=generator).tolist()
    with Progress("saliency maps", len(order)) as progress:
        for indices, inputs in iterate(clean, order, BATCH):
            # The first batch is always used: without it there is no result.
            if sums.count and budget.spent():
                break
            sums.add(saliency_maps(model, inputs, classes))
            progress.advance(len(indices))
    if sums.pairs == 0:
        return Inspection(NAME, notes=("needs at least two clean samples",))
    features = sums.features()
    total = sum((weights[name] * value for name, value in features.items()), torch.zeros(classes))
    index = anomaly_index(total, suspicious="low")
    note = f"saliency maps of {sums.count} clean samples"
    if index is None:
        note += ": they do not depend on the input"
    return Inspection(NAME, index=index, pictures=sums.mean_maps(), notes=(note,))


def saliency_maps(model: nn.Module, inputs: Tensor, classes: int) -> Tensor:
    """Return the saliency map of each input for the logit of each class.

    Args:
        model: in evaluation mode.
        inputs: (N, C, H, W) or (N, H, W).
        classes: number of classes.

    Returns:
        (classes, N, H, W) float32, on the CPU: the largest absolute gradient among the channels,
        divided by the largest value of the map. A map without gradients is 0.
    """
    inputs = inputs.detach().to(device_of(model)).requires_grad_()
    with torch.enable_grad():
        logits = differentiable_logits(model, inputs)
        maps = []
        for c in range(classes):
            (gradient,) = gradients_of(
                logits[:, c].sum(), [inputs], keep_graph=c < classes - 1, unused_are_0=True
            )
            gradient = gradient.abs().float().cpu()
            maps.append(gradient.amax(1) if gradient.dim() == 4 else gradient)
    stacked = torch.stack(maps)
    largest = stacked.flatten(2).amax(2)[..., None, None]
    return stacked / torch.where(largest > 0, largest, 1)


class _Sums:
    """Sums over samples, from which the features are computed.

    Args:
        classes: number of classes.
        size: height and width of the maps.
    """

    def __init__(self, classes: int, size: tuple[int, ...]) -> None:
        self.count = self.pairs = 0
        self._map = torch.zeros(classes, *size)
        self._smooth = torch.zeros(classes)
        self._differ = torch.zeros(classes)

    def add(self, maps: Tensor) -> None:
        """Add the maps of N samples, (classes, N, H, W) float32."""
        classes, count, height, width = maps.shape
        self.count += count
        self.pairs += count - 1
        self._map += maps.sum(1)
        kernel = torch.tensor(LAPLACIAN).view(1, 1, 3, 3)
        filtered = F.conv2d(maps.reshape(-1, 1, height, width), kernel)
        self._smooth += filtered.abs().mean((1, 2, 3)).view(classes, count).sum(1)
        bright = maps > maps.mean((2, 3), keepdim=True)
        self._differ += (bright[:, 1:] ^ bright[:, :-1]).float().mean((2, 3)).sum(1)

    def features(self) -> dict[str, Tensor]:
        """Return the features by name, as in `WEIGHTS`; each is (classes,) float32."""
        return {
            "sparse": self.mean_maps().mean((1, 2)),
            "smooth": self._smooth / self.count,
            "persistent": self._differ / self.pairs,
        }

    def mean_maps(self) -> Tensor:
        """Return the mean map of each class, (classes, H, W) float32."""
        return self._map / self.count
