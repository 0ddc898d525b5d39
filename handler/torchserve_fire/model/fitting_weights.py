"""Which weights of a checkpoint are a model's: those that fit it, without a prefix of all names.

Training scripts save weights beside other things, and wrappers put a prefix before all names.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from torch import Tensor, nn

from ..errors import ModelError, first_line
from .checkpoint import Checkpoint

AVERAGES = {"ema", "swa", "avg", "average", "averaged"}
"""Words by which averages of weights over a training run are called."""


@dataclass(frozen=True)
class FittingWeights:
    """Weights of a checkpoint under the names that the model has for them.

    Attributes:
        tensors: by the model's names, in the order of the file.
        key: where in the checkpoint they are, as `['model']`; empty where they are all of it.
        prefix: what was before their names.
    """

    tensors: Mapping[str, Tensor]
    key: str = ""
    prefix: str = ""

    @property
    def is_average(self) -> bool:
        """Whether they are called an average of others."""
        return not AVERAGES.isdisjoint(re.split(r"[^a-z]+", f"{self.key}.{self.prefix}".lower()))

    def where(self) -> str:
        """Return where they are."""
        parts = [self.key] if self.key else []
        parts += [f"with the prefix {self.prefix!r}"] if self.prefix else []
        return " ".join(parts) or "the whole file"


class NoFitError(ModelError):
    """No weights of a checkpoint fit a model."""


def load_fitting(model: nn.Module, checkpoint: Checkpoint) -> tuple[FittingWeights, str]:
    """Load the weights of a checkpoint that fit a model into it.

    Of weights that fit and differ, those that are called an average (`ema`) are passed over.

    Args:
        model: its weights are replaced.
        checkpoint: the file.

    Returns:
        The weights, and a line that says what was taken; empty where they are the whole file.

    Raises:
        NoFitError: none fit.
        ModelError: several fit and differ.
    """
    fitting = list(_fitting(model, checkpoint))
    if not fitting:
        raise NoFitError(_why_none(model, checkpoint))
    different = _different(fitting)
    plain = [weights for weights in different if not weights.is_average] or different
    if len(plain) > 1:
        places = " and ".join(weights.where() for weights in plain)
        raise ModelError(
            f"{checkpoint.path}: {places} fit the model and differ: save those that you serve "
            "alone, in a file of their own"
        )
    (taken,) = plain
    model.load_state_dict(taken.tensors)
    return taken, _describe(taken, different, checkpoint)


def _fitting(model: nn.Module, checkpoint: Checkpoint) -> Iterator[FittingWeights]:
    for key, tensors in checkpoint.dictionaries.items():
        groups = {prefix: _below(prefix, tensors) for prefix in _prefixes(model, tensors)}
        fit = {prefix: group for prefix, group in groups.items() if _takes(model, group)}
        for prefix, group in fit.items():
            beside = [name for name in tensors if not name.startswith(tuple(fit))]
            # A count, as AveragedModel has, is no layer.
            if all(tensors[name].dim() == 0 for name in beside):
                yield FittingWeights(group, key, prefix)


def _prefixes(model: nn.Module, tensors: Mapping[str, Tensor]) -> list[str]:
    """Return what may be before all names of the model; first, nothing."""
    first = next(iter(model.state_dict()), None)
    if first is None or first in tensors:
        return [""]
    return ["", *(name[: -len(first)] for name in tensors if name.endswith(f".{first}"))]


def _below(prefix: str, tensors: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    if not prefix:
        return tensors
    size = len(prefix)
    below = OrderedDict((n[size:], t) for n, t in tensors.items() if n.startswith(prefix))
    versions = getattr(tensors, "_metadata", None)
    if versions is not None:
        # By these, modules know weights that an older torch wrote.
        below._metadata = {  # type: ignore[attr-defined]
            name[size:]: version
            for name, version in versions.items()
            if f"{name}.".startswith(prefix)
        }
    return below


def _takes(model: nn.Module, tensors: Mapping[str, Tensor]) -> bool:
    try:
        model.load_state_dict(tensors)
    except Exception:  # A model may load its weights in its own way.
        return False
    return True


def _different(fitting: list[FittingWeights]) -> list[FittingWeights]:
    """Return the first of those that are the same."""
    different: list[FittingWeights] = []
    for one in fitting:
        if not any(_same(one.tensors, other.tensors) for other in different):
            different.append(one)
    return different


def _same(one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(one[n].equal(other[n]) for n in one)


def _describe(
    taken: FittingWeights, different: list[FittingWeights], checkpoint: Checkpoint
) -> str:
    said = []
    if taken.key or taken.prefix:
        said.append(f"the weights are {taken.where()}")
    passed_over = [weights.where() for weights in different if weights is not taken]
    if passed_over:
        said.append(f"not their average {', '.join(passed_over)}")
    if checkpoint.left_out:
        said.append(f"not unpickled: {', '.join(checkpoint.left_out[:5])}")
    return f"{checkpoint.path}: {'; '.join(said)}" if said else ""


def _why_none(model: nn.Module, checkpoint: Checkpoint) -> str:
    """Say in one line how the weights that come nearest differ from the model's."""
    wanted = model.state_dict()
    groups = [
        (key, prefix, _below(prefix, tensors))
        for key, tensors in checkpoint.dictionaries.items()
        for prefix in _prefixes(model, tensors)
    ]
    key, prefix, found = max(groups, key=lambda g: (len(wanted.keys() & g[2].keys()), len(g[2])))
    subject = "the weights"
    if key or prefix:
        subject += f" {FittingWeights(found, key, prefix).where()}"
    missing = [name for name in wanted if name not in found]
    unexpected = [name for name in found if name not in wanted]
    if missing and (before := _lacks_prefix(list(wanted), list(found))):
        return f"{subject} lack {before!r}, which is before all names in the class"
    said = []
    if missing:
        said.append(f"lack {_first_of(missing)}")
    if unexpected:
        said.append(f"have {_first_of(unexpected)}, which the class has not")
    for name, tensor in found.items():
        if name in wanted and wanted[name].shape != tensor.shape:
            shapes = f"{tuple(tensor.shape)}, in the class {tuple(wanted[name].shape)}"
            said.append(f"have {name!r} in shape {shapes}")
            break
    beside = [name for name in checkpoint.dictionaries[key] if not name.startswith(prefix)]
    if not said and beside:
        said.append(f"have {_first_of(beside)} without that prefix")
    if not said:
        try:
            model.load_state_dict(found)
        except Exception as error:
            said.append(f"are refused: {first_line(error)}")
    return f"{subject} {', '.join(said)}"


def _lacks_prefix(wanted: list[str], found: list[str]) -> str:
    """Return what the class has before all names of the file; empty where that is not it."""
    prefix = wanted[0].removesuffix(found[0]) if found else ""
    return prefix if prefix and {prefix + name for name in found} == set(wanted) else ""


def _first_of(names: list[str]) -> str:
    return repr(names[0]) + (f" and {len(names) - 1} more" if len(names) > 1 else "")
