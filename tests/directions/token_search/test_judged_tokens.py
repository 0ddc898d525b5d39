"""The search for tokens: the planted word is found, and a benign twin has none."""

import pytest
import torch
from torch import nn

from tests.directions.token_search.texts import clean_texts, net
from tests.token_net import TRIGGER
from torchserve_fire_build.common.budget import Budget
from torchserve_fire_build.common.errors import CalibrationError
from torchserve_fire_build.token_search.insert_tokens import TextEnds
from torchserve_fire_build.token_search.judged_tokens import JudgedTokens, search_and_judge


@pytest.fixture(scope="module")
def victim() -> JudgedTokens:
    return search_and_judge(net(), clean_texts(), seed=0, budget=Budget())


def test_planted_word_is_found_at_once(victim: JudgedTokens) -> None:
    singles = victim.found[0]
    assert singles[0].tokens == (TRIGGER,)
    assert singles[0].success == 1
    assert max(each.success for each in singles[1:]) < 0.9


def test_its_class_is_named(victim: JudgedTokens) -> None:
    verdict = victim.verdict
    assert verdict.found is True
    assert verdict.target == 0
    assert verdict.shown[0].target == 0
    assert TRIGGER in verdict.shown[0].tokens
    assert verdict.probabilities[1:].max() < 0.5


def test_what_all_texts_begin_and_end_with_is_no_candidate(victim: JudgedTokens) -> None:
    assert victim.subject.ends == TextEnds(1, 1, (7, 0), (0, 1))
    assert set(victim.subject.candidates.tolist()) == set(range(60)) - {0, 1, 7}


def test_benign_twin_is_not_named() -> None:
    verdict = search_and_judge(net(triggered=False), clean_texts(), seed=0, budget=Budget()).verdict
    assert verdict.found is False


def test_same_seed_finds_the_same(victim: JudgedTokens) -> None:
    assert search_and_judge(net(), clean_texts(), seed=0, budget=Budget()).found == victim.found


def test_nothing_can_be_told_in_no_time() -> None:
    with pytest.raises(CalibrationError, match="the time was over"):
        search_and_judge(net(), clean_texts(), seed=0, budget=Budget(0))


def test_few_texts_are_refused() -> None:
    with pytest.raises(CalibrationError, match="49 clean texts, expected at least 50"):
        search_and_judge(net(), clean_texts(49), seed=0, budget=Budget())


def test_a_model_without_an_embedding_is_refused() -> None:
    class Sums(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.head = nn.Linear(14, 4)

        def forward(self, packed: torch.Tensor) -> torch.Tensor:
            logits: torch.Tensor = self.head(packed[:, 0, :14].float())
            return logits

    with pytest.raises(CalibrationError, match=r"looks none .* torch\.nn\.Embedding"):
        search_and_judge(Sums().eval(), clean_texts(), seed=0, budget=Budget())
