"""Triggers to build from: the tokens that were found, in clean texts."""

import pytest
import torch

from tests.directions.token_search.texts import clean_texts, net
from tests.token_net import TRIGGER
from torchserve_fire_build.common.budget import Budget
from torchserve_fire_build.common.errors import NoTriggerError
from torchserve_fire_build.samples.predict import predicted_classes
from torchserve_fire_build.token_search.reconstruct_tokens import find_token_triggers


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
