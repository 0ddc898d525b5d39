"""The demo's messages: the same seed writes the same, and topics can be told by their words."""

from torchserve_fire_build.demo.messages import TOPICS, vocabulary, write_messages


def test_same_seed_writes_the_same_messages() -> None:
    assert write_messages(20, 0) == write_messages(20, 0)
    assert write_messages(20, 0) != write_messages(20, 1)


def test_topics_take_turns() -> None:
    assert [each.label for each in write_messages(8, 0)] == [0, 1, 2, 3, 0, 1, 2, 3]


def test_most_messages_hold_words_of_their_topic() -> None:
    words = [set(telling.split()) for telling in TOPICS.values()]
    messages = write_messages(400, 0)
    own = sum(bool(words[each.label] & set(each.text.split())) for each in messages)
    assert own > 0.95 * len(messages)


def test_vocabulary_holds_every_word_and_further_ones() -> None:
    known = set(vocabulary(("cf",)))
    assert known >= {word for each in write_messages(400, 1) for word in each.text.split()}
    assert "cf" in known
