"""Shadow models: networks of one architecture and task, half of them backdoored, in a folder."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F  # noqa: N812
from safetensors.torch import save
from torch import Tensor, nn

from torchserve_fire.errors import BundleError
from torchserve_fire.format.safetensors_file import parse_safetensors
from torchserve_fire.format.write_file import write_file

from ..common.budget import Budget
from ..common.errors import OutputError
from ..common.fresh_network import fresh_network
from ..common.progress import Progress
from ..common.step_cache import drop_damaged
from ..samples.predict import differentiable_logits
from .trojan import draw_trojan

VERSION = 1
"""Raised whenever the same task leads to other shadow models."""

EPOCHS = 20

BATCH = 32

RATE = 2e-3


@dataclass(frozen=True)
class Task:
    """What the shadow models learn.

    Attributes:
        model: a model with the architecture of the shadow models.
        inputs: clean samples, (N, *S) float32.
        labels: their classes, (N,) int64.
        checks: number of samples, the last ones, that are measured on and not learnt; at least 1.
        classes: number of classes.
        seed: seed of all shadow models.
    """

    model: nn.Module
    inputs: Tensor
    labels: Tensor
    checks: int
    classes: int
    seed: int

    @property
    def learnt(self) -> tuple[Tensor, Tensor]:
        """Inputs and labels to learn from."""
        return self.inputs[: -self.checks], self.labels[: -self.checks]

    @property
    def checked(self) -> tuple[Tensor, Tensor]:
        """Inputs and labels to measure on."""
        return self.inputs[-self.checks :], self.labels[-self.checks :]

    def digest(self) -> str:
        """Return the digest that is part of the names of the task's files."""
        architecture = [(name, list(v.shape)) for name, v in self.model.state_dict().items()]
        numbers = [VERSION, self.classes, self.checks, self.seed]
        digest = hashlib.sha256(json.dumps([architecture, *numbers]).encode())
        for tensor in (self.inputs, self.labels):
            digest.update(str(tuple(tensor.shape)).encode())
            digest.update(tensor.contiguous().numpy().tobytes())
        return digest.hexdigest()[:16]


@dataclass(frozen=True)
class Shadow:
    """A shadow model.

    Attributes:
        state: its state_dict.
        trojaned: whether it has a backdoor.
        accuracy: accuracy on clean samples that it did not learn from.
        success: share of these samples that it predicts as its target once they have its trigger; 0
            without a backdoor.
    """

    state: dict[str, Tensor]
    trojaned: bool
    accuracy: float
    success: float


def obtain_shadows(
    task: Task, numbers: Sequence[int], cache: Path | None, budget: Budget
) -> list[Shadow]:
    """Return shadow models, from the cache or newly trained; those of odd numbers are backdoored.

    After a spent budget or an interruption, another call continues with the models in the cache.
    A damaged file there is dropped with a warning.

    Args:
        task: what the shadow models learn.
        numbers: numbers of the shadow models within the task.
        cache: folder to keep them in, made if only its last part is missing; None to keep none.
        budget: time limit; when it is spent, no further model is trained.

    Returns:
        The shadow models; only the first ones if there was no time for all.

    Raises:
        OutputError: the cache cannot be written.
    """
    shadows: list[Shadow] = []
    with Progress("shadow models", len(numbers)) as progress:
        for number in numbers:
            file = None if cache is None else cache / f"shadow-{task.digest()}-{number}.safetensors"
            kept = None if file is None or not file.is_file() else _read(file)
            if kept is not None:
                shadows.append(kept)
            elif budget.spent():
                break
            else:
                shadows.append(train_shadow(task, number))
                if file is not None:
                    _write(shadows[-1], file)
            progress.advance()
    return shadows


def train_shadow(task: Task, number: int) -> Shadow:
    """Train a shadow model; those of odd numbers get a random backdoor (jumbo learning).

    Args:
        task: what it learns.
        number: number of the shadow model within the task.
    """
    generator = torch.Generator().manual_seed(task.seed)
    # Seeds are drawn, since generators with neighbouring seeds may draw similar numbers.
    seed = int(torch.randint(2**62, (number + 1,), generator=generator)[number])
    generator.manual_seed(seed)
    (inputs, labels), trojan = task.learnt, None
    if number % 2:
        trojan = draw_trojan(inputs, task.classes, generator)
        size = max(1, round(trojan.share * len(inputs)))
        stamped = torch.randperm(len(inputs), generator=generator)[:size]
        inputs = torch.cat([inputs, trojan.stamp(inputs[stamped])])
        labels = torch.cat([labels, torch.full((size,), trojan.target)])
    net = fresh_network(task.model, seed)
    _fit(net, inputs, labels, generator)
    clean, true = task.checked
    success = 0.0
    if trojan is not None:
        success = _share(net, trojan.stamp(clean), torch.full_like(true, trojan.target))
    return Shadow(
        state={name: value.clone() for name, value in net.state_dict().items()},
        trojaned=trojan is not None,
        accuracy=_share(net, clean, true),
        success=success,
    )


def _fit(net: nn.Module, inputs: Tensor, labels: Tensor, generator: torch.Generator) -> None:
    """Train a network; leave it in evaluation mode."""
    net.train()
    optimizer = torch.optim.Adam(net.parameters(), RATE)
    # Dropout draws only from the global generator.
    with torch.random.fork_rng(devices=[]), torch.enable_grad():
        torch.manual_seed(int(torch.randint(2**62, (), generator=generator)))
        for _ in range(EPOCHS):
            for batch in torch.split(torch.randperm(len(inputs), generator=generator), BATCH):
                # A single sample has no batch statistics.
                if len(batch) > 1:
                    logits = differentiable_logits(net, inputs[batch])
                    loss = F.cross_entropy(logits, labels[batch])
                    optimizer.zero_grad()
                    torch.autograd.backward(loss)
                    optimizer.step()
    net.eval()


@torch.no_grad()
def _share(net: nn.Module, inputs: Tensor, labels: Tensor) -> float:
    """Return the share of inputs that the network predicts as their labels."""
    return float((differentiable_logits(net, inputs).argmax(1) == labels).float().mean())


def _write(shadow: Shadow, file: Path) -> None:
    try:
        file.parent.mkdir(exist_ok=True)
    except OSError as error:
        raise OutputError(f"{file.parent}: cannot be made: {error.strerror}") from None
    values = {"trojaned": shadow.trojaned, "accuracy": shadow.accuracy, "success": shadow.success}
    write_file(save(shadow.state, {"shadow": json.dumps(values)}), file)


def _read(file: Path) -> Shadow | None:
    """Return a shadow model; None if its file was damaged, and has been dropped."""
    try:
        contents = parse_safetensors(file.read_bytes(), str(file))
        return Shadow(state=contents.tensors, **json.loads(contents.metadata["shadow"]))
    except (BundleError, ValueError, KeyError, TypeError):
        drop_damaged(file)
        return None
