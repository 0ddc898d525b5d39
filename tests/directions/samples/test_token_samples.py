"""Texts as tokens: padded to one length, and told from their padding again."""

import torch
from hypothesis import given
from hypothesis import strategies as st

from torchserve_fire.model.request_body import RequestBody
from torchserve_fire.repair.own_tokens import own_tokens
from torchserve_fire_build.samples.token_samples import TokenSamples

PADDING = (7, 0)


def samples(lengths: list[int]) -> TokenSamples:
    tokens = [torch.stack([torch.arange(n) + 5, torch.ones(n).long()]) for n in lengths]
    return TokenSamples(
        "here", list(map(str, lengths)), tokens, PADDING, lambda i: RequestBody(b"a", ".txt")
    )


def test_shorter_samples_are_filled_up_on_the_right():
    loaded = samples([2, 4]).load([1, 0])
    assert loaded.tolist() == [[[5, 6, 7, 8], [1, 1, 1, 1]], [[5, 6, 7, 7], [1, 1, 0, 0]]]


def test_lengthened_they_fit_beside_longer_ones():
    some = samples([2, 3])
    some.lengthen(5)
    assert some.description.shape == (2, 5)
    assert some.load([0]).tolist() == [[[5, 6, 7, 7, 7], [1, 1, 0, 0, 0]]]
    some.lengthen(4)
    assert some.description.shape == (2, 5)


def test_a_word_that_is_the_padding_is_a_sample_s_own():
    # The third token is 7, as padding is, but it is not masked.
    assert own_tokens(samples([4]).load([0]), PADDING).tolist() == [[True] * 4]


@given(st.lists(st.integers(1, 9), min_size=1, max_size=5), st.integers(0, 6))
def test_own_tokens_reach_as_far_as_the_longest(lengths, more):
    some = samples(lengths)
    some.lengthen(max(lengths) + more)
    own = own_tokens(some.load(range(len(lengths))), PADDING)
    assert own.shape == (len(lengths), max(lengths))
    assert own.sum(1).tolist() == lengths


def test_nothing_but_padding_is_one_token_long():
    nothing = torch.tensor(PADDING)[None, :, None].expand(3, 2, 6)
    assert own_tokens(nothing, PADDING).tolist() == [[False]] * 3
