"""Thousands of bundles that something was done to: refused in one line, or as good as they say."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from functools import partial
from itertools import chain, islice
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from tests.handler.archive import make_archive
from tests.handler.bundles import content_of, overlay_bundle, small_bundle
from tests.handler.forged_bundles import (
    cascade_bundle,
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

BUNDLES = {
    "vectors": vector_bundle,
    "two repairs": cascade_bundle,
    "five forms": small_bundle,
    "overlay": overlay_bundle,
}
FORGERIES = {"fields": forged_fields, "tensors": forged_tensors, "layers": forged_layers}
DAMAGES = {"headers": forged_headers, "bytes": partial(damaged, count=1000)}
COUNTS = {
    ("vectors", "fields"): 1692,
    ("vectors", "tensors"): 78,
    ("vectors", "layers"): 60,
    ("vectors", "headers"): 142,
    ("vectors", "bytes"): 1000,
    ("two repairs", "fields"): 2088,
    ("two repairs", "tensors"): 106,
    ("two repairs", "layers"): 106,
    # Each of its fields is forged in test_bundle_file.py.
    ("five forms", "tensors"): 196,
    ("five forms", "layers"): 234,
    ("five forms", "headers"): 358,
    ("five forms", "bytes"): 1000,
    ("overlay", "fields"): 2520,
    ("overlay", "tensors"): 228,
    ("overlay", "layers"): 60,
    ("overlay", "headers"): 422,
    ("overlay", "bytes"): 1000,
}
"""How many there are of each; the tests count them."""

ATTACHED = {
    ("vectors", "fields"): (136, 18),
    ("vectors", "tensors"): (30, 0),
    ("vectors", "layers"): (18, 2),
    ("two repairs", "fields"): (129, 27),
    ("two repairs", "tensors"): (41, 1),
    ("two repairs", "layers"): (28, 4),
    ("overlay", "fields"): (190, 9),
    ("overlay", "tensors"): (77, 0),
    ("overlay", "layers"): (19, 1),
}
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


def flagged_by_each(
    repairs: Sequence[Repair], plain: Tensor, features: dict[str, Tensor]
) -> list[Tensor]:
    """What each repair flags; what one of them cannot judge is flagged by one at least."""
    every = torch.ones(len(INPUTS), dtype=torch.bool)
    flags, may, finite = [], [], every
    for repair in repairs:
        layer = repair.detecting_layer
        if layer is None or layer.detection is None:
            return [every]
        scores = (features[layer.name] * layer.detection.weight).sum(1)
        may.append(plain.argmax(1) == repair.target if repair.only_target else every)
        flags.append(may[-1] & ((scores > layer.detection.threshold) | ~scores.isfinite()))
        finite = finite & scores.isfinite()
    for i in (~finite & ~torch.stack(flags).any(0)).nonzero().flatten().tolist():
        flags[next((j for j, one in enumerate(may) if one[i]), 0)][i] = True
    return flags


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
        expected, done = plain.clone(), moved.clone()
        each = flagged_by_each(bundle.repairs, plain, features)
        for repair, flagged in zip(bundle.repairs, each, strict=True):
            mine = flagged & ~done
            expected[mine] = forward(model, repair)[0][mine]
            # What is still predicted as the target goes through the next repair that flags it.
            still = repair.only_target & (expected.argmax(1) == repair.target)
            moved, done = moved | flagged, done | (mine & ~still)
        assert torch.allclose(answers, expected, rtol=1e-3, atol=1e-4, equal_nan=True)
        assert torch.equal(verdict, moved)
        assert torch.equal(answers[~moved], plain[~moved])
        assert torch.equal(model(INPUTS), plain)
    assert all(torch.equal(value, weights[key]) for key, value in model.state_dict().items())
    return True


class MapNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first = nn.Conv2d(2, 2, 1)
        self.head = nn.Linear(32, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.first(x).flatten(1))


MAPS = 2 * torch.randn(16, 2, 4, 4, generator=torch.Generator().manual_seed(1))


def check_attached_to_maps(bundle: Bundle) -> bool:
    """Attach a bundle to a model of maps, where it can be; see that it changes what it flags."""
    model = MapNet().eval()
    with torch.no_grad():
        plain = model(MAPS)
        try:
            handle = attach_layers(model, bundle.layers, MAPS[:1], target=bundle.target)
        except AttachError:
            assert torch.equal(model(MAPS), plain)
            return False
        with handle:
            answers, flagged = model(MAPS), handle.verdict.flagged
        assert torch.equal(answers[~flagged], plain[~flagged])
        # So large a strength leaves the range of float32.
        far = any(layer.correction.strength > 1e38 for layer in bundle.repairing_layers)
        assert far or answers.isfinite().all()
        assert torch.equal(model(MAPS), plain)
    return True


CHECKS = {
    "vectors": check_attached,
    "two repairs": check_attached,
    "overlay": check_attached_to_maps,
}


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
@pytest.mark.slow
def test_a_forged_file_is_refused_or_taken_at_its_word(of: str, kind: str):
    count = 0
    attached = []
    for count, data in enumerate(FORGERIES[kind](BUNDLES[of]()), 1):  # noqa: B007
        found = read(data)
        if found is not None:
            assert read(file_with(found)) is not None
            if of in CHECKS:
                attached.append(CHECKS[of](found))
    assert count == COUNTS[of, kind]
    if of in CHECKS:
        assert (attached.count(True), attached.count(False)) == ATTACHED[of, kind]


def test_there_are_thousands():
    assert sum(COUNTS.values()) == 11290


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
