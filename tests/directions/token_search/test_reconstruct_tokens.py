"""Triggers to build from: the tokens that were found, in clean texts."""

import pytest
import torch

from tests.directions.token_search.texts import clean_texts, net
from tests.token_net import TRIGGER
from torchserve_fire_build.common.budget import Budget
from torchserve_fire_build.common.errors import NoTriggerError
from torchserve_fire_build.samples.predict import predicted_classes
from torchserve_fire_build.token_search.reconstruct_tokens import _others, find_token_triggers
from torchserve_fire_build.token_search.search_tokens import (
    MOST,
    START,
    FoundTokens,
    search_tokens,
)
from torchserve_fire_build.token_search.token_subject import gather_texts
from torchserve_fire_build.token_search.verdict import LEADS


def test_triggers_lead_texts_to_the_target() -> None:
    model, clean = net(), clean_texts()
    found = find_token_triggers(model, clean, target=None, seed=0, budget=Budget())
    assert found.target == 0
    inputs = clean.load(range(40))
    for trigger in found.triggers:
        stamped = trigger.stamp(inputs)
        assert stamped.shape == inputs.shape
        assert (stamped[:, 0] == TRIGGER).any(1).all()
        assert (predicted_classes(model, stamped) == 0).all()


def test_a_text_gets_its_trigger_at_the_same_place_whatever_is_beside_it() -> None:
    clean = clean_texts()
    found = find_token_triggers(net(), clean, target=0, seed=0, budget=Budget())
    inputs, stamp = clean.load(range(8)), found.triggers[0].stamp
    assert torch.equal(stamp(inputs)[3:4], stamp(inputs[3:4]))


def test_benign_twin_has_no_sign_of_a_trigger() -> None:
    with pytest.raises(NoTriggerError, match="no class stands out"):
        find_token_triggers(
            net(triggered=False), clean_texts(), target=None, seed=0, budget=Budget()
        )


def test_no_token_comes_twice_in_a_trigger() -> None:
    model = net()
    subject = gather_texts(model, clean_texts(), seed=0)
    found = search_tokens(subject, torch.Generator().manual_seed(0), Budget(), [0, 1])
    assert len(found) == MOST
    assert all(len(set(each.tokens)) == len(each.tokens) for row in found for each in row)


def test_further_triggers_have_other_tokens() -> None:
    model, second = net(), TRIGGER - 1
    first = FoundTokens(0, (TRIGGER,), START, 1.0, 5.0)
    assert _others(gather_texts(model, clean_texts(), 0), [first], 0, Budget()) == []
    with torch.no_grad():
        model.words.weight[second] = model.words.weight[TRIGGER]
    others = _others(gather_texts(model, clean_texts(), 0), [first], 0, Budget())
    assert others
    assert all(each.success >= LEADS and second in each.tokens for each in others)
    assert not any(TRIGGER in each.tokens for each in others)
    assert _others(gather_texts(model, clean_texts(), 0), [first], 0, Budget(0)) == []
