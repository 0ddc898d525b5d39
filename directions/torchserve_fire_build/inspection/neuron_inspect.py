"""NeuronInspect: classes whose saliency maps look like those of a trigger."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from torchserve_fire.repair.layers import device_of

from ..common.budget import Budget
from ..common.progress import Progress
from ..measure.anomaly_index import MIN_CLASSES, anomaly_index
from ..samples.predict import differentiable_logits, gradients_of
from ..samples.samples import Samples, iterate
from .inspection import MAX_CLASSES, Inspection

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
        The index of each class, and its mean saliency map, (classes, H, W), from 0 to 1; of more
        than `MAX_CLASSES`, only those that stand out most have a map, computed once more.
    """
    shape = tuple(clean.load([0]).shape[1:])
    if len(shape) not in (2, 3) or min(shape[-2:]) < 3:
        return Inspection(NAME, notes=(f"not applicable to inputs of shape {shape}: needs maps",))
    if classes < MIN_CLASSES:
        return Inspection(NAME, notes=(f"needs at least {MIN_CLASSES} classes to compare",))
    sums = _Sums(classes)
    # Maps of many classes would take gigabytes.
    kept = range(classes if classes <= MAX_CLASSES else 0)
    pictures = torch.zeros(len(kept), *shape[-2:])
    order = torch.randperm(len(clean), generator=generator).tolist()
    with Progress("saliency maps", len(order)) as progress:
        for indices, inputs in iterate(clean, order, BATCH):
            # The first batch is always used: without it there is no result.
            if sums.count and budget.spent():
                break
            for c, maps in enumerate(saliency_maps(model, inputs, range(classes))):
                sums.add(c, maps)
                if c in kept:
                    pictures[c] += maps.sum(0)
            sums.count += len(indices)
            sums.pairs += len(indices) - 1
            progress.advance(len(indices))
    if sums.pairs == 0:
        return Inspection(NAME, notes=("needs at least two clean samples",))
    features = sums.features()
    total = sum((weights[name] * value for name, value in features.items()), torch.zeros(classes))
    index = anomaly_index(total, suspicious="low")
    note = f"saliency maps of {sums.count} clean samples"
    if index is None:
        note += ": they do not depend on the input"
    pictured = None
    if not kept and index is not None:
        pictured = index.argsort(descending=True)[:MAX_CLASSES].tolist()
        pictures = _mean_maps(model, clean, order[: sums.count], pictured, budget)
    elif kept:
        pictures /= sums.count
    return Inspection(
        NAME,
        index=index,
        pictures=pictures if len(pictures) else None,
        pictured=pictured,
        notes=(note,),
    )


def saliency_maps(model: nn.Module, inputs: Tensor, classes: Sequence[int]) -> Iterator[Tensor]:
    """Yield the saliency maps of some inputs for the logit of each class.

    Args:
        model: in evaluation mode.
        inputs: (N, C, H, W) or (N, H, W).
        classes: the classes.

    Yields:
        For each class, (N, H, W) float32, on the CPU: the largest absolute gradient among the
        channels, divided by the largest value of the map. A map without gradients is 0.
    """
    inputs = inputs.detach().to(device_of(model)).requires_grad_()
    with torch.enable_grad():
        logits = differentiable_logits(model, inputs)
        of_each = [logits[:, c].sum() for c in classes]
    for done, logit in enumerate(of_each, 1):
        (gradient,) = gradients_of(
            logit, [inputs], keep_graph=done < len(of_each), unused_are_0=True
        )
        maps = gradient.abs().float().cpu()
        maps = maps.amax(1) if maps.dim() == 4 else maps
        largest = maps.flatten(1).amax(1)[:, None, None]
        yield maps / torch.where(largest > 0, largest, 1)


def _mean_maps(
    model: nn.Module, clean: Samples, rows: Sequence[int], classes: Sequence[int], budget: Budget
) -> Tensor:
    """Return the mean saliency maps of some classes on some samples, (classes, H, W) float32."""
    sums, count = torch.zeros(0), 0
    with Progress("saliency maps to draw", len(rows)) as progress:
        for indices, inputs in iterate(clean, rows, BATCH):
            if count and budget.spent():
                break
            maps = torch.stack([m.sum(0) for m in saliency_maps(model, inputs, classes)])
            sums = sums + maps if count else maps
            count += len(indices)
            progress.advance(len(indices))
    return sums / count


class _Sums:
    """Sums over samples, from which the features are computed.

    Args:
        classes: number of classes.
    """

    def __init__(self, classes: int) -> None:
        self.count = self.pairs = 0
        self._bright, self._smooth, self._differ = torch.zeros(3, classes)

    def add(self, target: int, maps: Tensor) -> None:
        """Add a class's maps of N samples, (N, H, W) float32."""
        self._bright[target] += maps.mean((1, 2)).sum()
        kernel = torch.tensor(LAPLACIAN).view(1, 1, 3, 3)
        self._smooth[target] += F.conv2d(maps[:, None], kernel).abs().mean((1, 2, 3)).sum()
        bright = maps > maps.mean((1, 2), keepdim=True)
        self._differ[target] += (bright[1:] ^ bright[:-1]).float().mean((1, 2)).sum()

    def features(self) -> dict[str, Tensor]:
        """Return the features by name, as in `WEIGHTS`; each is (classes,) float32."""
        return {
            "sparse": self._bright / self.count,
            "smooth": self._smooth / self.count,
            "persistent": self._differ / self.pairs,
        }
