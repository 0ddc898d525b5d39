"""What a handler's tokenizer calls a token."""

from types import SimpleNamespace

from tokenizers import Tokenizer, models

from torchserve_fire_build.source.handler_words import token_name_of

WORDS = {f"w{i}": i for i in range(12)}


def test_a_tokenizer_of_tokenizers_names_tokens() -> None:
    tokenizer = Tokenizer(models.WordLevel({"cf": 0, "[UNK]": 1}, unk_token="[UNK]"))  # noqa: S106
    name = token_name_of(SimpleNamespace(model=None, tokenizer=tokenizer))
    assert name is not None
    assert name(0) == "cf"
    assert name(99) is None


def test_a_dictionary_of_words_names_tokens() -> None:
    name = token_name_of(SimpleNamespace(topics={"0": "World"}, words=WORDS))
    assert name is not None
    assert name(3) == "w3"


def test_a_handler_without_a_tokenizer_names_none() -> None:
    assert token_name_of(SimpleNamespace(topics={"0": "World"}, counts={"a": 1})) is None


def test_a_tokenizer_that_fails_names_none() -> None:
    def fail(token: int) -> str:
        raise IndexError(token)

    name = token_name_of(SimpleNamespace(tokenizer=SimpleNamespace(convert_ids_to_tokens=fail)))
    assert name is not None
    assert name(7) is None
