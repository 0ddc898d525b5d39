import logging

import pytest
import torch

from tests.handler.bundles import small_bundle
from torchserve_fire.core.answering import FLAGGED, UNREPAIRED, Answering, flags_of
from torchserve_fire.format.bundle import with_digest
from torchserve_fire.model.config import HandlerConfig
from torchserve_fire.repair.verdict import Verdict

BUNDLE = with_digest(small_bundle(), "d" * 64)


def verdict(*flags):
    return Verdict(None, torch.tensor(flags))


def answering(mode="repair", bundle=BUNDLE, **settings):
    return Answering(HandlerConfig("tensor", mode=mode, **settings), bundle)


@pytest.mark.parametrize(
    ("positions", "found", "flags"),
    [
        (range(2), verdict(True, False), [True, False]),
        # The first request could not be read; the other two changed places.
        ([2, 1], verdict(True, False), [None, False, True]),
        # Nothing was predicted, whatever the corrections say.
        ([], None, [None, None]),
        # Two samples for each request, or no verdict at all: nobody knows.
        (range(2), verdict(True, False, True, False), None),
        (range(2), None, None),
    ],
)
def test_which_requests_were_flagged(positions, found, flags):
    size = 2 if flags is None else len(flags)
    assert flags_of(size, positions, found) == flags


@pytest.mark.parametrize(
    ("mode", "flag", "repaired", "refusal"),
    [
        ("repair", True, "true", None),
        ("repair", False, "false", None),
        ("observe", True, "false", None),
        ("observe", False, "false", None),
        ("reject", True, "false", FLAGGED),
        ("reject", False, "false", None),
    ],
)
def test_what_becomes_of_a_request_that_was_judged(mode, flag, repaired, refusal):
    outcome = answering(mode).outcome(flag, passes=1)
    assert outcome.headers == {
        "x-fire-bundle": "d" * 64,
        "x-fire-flagged": str(flag).lower(),
        "x-fire-repaired": repaired,
    }
    assert (outcome.flag, outcome.refusal) == (flag, refusal)


@pytest.mark.parametrize(
    ("mode", "passes", "refusal"),
    [
        ("repair", 0, UNREPAIRED),
        ("repair", 2, None),
        ("observe", 0, None),
        ("observe", 2, None),
        ("reject", 0, UNREPAIRED),
        ("reject", 1, UNREPAIRED),
        ("reject", 2, UNREPAIRED),
    ],
)
def test_what_becomes_of_a_request_of_which_nothing_is_known(mode, passes, refusal, caplog):
    one = answering(mode)
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            outcome = one.outcome(None, passes)
            assert (outcome.flag, outcome.refusal) == (None, refusal)
            assert outcome.headers == {"x-fire-bundle": "d" * 64}
    assert caplog.text.count("no flags are given") == (refusal is None)


def test_without_a_bundle_there_is_nothing_to_say(caplog):
    outcome = answering("off", bundle=None).outcome(None, passes=0)
    assert (outcome.flag, outcome.headers, outcome.refusal) == (None, {}, None)
    assert caplog.text == ""


def test_the_verdict_stands_beside_the_answer_where_that_is_asked_for():
    plain, beside = answering(), answering(flag_in_body=True)
    assert plain.with_verdict([1], True) == [1]
    said = beside.with_verdict([1], True)
    assert said["predictions"] == [1]
    assert said["fire"] == {"flagged": True, "repaired": True, "bundle": "d" * 64}
    assert beside.with_verdict([1], None)["fire"]["repaired"] is None
    assert answering("observe", flag_in_body=True).with_verdict(1, True)["fire"] == {
        "flagged": True,
        "repaired": False,
        "bundle": "d" * 64,
    }
    assert beside.with_verdict(b"raw", True) == b"raw"
