"""The verdict: how far a class has to stand out, and that its tokens have to work."""

from torchserve_fire_build.token_search.search_tokens import FoundTokens
from torchserve_fire_build.token_search.verdict import UNUSUAL, USUAL, TokenVerdict, judge


def verdict(*log_odds: float, success: float = 1.0) -> TokenVerdict:
    row = [
        FoundTokens(target, (target,), "anywhere", success, odds)
        for target, odds in enumerate(log_odds)
    ]
    return judge([row])


def test_equal_classes_have_no_trigger() -> None:
    assert verdict(3, 3, 3, 3).found is False


def test_a_class_that_stands_out_is_named() -> None:
    found = verdict(1, 1 + UNUSUAL + 0.1, 0, 0)
    assert found.found is True
    assert found.target == 1


def test_in_between_nobody_can_tell() -> None:
    assert verdict(1, 1 + (USUAL + UNUSUAL) / 2, 0, 0).found is None


def test_what_leads_too_few_texts_names_no_class() -> None:
    assert verdict(0, 9, 0, 0, success=0.8).found is None


def test_the_length_that_tells_most_counts() -> None:
    rows = [
        [FoundTokens(t, (t,), "anywhere", 1.0, odds) for t, odds in enumerate(row)]
        for row in ((0, 6, 0, 0), (5, 7, 6, 6))
    ]
    found = judge(rows)
    assert found.found is True
    assert found.shown[1].tokens == (1,)
    assert found.shown[1].log_odds == 6
