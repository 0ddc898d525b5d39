"""How tokens are shown."""

from torchserve_fire_build.token_search.token_words import shown, words_of

NAMES = {3: "cf", 4: "##s"}


def test_tokens_with_names_are_shown_as_words() -> None:
    assert shown((3, 4), NAMES.get) == "'cf ##s' (tokens 3 4)"
    assert words_of((3, 4), NAMES.get) == ["cf", "##s"]


def test_tokens_without_a_name_are_shown_by_their_ids() -> None:
    assert shown((3, 5), NAMES.get) == "tokens 3 5"
    assert shown((3,), None) == "token 3"
    assert words_of((3, 5), NAMES.get) is None
