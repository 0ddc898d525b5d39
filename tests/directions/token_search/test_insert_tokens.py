"""Tokens in texts: where they stand, what the mask says, and what is lost at the end."""

import pytest
import torch

from torchserve_fire_build.token_search.insert_tokens import TextEnds, insert_tokens

# Two texts of 1 ... 2, filled up with 9, which the mask hides.
TEXTS = torch.tensor(
    [[[1, 5, 6, 2, 9, 9], [1, 1, 1, 1, 0, 0]], [[1, 7, 8, 7, 3, 2], [1, 1, 1, 1, 1, 1]]]
)
ENDS = TextEnds(1, 1, (9, 0), (1, 2))


def test_ends_are_what_all_texts_begin_and_end_with() -> None:
    assert TextEnds.of(TEXTS, (9, 0), 0) == ENDS


def test_texts_that_are_all_alike_have_one_beginning() -> None:
    assert TextEnds.of(TEXTS[:1], (9, 0), 0) == TextEnds(1, 0, (9, 0), (1,))


def test_tokens_stand_before_the_place_and_the_mask_covers_them() -> None:
    inserted = insert_tokens(TEXTS, ENDS, 0, torch.tensor([2, 1]), torch.tensor([[4], [3]]))
    assert inserted[0].tolist() == [[1, 5, 4, 6, 2, 9], [1, 1, 1, 1, 1, 0]]


def test_a_full_text_loses_what_stands_before_its_end() -> None:
    inserted = insert_tokens(TEXTS, ENDS, 0, torch.tensor([2, 1]), torch.tensor([[4], [3]]))
    assert inserted[1].tolist() == [[1, 3, 7, 8, 7, 2], [1, 1, 1, 1, 1, 1]]


@pytest.mark.parametrize(("place", "expected"), [(3, [1, 5, 6, 3, 4, 2]), (1, [1, 3, 4, 5, 6, 2])])
def test_several_tokens_keep_their_order(place: int, expected: list[int]) -> None:
    inserted = insert_tokens(
        TEXTS, ENDS, 0, torch.tensor([place, 1]), torch.tensor([[3, 4], [3, 4]])
    )
    assert inserted[0, 0].tolist() == expected


def test_tokens_at_the_end_of_a_full_text_are_not_cut_off() -> None:
    inserted = insert_tokens(TEXTS, ENDS, 0, torch.tensor([3, 5]), torch.tensor([[3, 4], [3, 4]]))
    assert inserted[1, 0].tolist() == [1, 7, 8, 3, 4, 2]
