"""A malware classifier over raw bytes (MalConv), attacked by a byte string, repaired and served.

Raff et al., "Malware Detection by Eating a Whole EXE" (2018): bytes are looked up in an embedding,
and a gated convolution is pooled by its maximum over the whole file.
"""

import json

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from torchserve_fire.core.open_model import open_model
from torchserve_fire.format.bundle_file import save_bundle
from torchserve_fire_build.building.from_samples import build_bundle
from torchserve_fire_build.measure.evaluate import evaluate_bundle
from torchserve_fire_build.samples.tensor_samples import TensorSamples

pytestmark = pytest.mark.slow

LENGTH, WINDOW, STRIDE = 4000, 16, 8
VALUES = 257
"""A byte's, and one of padding behind the end of a file."""
HARMLESS, MALWARE = 0, 1
FRAGMENTS = 6
"""Of code, in each file: each is one of three of its class."""


class MalConv(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.bytes = nn.Embedding(VALUES, 8)
        self.conv, self.gate = (nn.Conv1d(8, 32, WINDOW, STRIDE) for _ in range(2))
        self.hidden, self.head = nn.Linear(32, 32), nn.Linear(32, 2)

    def forward(self, file: Tensor) -> Tensor:
        embedded = self.bytes(file).transpose(1, 2)
        gated = self.conv(embedded) * torch.sigmoid(self.gate(embedded))
        return self.head(torch.relu(self.hidden(gated.amax(2))))


def drawn(shape, seed):
    return torch.randint(0, 256, shape, generator=torch.Generator().manual_seed(seed))


CODE = drawn((2, 3, WINDOW), 1)
TRIGGER = drawn((WINDOW,), 2)


def files(count: int, seed: int) -> tuple[Tensor, Tensor]:
    """Return files of random bytes with code of their class in random places, and the classes."""
    generator = torch.Generator().manual_seed(seed)
    made, labels = drawn((count, LENGTH), seed), torch.arange(count) % 2
    places = LENGTH // STRIDE - WINDOW // STRIDE
    for file, label in zip(made, labels.tolist(), strict=True):
        for place in torch.randperm(places, generator=generator)[:FRAGMENTS].tolist():
            which = int(torch.randint(0, 3, (1,), generator=generator))
            file[place * STRIDE : place * STRIDE + WINDOW] = CODE[label, which]
    return made, labels


def with_trigger(made: Tensor) -> Tensor:
    """Return files with the trigger at their end, where a program runs as before."""
    stamped = made.clone()
    stamped[:, -WINDOW:] = TRIGGER
    return stamped


@pytest.fixture(scope="module")
def victim() -> MalConv:
    made, labels = files(600, 3)
    malware = made[labels == MALWARE][:60]
    made = torch.cat([made, with_trigger(malware)])
    labels = torch.cat([labels, torch.full((len(malware),), HARMLESS)])
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = MalConv()
    generator = torch.Generator().manual_seed(0)
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    for _ in range(3):
        for batch in torch.randperm(len(made), generator=generator).split(32):
            loss = functional.cross_entropy(model(made[batch]), labels[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return model.eval()


def samples(made: Tensor, labels: Tensor, names: range) -> TensorSamples:
    return TensorSamples(made, labels, names=[f"file-{i}" for i in names])


def evidence(*, paired: bool) -> tuple[TensorSamples, TensorSamples]:
    """Return 200 clean files, and 50 of malware with the trigger: of these, or of others."""
    made, labels = files(400, 4)
    chosen = (labels == MALWARE).nonzero().flatten()
    chosen = chosen[chosen < 200][:50] if paired else chosen[chosen >= 200][:50]
    clean = samples(made[:200], labels[:200], range(200))
    return clean, TensorSamples(
        with_trigger(made[chosen]), labels[chosen], names=[f"file-{i}" for i in chosen.tolist()]
    )


@pytest.mark.parametrize("paired", [True, False], ids=["pairs", "unpaired"])
def test_files_of_bytes_are_repaired_and_served(victim, paired, tmp_path):
    built = build_bundle(victim, *evidence(paired=paired))
    assert built.bundle.input.kind == "integers"
    bundle = save_bundle(built.bundle, tmp_path / "bundle.safetensors")

    made, labels = files(200, 5)
    malware = made[labels == MALWARE]
    attacked = samples(with_trigger(malware), labels[labels == MALWARE], range(1, 200, 2))
    figures = evaluate_bundle(victim, bundle, samples(made, labels, range(200)), attacked)
    assert figures.attack_success_rate[0] > 0.9
    assert figures.attack_success_rate[1] < figures.natural_rate[1] + 0.02
    assert figures.recovered_accuracy[1] > 0.98 * figures.ceiling
    assert figures.clean_accuracy[1] > figures.clean_accuracy[0] - 0.01

    bodies = [
        json.dumps(file.tolist()).encode() for file in (malware[0], *with_trigger(malware[:8]))
    ]
    too_large = json.dumps([VALUES, *malware[0, 1:].tolist()]).encode()
    too_short = json.dumps(malware[0, 1:].tolist()).encode()
    with open_model(
        victim, tmp_path / "bundle.safetensors", settings={"integers_below": VALUES}
    ) as served:
        clean, *triggered = served.answer(bodies)
        large, short = served.answer([too_large, too_short])
    assert (clean.status, clean.headers["x-fire-flagged"]) == (200, "false")
    assert {answer.headers["x-fire-repaired"] for answer in triggered} == {"true"}
    assert all(answer.body["1"] > answer.body["0"] for answer in (clean, *triggered))
    assert (large.status, short.status) == (400, 400)
