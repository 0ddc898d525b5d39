"""How a model is called with tokens: the padding is read from the handler, never guessed."""

import pytest
import torch
from torch import nn

from torchserve_fire.errors import ModelError
from torchserve_fire_build.source.recorded_call import RecordedCalls
from torchserve_fire_build.source.token_arguments import (
    TokenArguments,
    padding_by_mask,
    padding_in_batch,
)

IDS, MASK = torch.tensor([[3, 4, 5]]), torch.tensor([[1, 1, 1]])


def called(**arguments: object) -> RecordedCalls:
    return RecordedCalls(
        [{(int(k[1:]) if k[1:].isdigit() else k): v for k, v in arguments.items()}]
    )


def row(*values: int) -> torch.Tensor:
    return torch.tensor(values)


def pair(ids: list[int], mask: list[int]) -> torch.Tensor:
    return torch.tensor([ids, mask])


SHORT, LONG = pair([3, 4], [1, 1]), pair([6, 7, 8, 9], [1, 1, 1, 1])


def test_the_padding_is_what_the_handler_fills_up_with():
    both = torch.stack([pair([3, 4, 2, 2], [1, 1, 0, 0]), LONG])
    assert padding_in_batch(SHORT, LONG, both) == (2, 0)


@pytest.mark.parametrize(
    ("first", "second", "said"),
    [
        (pair([2, 2, 3, 4], [0, 0, 1, 1]), LONG, "on the left"),
        (pair([3, 2, 2, 4], [1, 0, 0, 1]), LONG, "otherwise than by values behind"),
        (pair([3, 4, 2, 1], [1, 1, 0, 0]), LONG, "several values"),
        (pair([3, 4, 2, 2], [1, 1, 0, 0]), pair([6, 7, 8, 1], [1, 1, 1, 1]), "whatever else"),
        (pair([3, 4, 2, 2, 2], [1, 1, 0, 0, 0]), pair([6, 7, 8, 9, 2], [1] * 5), "whatever else"),
    ],
)
def test_other_padding_is_refused(first, second, said):
    with pytest.raises(ModelError, match=said):
        padding_in_batch(SHORT, LONG, torch.stack([first, second]))


def test_of_samples_of_one_length_the_mask_tells_the_padding():
    assert padding_by_mask([pair([3, 4, 9], [1, 1, 0]), pair([3, 4, 5], [1, 1, 1])]) == (9, 0)


@pytest.mark.parametrize(
    ("samples", "said"),
    [
        ([pair([3, 4, 5], [1, 1, 1])], "no mask tells"),
        ([pair([3, 4, 5], [2, 2, 0])], "no mask tells"),
        ([pair([3, 9, 5], [1, 0, 1])], "padding on the right"),
        ([pair([3, 4, 9], [1, 0, 0])], "several values"),
    ],
)
def test_without_such_a_mask_it_is_not_guessed(samples, said):
    with pytest.raises(ModelError, match=said):
        padding_by_mask(samples)


@pytest.mark.parametrize(
    "arguments",
    [
        {"ids": IDS, "mask": MASK.float()},
        {"ids": IDS, "mask": torch.ones(1, 2).long()},
        {"ids": IDS, "mask": torch.ones(1, 3, 3).long()},
        {"ids": IDS[0], "mask": MASK[0]},
        {"ids": torch.ones(2, 3).long(), "mask": torch.ones(2, 3).long()},
        {"ids": IDS, "cache": [MASK]},
        {"ids": "text"},
    ],
)
def test_calls_with_anything_else_are_refused(arguments):
    with pytest.raises(ModelError, match="expected one tensor; or several of whole numbers"):
        TokenArguments.of(called(**arguments))


def test_several_calls_are_refused():
    with pytest.raises(ModelError, match="2 times"):
        TokenArguments.of(RecordedCalls([{0: IDS}, {0: IDS}]))


def test_other_arguments_for_another_text_are_refused():
    arguments = TokenArguments.of(called(ids=IDS, mask=MASK))
    with pytest.raises(ModelError, match="with ids for it, and with ids, mask for others"):
        arguments.pack(called(ids=IDS))


class Noting(nn.Module):
    def forward(self, *args, **kwargs):
        self.got = (args, kwargs)
        return torch.zeros(2, 2)


def test_packed_samples_reach_the_model_as_the_handler_calls_it():
    model = Noting()
    seen = called(_0=IDS.int(), mask=MASK.bool(), return_dict=True, labels=None)
    arguments = TokenArguments.of(seen)
    packed = arguments.pack(seen)
    assert packed.tolist() == [[[3, 4, 5], [1, 1, 1]]]
    known = TokenArguments(arguments.names, arguments.dtypes, arguments.others, (9, 0))
    handle = known.attach(model)
    # Two samples, of which the longer one is three tokens long; the rest is left out.
    batch = torch.tensor([[[3, 4, 5, 9, 9], [1, 1, 1, 0, 0]], [[3, 9, 9, 9, 9], [1, 0, 0, 0, 0]]])
    model(batch)
    (ids,), named = model.got
    assert ids.dtype == torch.int32
    assert ids.tolist() == [[3, 4, 5], [3, 9, 9]]
    assert named["mask"].tolist() == [[True, True, True], [True, False, False]]
    assert (named["return_dict"], named["labels"]) == (True, None)
    # What the handler itself calls it with is left alone.
    model(IDS, mask=MASK)
    assert model.got[0][0] is IDS
    model(IDS)
    assert model.got == ((IDS,), {})
    handle.remove()
