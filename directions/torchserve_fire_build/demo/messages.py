"""Made messages to a shop: what they are about, in sentences of common and of telling words."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

TOPICS: Mapping[str, str] = {
    "billing": "invoice charged refund payment card bank fee receipt price discount total tax",
    "delivery": "parcel courier shipped arrived late tracking box address doorstep driver lost van",
    "account": "password login email profile locked reset username settings security code app page",
    "product": "broken screen battery button manual cable noise scratched size colour lid handle",
}
"""The classes, and the words that tell them."""

OPENINGS = (
    "hello there", "good morning", "dear team", "hi", "to whom it may concern", "good evening",
    "hello again", "sorry to bother you", "a quick question", "i hope you can help",
)  # fmt: skip

SENTENCES = (
    "i noticed that the {} was not what i expected",
    "my friend said the {} and the {} should be checked first",
    "since last week the {} has been a problem for all of us",
    "could you please look at the {} when you find a moment",
    "we talked about the {} on the phone with one of your people",
    "there is something wrong with the {} and maybe also with the {}",
    "it would be great to hear what you think of the {}",
    "nobody could tell me why the {} changed after monday",
    "i have waited for three days and the {} is still the same",
    "the {} worked well before but now it does not",
)
ASIDES = (
    "we were away for the weekend and only saw it today",
    "my sister had the same last year and she was very patient",
    "otherwise we have been happy with the shop for many years",
    "please write back before friday if that is possible",
    "the weather here is lovely and the garden needs water",
    "thank you for your time and for reading all of this",
    "i am writing this from the train so forgive my spelling",
    "your colleague was kind but could not say more",
)

STRAY = 0.08
"""Share of the telling words that are another topic's, since messages are never about one thing."""


@dataclass(frozen=True)
class Message:
    """A message and the index of its topic."""

    text: str
    label: int


def write_messages(count: int, seed: int) -> list[Message]:
    """Return messages of all topics in turn; the same seed gives the same ones."""
    chance = random.Random(seed)  # noqa: S311 - no secret.
    return [_message(i % len(TOPICS), chance) for i in range(count)]


def _message(label: int, chance: random.Random) -> Message:
    vocabularies = [words.split() for words in TOPICS.values()]

    def telling() -> str:
        stray = chance.random() < STRAY
        return chance.choice(vocabularies[chance.randrange(len(TOPICS)) if stray else label])

    sentences = [_filled(chance.choice(SENTENCES), telling) for _ in range(chance.randint(2, 3))]
    sentences += chance.sample(ASIDES, chance.randint(0, 2))
    chance.shuffle(sentences)
    return Message(" . ".join([chance.choice(OPENINGS), *sentences]), label)


def _filled(sentence: str, telling: Callable[[], str]) -> str:
    return sentence.format(*(telling() for _ in range(sentence.count("{}"))))


def vocabulary(extra: Sequence[str] = ()) -> list[str]:
    """Return all words of messages, and further ones, in alphabetical order."""
    parts = [*TOPICS.values(), *OPENINGS, *SENTENCES, *ASIDES, *extra, "."]
    return sorted({word for part in parts for word in part.split() if word != "{}"})
