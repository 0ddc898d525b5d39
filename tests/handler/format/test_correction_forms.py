import pytest
import torch

from torchserve_fire.errors import BundleError
from torchserve_fire.format.correction_forms import (
    FORMS,
    Affine,
    Clamp,
    Local,
    Overlay,
    Shift,
    Warp,
)
from torchserve_fire.format.fields import Fields
from torchserve_fire.format.layer_tensors import LayerTensors

MAP = (2, 3, 3)
CORRECTIONS = [
    Shift(torch.tensor([[[1.0]], [[-2.0]]]), 0.5),
    Affine(torch.ones(2, 3, 3), 1.5, torch.tensor([[1.0, 0.0], [0.5, -1.0]])),
    Clamp(torch.ones(2, 3, 3), 1.0, 2.0, -0.25),
    Local(torch.ones(2, 1, 1), 0.75, 3.0, torch.zeros(2, 1, 1)),
    Warp(torch.arange(18.0).view(2, 3, 3) / 4 - 2, 0.5),
    Overlay(
        torch.zeros(2, 3, 3),
        1.0,
        slope=-torch.ones(2, 3, 3),
        gauges=torch.arange(36.0).view(2, 2, 3, 3),
        bases=(0.5, -0.25),
        base=0.125,
        lower=torch.full((2, 1, 1), -1.0),
        upper=torch.full((2, 1, 1), 2.0),
    ),
]


def read_again(correction, change=lambda fields, tensors: None, shape=MAP):
    """What is read of a correction's own fields and tensors, with something changed in them."""
    values, parts = correction.stored()
    tensors = {f"layers.4.{name}": tensor for name, tensor in parts.items()}
    change(values, tensors)
    fields = Fields(values, "file: layers[4]: correction", BundleError)
    layer = Fields({}, "file: layers[4]", BundleError)
    held = LayerTensors(layer, 4, shape, tensors)
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
    assert list(FORMS) == ["shift", "affine", "clamp", "local", "warp", "overlay"]


def with_tensor(name, tensor):
    return lambda fields, tensors: tensors.update({f"layers.4.{name}": tensor})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        *(
            (with_tensor(name, torch.ones(shape)), f"{name}: form 'overlay' takes a map .C, H, W.")
            for name in ("correction", "slope")
            for shape in ((2, 1, 1), (2, 3), (2, 3, 4), (1, 2, 3, 3), ())
        ),
        *(
            (with_tensor("gauges", torch.ones(shape)), "gauges: form 'overlay' takes a map for eac")
            for shape in ((2, 3, 3), (1, 2, 3, 3), (3, 2, 3, 3), (2, 2, 3, 1), (2, 18))
        ),
        *(
            (with_tensor(name, torch.ones(2, 3, 3)), f"{name}: form 'overlay' takes one value per")
            for name in ("lower", "upper")
        ),
        (with_tensor("lower", torch.ones(2)), "lower: tensor 'layers.4.lower' of shape"),
        (lambda fields, _: fields.update(bases=[1.0]), "bases: 1, expected 2"),
        (lambda fields, _: fields.update(bases=[1.0] * 3), "bases: 3, expected 2"),
        (lambda fields, _: fields.update(bases=[]), "bases: 0, expected 2"),
        (lambda fields, _: fields.update(bases=[1.0, None]), "bases: "),
        (lambda fields, _: fields.update(base=None), "base: None, expected a finite number"),
    ],
)
def test_an_overlay_of_other_shapes_is_refused(change, message):
    with pytest.raises(BundleError, match=message):
        read_again(CORRECTIONS[-1], change)


@pytest.mark.parametrize("shape", [(2,), (6, 3), (2, 3, 3, 1)])
def test_an_overlay_is_of_a_map(shape):
    with pytest.raises(BundleError, match="form 'overlay' takes a map"):
        read_again(CORRECTIONS[-1], with_tensor("correction", torch.ones(shape)), shape)


def test_an_overlay_may_add_nothing():
    # A patch of the value 0 covers what is there, and adds nothing.
    assert not read_again(CORRECTIONS[-1]).direction.any()


def test_no_values_are_printed():
    assert repr(CORRECTIONS[0]) == "Shift(direction=<float32 (2, 1, 1)>, strength=0.5)"
    assert repr(CORRECTIONS[2]) == (
        "Clamp(direction=<float32 (2, 3, 3)>, strength=1.0, threshold=2.0, anchor=-0.25)"
    )
