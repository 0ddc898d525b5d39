import pytest
import torch

from torchserve_fire.errors import BundleError
from torchserve_fire.format.correction_forms import FORMS, Affine, Clamp, Local, Shift
from torchserve_fire.format.fields import Fields
from torchserve_fire.format.layer_tensors import LayerTensors

MAP = (2, 3, 3)
CORRECTIONS = [
    Shift(torch.tensor([[[1.0]], [[-2.0]]]), 0.5),
    Affine(torch.ones(2, 3, 3), 1.5, torch.tensor([[1.0, 0.0], [0.5, -1.0]])),
    Clamp(torch.ones(2, 3, 3), 1.0, 2.0, -0.25),
    Local(torch.ones(2, 1, 1), 0.75, 3.0, torch.zeros(2, 1, 1)),
]


def read_again(correction, change=lambda fields, tensors: None):
    """What is read of a correction's own fields and tensors, with something changed in them."""
    values, parts = correction.stored()
    tensors = {f"layers.4.{name}": tensor for name, tensor in parts.items()}
    change(values, tensors)
    fields = Fields(values, "file: layers[4]: correction", BundleError)
    layer = Fields({}, "file: layers[4]", BundleError)
    held = LayerTensors(layer, 4, MAP, tensors)
    read = FORMS[correction.form].read(fields, held, "correction")
    fields.finish()
    assert not tensors
    return read


@pytest.mark.parametrize("correction", CORRECTIONS, ids=lambda one: one.form)
def test_a_form_reads_what_it_stores(correction):
    read = read_again(correction)
    assert type(read) is type(correction)
    for name, value in vars(correction).items():
        if isinstance(value, torch.Tensor):
            assert torch.equal(getattr(read, name), value)
        else:
            assert getattr(read, name) == value


@pytest.mark.parametrize("correction", CORRECTIONS, ids=lambda one: one.form)
def test_every_field_and_tensor_that_a_form_stores_is_needed(correction):
    values, parts = correction.stored()
    for name in values:
        with pytest.raises(BundleError, match=f"correction: {name}: missing"):
            read_again(correction, lambda fields, _, name=name: fields.pop(name))
    for name in parts:
        with pytest.raises(BundleError, match=f"'layers.4.{name}' is missing"):
            read_again(correction, lambda _, held, name=name: held.pop(f"layers.4.{name}"))


@pytest.mark.parametrize("correction", CORRECTIONS, ids=lambda one: one.form)
@pytest.mark.parametrize("strength", [0, -1.0])
def test_no_form_moves_backwards(correction, strength):
    with pytest.raises(BundleError, match=r"strength: .*, expected above 0"):
        read_again(correction, lambda fields, _: fields.update(strength=strength))


def test_a_form_is_found_by_its_name():
    assert [FORMS[one.form] for one in CORRECTIONS] == [type(one) for one in CORRECTIONS]
    assert list(FORMS) == ["shift", "affine", "clamp", "local"]


def test_no_values_are_printed():
    assert repr(CORRECTIONS[0]) == "Shift(direction=<float32 (2, 1, 1)>, strength=0.5)"
    assert repr(CORRECTIONS[2]) == (
        "Clamp(direction=<float32 (2, 3, 3)>, strength=1.0, threshold=2.0, anchor=-0.25)"
    )
