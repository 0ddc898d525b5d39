from pathlib import Path

import pytest
import torch
from torch import nn

from torchserve_fire.errors import ModelError
from torchserve_fire.model.checkpoint import Checkpoint
from torchserve_fire.model.fitting_weights import NoFitError, load_fitting

WEIGHTS = {"fc.weight": torch.arange(6.0).reshape(2, 3), "fc.bias": torch.ones(2)}
OTHERS = {name: -value for name, value in WEIGHTS.items()}


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(3, 2)


def named(prefix, weights=WEIGHTS):
    return {prefix + name: value for name, value in weights.items()}


def load(dictionaries, model=None):
    model = Net() if model is None else model
    fitting, line = load_fitting(model, Checkpoint(Path("w.pth"), dictionaries))
    return fitting, model.state_dict(), line


def has_weights(state, weights=WEIGHTS):
    return all(torch.equal(state[name], value) for name, value in weights.items())


@pytest.mark.parametrize(
    "prefix",
    ["", "module.", "_orig_mod.", "model.", "net.", "module._orig_mod.", "learner.backbone.0."],
)
def test_one_prefix_is_taken_off(prefix):
    fitting, state, line = load({"": named(prefix)})
    assert has_weights(state)
    assert fitting.prefix == prefix
    assert list(fitting.tensors) == list(WEIGHTS)
    assert line == (f"w.pth: the weights are with the prefix {prefix!r}" if prefix else "")


@pytest.mark.parametrize("key", ["['net']", "['state_dict']", "['a']['b']"])
def test_the_one_dictionary_that_fits_is_taken(key):
    others = {"['head']": {"weight": torch.ones(2)}, "['optimizer']": {"exp_avg": torch.ones(1)}}
    fitting, state, line = load(others | {key: WEIGHTS})
    assert has_weights(state)
    assert fitting.key == key
    assert line == f"w.pth: the weights are {key}"


def test_what_differs_is_refused():
    with pytest.raises(ModelError, match=r"\['a'\] and \['b'\] fit the model and differ") as raised:
        load({"['a']": WEIGHTS, "['b']": OTHERS})
    assert not isinstance(raised.value, NoFitError)


def test_what_is_the_same_is_taken():
    _, state, line = load({"['a']": WEIGHTS, "['b']": dict(WEIGHTS)})
    assert has_weights(state)
    assert line == "w.pth: the weights are ['a']"


@pytest.mark.parametrize("key", ["['state_dict_ema']", "['ema']", "['model_ema']['module']"])
def test_an_average_is_passed_over_for_the_plain_weights(key):
    for dictionaries in (
        {key: OTHERS, "['state_dict']": WEIGHTS},
        {"['state_dict']": WEIGHTS, key: OTHERS},
    ):
        _, state, line = load(dictionaries)
        assert has_weights(state)
        assert line == f"w.pth: the weights are ['state_dict']; not their average {key}"


def test_an_average_alone_is_taken():
    _, state, line = load({"['ema']": OTHERS})
    assert has_weights(state, OTHERS)
    assert line == "w.pth: the weights are ['ema']"


def test_two_averages_that_differ_are_refused():
    with pytest.raises(ModelError, match="fit the model and differ"):
        load({"['ema']": WEIGHTS, "['swa']": OTHERS})


def test_weights_and_their_average_in_one_dictionary():
    fitting, state, _ = load({"": named("model.") | named("ema_model.", OTHERS)})
    assert has_weights(state)
    assert fitting.prefix == "model."


def test_the_count_of_an_averaged_model_is_no_layer():
    _, state, _ = load({"": {"n_averaged": torch.tensor(5)} | named("module.")})
    assert has_weights(state)


def test_a_part_of_other_weights_is_no_fit():
    with pytest.raises(NoFitError, match=r"have 'head.weight' and 1 more without that prefix"):
        load({"": named("body.") | {"head.weight": torch.ones(2), "head.bias": torch.ones(1)}})


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ({"fc.weight": WEIGHTS["fc.weight"]}, "the weights lack 'fc.bias'"),
        (named("") | {"x": torch.ones(1)}, "the weights have 'x', which the class has not"),
        (
            {"fc.weight": torch.ones(5, 3), "fc.bias": torch.ones(2)},
            "the weights have 'fc.weight' in shape (5, 3), in the class (2, 3)",
        ),
        (
            {"weight": WEIGHTS["fc.weight"], "bias": WEIGHTS["fc.bias"]},
            "the weights lack 'fc.', which is before all names in the class",
        ),
        (
            {"a": torch.ones(1), "b": torch.ones(1)},
            "the weights lack 'fc.weight' and 1 more, have 'a' and 1 more, which the class has not",
        ),
    ],
)
def test_what_does_not_fit_is_named(weights, message):
    with pytest.raises(NoFitError) as raised:
        load({"": weights})
    assert str(raised.value) == message


def test_the_dictionary_that_comes_nearest_is_named():
    with pytest.raises(NoFitError) as raised:
        load({"['opt']": {"a": torch.ones(1)}, "['net']": {"fc.weight": WEIGHTS["fc.weight"]}})
    assert str(raised.value) == "the weights ['net'] lack 'fc.bias'"


def test_statistics_that_an_old_torch_has_not_counted():
    norm = nn.Sequential(nn.BatchNorm1d(2))
    old = {k: v for k, v in norm.state_dict().items() if not k.endswith("num_batches_tracked")}
    _, state, _ = load({"": named("module.", old)}, nn.Sequential(nn.BatchNorm1d(2)))
    assert has_weights(state, old)
