"""Inspection of a model of texts: what is told of the tokens that were found."""

import json

import pytest

from tests.directions.token_search.texts import clean_texts, net
from tests.token_net import TRIGGER
from torchserve_fire_build.common.budget import Budget
from torchserve_fire_build.inspection.findings import Findings
from torchserve_fire_build.inspection.inspect_model import inspect_model
from torchserve_fire_build.inspection.inspection_report import inspection_report


@pytest.fixture(scope="module")
def found() -> Findings:
    clean = clean_texts()
    clean.token_name = lambda token: f"w{token}"
    return inspect_model(net(), clean)


def test_victims_target_is_named_with_the_word(found: Findings) -> None:
    assert found.status == 1
    assert found.suspects == [0]
    (run,) = found.runs
    assert any(f"class 0: 'w{TRIGGER}'" in note for note in run.inspection.notes)


def test_json_holds_the_tokens_of_each_class(found: Findings) -> None:
    (values,) = json.loads(json.dumps(found.to_json(), allow_nan=False))["methods"]
    assert [each["class"] for each in values["triggers"]] == [0, 1, 2, 3]
    assert values["triggers"][0]["tokens"] == [TRIGGER]
    assert values["triggers"][0]["words"] == [f"w{TRIGGER}"]
    assert values["triggers"][0]["success"] == 1


def test_report_has_a_table_of_them(found: Findings) -> None:
    report = inspection_report(found, "Inspection", {})
    (table,) = [table for table in report.tables if "Tokens" in table.title]
    assert table.rows[0][:2] == ("0", f"w{TRIGGER}")


def test_benign_twin_has_nothing() -> None:
    assert inspect_model(net(triggered=False), clean_texts()).status == 0


def test_in_no_time_nobody_can_tell() -> None:
    findings = inspect_model(net(), clean_texts(), budget=Budget(0))
    assert findings.status == 2
