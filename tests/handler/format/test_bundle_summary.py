from dataclasses import replace

import torch

from tests.handler.bundles import small_bundle
from torchserve_fire.format.bundle import Detection, Layer, with_digest
from torchserve_fire.format.correction_forms import Shift


def many_layers(count):
    layer = Layer("a", (2,), correction=Shift(torch.ones(2), 1.0))
    return replace(small_bundle(), layers=tuple(replace(layer, name=f"l{i}") for i in range(count)))


def test_a_bundle_says_in_a_few_lines_what_it_does():
    assert repr(small_bundle()).splitlines() == [
        "Bundle for Net, target 2, not saved",
        "  late, detects",
        "  early, repairs, shift, strength 1",
        "  middle, repairs, clamp, strength 0.5",
        "  places, repairs, local, strength 1",
        "  mixed, repairs, affine, strength 1",
    ]
    assert "sha256 abcabcabcabc...\n" in repr(with_digest(small_bundle(), "abc" * 20))


def test_each_target_is_named():
    only = Detection(torch.ones(2), 1.0, only_target=True)
    layers = [Layer("a", (2,), only, Shift(torch.ones(2), 0.25), target=t) for t in (4, 2)]
    shown = repr(replace(small_bundle(), layers=tuple(layers), target=4))
    assert shown.startswith("Bundle for Net, target 4, 2, ")
    assert "  a, both, shift, strength 0.25, target 2" in shown


def test_a_large_bundle_fits_on_a_screen():
    for shown in (repr(many_layers(1000)), many_layers(1000)._repr_html_()):
        assert "and 980 more" in shown
        assert len(shown) < 3000
    assert "more" not in repr(many_layers(20))
    assert len(repr(many_layers(1000)).splitlines()) == 22


def test_a_notebook_gets_a_table_in_which_names_are_only_text():
    bundle = replace(small_bundle(), model_class="<script>")
    shown = bundle._repr_html_()
    assert shown.count("<tr>") == 6
    assert shown.count("<th>") == 5
    assert "<td>late</td><td>detects</td>" in shown
    assert "&lt;script&gt;" in shown
    assert "<script>" not in shown


def test_the_layers_tensors_are_not_printed():
    layer = small_bundle().layers[0]
    assert "weight=<float32 (3,)>" in repr(layer)
    assert "tensor(" not in repr(small_bundle().layers)
