import hashlib

import pytest
import torch
from torch import nn

from torchserve_fire.errors import ModelError
from torchserve_fire.model.state_digest import state_digest


class Held(nn.Module):
    """Holds tensors under the names that it is given."""

    def __init__(self, **tensors):
        super().__init__()
        for name, tensor in tensors.items():
            self.register_buffer(name, tensor)


def linear(seed=0):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2))


def test_it_is_the_hash_of_what_it_says():
    value = torch.tensor([1.0, -2.0])
    expected = hashlib.sha256(b'["a", "torch.float32", [2]]\n' + value.numpy().tobytes())
    expected.update(b'["b", "torch.int64", []]\n' + (7).to_bytes(8, "little"))
    assert state_digest(Held(b=torch.tensor(7), a=value)) == expected.hexdigest()


def test_equal_weights_give_the_same_digest_wherever_they_are_held():
    model = linear()
    copy = linear(seed=1)
    copy.load_state_dict(model.state_dict())
    assert state_digest(copy) == state_digest(model)
    turned = Held(w=torch.arange(6.0).view(2, 3).t().contiguous().t())
    assert state_digest(turned) == state_digest(Held(w=torch.arange(6.0).view(2, 3)))
    assert state_digest(torch.compile(model, backend="eager")) == state_digest(model)


def test_any_change_gives_another():
    digests = {state_digest(linear()), state_digest(linear(seed=1)), state_digest(linear().half())}
    nudged = linear()
    with torch.no_grad():
        nudged[0].weight[0, 0] = nudged[0].weight[0, 0].nextafter(torch.tensor(9.0))
    digests.add(state_digest(nudged))
    averaged = linear()
    averaged[1].running_mean[1] = 0.5
    digests.add(state_digest(averaged))
    assert len(digests) == 5


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"a": torch.zeros(2, 3)}, {"a": torch.zeros(3, 2)}),
        ({"a": torch.zeros(4)}, {"a": torch.zeros(4, dtype=torch.int32)}),
        ({"a": torch.zeros(1)}, {"b": torch.zeros(1)}),
        ({"a": torch.ones(1), "b": torch.zeros(1)}, {"a": torch.zeros(1), "b": torch.ones(1)}),
        ({"a": torch.zeros(2)}, {"a": torch.zeros(1), "b": torch.zeros(1)}),
        ({"a": torch.zeros(0)}, {}),
    ],
)
def test_names_shapes_and_dtypes_count(one, other):
    assert state_digest(Held(**one)) != state_digest(Held(**other))


def test_every_dtype_has_bytes():
    for dtype in (torch.bool, torch.float16, torch.bfloat16, torch.complex64, torch.float8_e4m3fn):
        assert len(state_digest(Held(a=torch.ones(3).to(dtype)))) == 64


def test_what_has_no_digest_is_refused():
    class Extra(nn.Linear):
        def get_extra_state(self):
            return {"scale": 2}

    with pytest.raises(ModelError, match="state_dict: _extra_state: dict, expected tensors only"):
        state_digest(Extra(1, 1))
    for lacking in (torch.zeros(2, device="meta"), torch.ones(2, 2).to_sparse()):
        with pytest.raises(ModelError, match="state_dict: a: its bytes cannot be read: "):
            state_digest(Held(a=lacking))
