"""Thousands of bundles that something was done to: refused in one line, or as good as they say."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from functools import partial
from itertools import chain, islice
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from tests.handler.archive import make_archive
from tests.handler.bundles import content_of, small_bundle
from tests.handler.forged_bundles import (
    damaged,
    file_with,
    forged_fields,
    forged_headers,
    forged_layers,
    forged_tensors,
    vector_bundle,
)
from torchserve_fire.errors import AttachError, BundleError
from torchserve_fire.format.bundle import Bundle, Layer, Repair
from torchserve_fire.format.bundle_file import BUNDLE_FILE, parse_bundle
from torchserve_fire.repair.attach_layers import attach_layers
from torchserve_fire.serve.fire_handler import FireHandler

BUNDLES = {"vectors": vector_bundle, "five forms": small_bundle}
FORGERIES = {"fields": forged_fields, "tensors": forged_tensors, "layers": forged_layers}
DAMAGES = {"headers": forged_headers, "bytes": partial(damaged, count=1000)}
COUNTS = {
    ("vectors", "fields"): 1584,
    ("vectors", "tensors"): 78,
    ("vectors", "layers"): 43,
    ("vectors", "headers"): 142,
    ("vectors", "bytes"): 1000,
    # Each of its fields is forged in test_bundle_file.py.
    ("five forms", "tensors"): 196,
    ("five forms", "layers"): 178,
    ("five forms", "headers"): 358,
    ("five forms", "bytes"): 1000,
}
"""How many there are of each; the tests count them."""

ATTACHED = {"fields": (134, 18), "tensors": (30, 0), "layers": (10, 2)}
"""Of those that are read: how many are attached, and how many the model refuses."""


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first = nn.Linear(4, 4)
        self.second = nn.Linear(4, 4)
        self.head = nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.second(self.first(x)))


INPUTS = 3 * torch.randn(16, 4, generator=torch.Generator().manual_seed(1))


def read(data: bytes) -> Bundle | None:
    """Read a file; None where it is refused, which it must be in one line."""
    try:
        return parse_bundle(data, "b.safetensors")
    except BundleError as error:
        message = str(error)
    assert message.startswith("b.safetensors: ")
    assert message.isprintable()
    assert len(message) < 400
    return None


def corrected(layer: Layer, feature: Tensor) -> Tensor:
    """What the bundle's documentation says that a layer makes of features (N, 4)."""
    correction = layer.correction
    if correction is None:
        return feature
    direction = correction.direction
    if correction.form == "shift":
        return feature - correction.strength * direction
    direction = direction / direction.abs().max()
    unit = direction.expand(4) / direction.expand(4).norm()
    score = feature @ unit
    moved = feature - (correction.strength * (score - correction.anchor))[:, None] * unit
    return torch.where((score > correction.threshold)[:, None], moved, feature)


def forward(model: Net, repair: Repair | None) -> tuple[Tensor, dict[str, Tensor]]:
    """The answers with a repair's corrections everywhere, and the features that it moved."""
    features, value = {}, INPUTS
    for name in ("first", "second", "head"):
        value = features[name] = getattr(model, name)(value)
        for layer in repair.layers if repair else ():
            if layer.name == name:
                value = corrected(layer, value)
    return value, features


def flagged_by(repair: Repair, plain: Tensor, features: dict[str, Tensor]) -> Tensor:
    layer = repair.detecting_layer
    if layer is None or layer.detection is None:
        return torch.ones(len(INPUTS), dtype=torch.bool)
    scores = (features[layer.name] * layer.detection.weight).sum(1)
    flagged = scores > layer.detection.threshold
    if layer.detection.only_target:
        flagged &= plain.argmax(1) == repair.target
    return flagged | ~scores.isfinite()


def check_attached(bundle: Bundle) -> bool:
    """Attach a bundle, where it can be; see that it does what it says, and leaves no trace."""
    model = Net().eval()
    weights = {key: value.clone() for key, value in model.state_dict().items()}
    with torch.no_grad():
        plain, features = forward(model, None)
        try:
            handle = attach_layers(model, bundle.layers, INPUTS[:1], target=bundle.target)
        except AttachError:
            assert torch.equal(model(INPUTS), plain)
            return False
        with handle:
            answers, verdict = model(INPUTS), handle.verdict.flagged
        moved = torch.zeros(len(INPUTS), dtype=torch.bool)
        for repair in bundle.repairs:
            mine = flagged_by(repair, plain, features)
            expected = forward(model, repair)[0][mine]
            assert torch.allclose(answers[mine], expected, rtol=1e-3, atol=1e-4, equal_nan=True)
            moved |= mine
        assert torch.equal(verdict, moved)
        assert torch.equal(answers[~moved], plain[~moved])
        assert torch.equal(model(INPUTS), plain)
    assert all(torch.equal(value, weights[key]) for key, value in model.state_dict().items())
    return True


@pytest.mark.parametrize(("of", "kind"), [key for key in COUNTS if key[1] in DAMAGES])
def test_a_damaged_file_is_refused_or_reads_as_before(of: str, kind: str):
    bundle = BUNDLES[of]()
    count = 0
    for count, data in enumerate(DAMAGES[kind](bundle), 1):  # noqa: B007
        found = read(data)
        if found is not None:
            assert content_of(found) == content_of(bundle)
            assert found.digest == hashlib.sha256(data).hexdigest()
    assert count == COUNTS[of, kind]


@pytest.mark.parametrize(("of", "kind"), [key for key in COUNTS if key[1] in FORGERIES])
def test_a_forged_file_is_refused_or_taken_at_its_word(of: str, kind: str):
    count = 0
    attached = []
    for count, data in enumerate(FORGERIES[kind](BUNDLES[of]()), 1):  # noqa: B007
        found = read(data)
        if found is not None:
            assert read(file_with(found)) is not None
            if of == "vectors":
                attached.append(check_attached(found))
    assert count == COUNTS[of, kind]
    if of == "vectors":
        assert (attached.count(True), attached.count(False)) == ATTACHED[kind]


def test_there_are_thousands():
    assert sum(COUNTS.values()) == 4579


def every_hundredth_refused() -> Iterator[bytes]:
    bundle = vector_bundle()
    files = chain.from_iterable(make(bundle) for make in (DAMAGES | FORGERIES).values())
    return islice((data for data in files if read(data) is None), 0, None, 100)


def test_what_is_refused_is_not_served(tmp_path: Path):
    context = make_archive(tmp_path)
    for data in every_hundredth_refused():
        (tmp_path / BUNDLE_FILE).write_bytes(data)
        service = FireHandler()
        with pytest.raises(BundleError):
            service.initialize(context)
        assert service.fire_bundle is None
        assert not service.model._forward_hooks
