"""Bodies of requests, kept as files that are handed over again as the same."""

import pytest

from torchserve_fire.model.request_body import as_handed_over, request_body


@pytest.mark.parametrize(
    "body",
    [
        "Über",
        "",
        "\ud800 w3",
        "\udc00\ud800",
        {"text": "\ud800"},
        ["a"],
        None,
        3,
        bytearray(b"\xff"),
    ],
)
def test_what_was_kept_is_handed_over_as_it_was_sent(body):
    kept = request_body(body)
    assert as_handed_over(kept.content, f"kept{kept.suffix}") == body


def test_texts_are_kept_as_text():
    assert request_body("Über").suffix == ".txt"
    assert request_body("\ud800").suffix == ".json"
