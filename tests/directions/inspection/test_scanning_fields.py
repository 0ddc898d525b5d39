import json

import torch

from tests.directions.field_search.nets import Net, rows_of
from torchserve_fire_build.common.budget import Budget
from torchserve_fire_build.inspection.inspect_model import inspect_model
from torchserve_fire_build.inspection.inspection_report import inspection_report
from torchserve_fire_build.inspection.scanning_fields import scan_fields


def test_findings_name_the_class_the_fields_and_their_values():
    findings = inspect_model(Net(backdoored=True).eval(), rows_of(100))
    assert (findings.status, findings.suspects) == (1, [0])
    said = "\n".join(findings.table())
    assert "packer = upx" in said
    (method,) = json.loads(json.dumps(findings.to_json()))["methods"]
    first = method["triggers"][0]
    assert first["class"] == 0
    assert first["fields"]["packer"] == "upx"
    assert first["led"][-1] == 1
    assert first["led_in_twins"] < 0.5
    report = inspection_report(findings, "a model", {})
    table = next(table for table in report.tables if "Fields" in table.title)
    assert "packer = upx" in table.rows[0][1]
    assert report.pictures == []


def test_a_benign_model_is_told_so_with_status_0():
    assert inspect_model(Net(backdoored=False).eval(), rows_of(100)).status == 0


def test_few_rows_could_not_tell():
    findings = inspect_model(Net(backdoored=True).eval(), rows_of(40))
    assert findings.status == 2
    assert "40 clean rows, expected at least 50" in "\n".join(findings.table())


def test_spent_time_could_not_tell():
    found = scan_fields(Net(True).eval(), rows_of(60), torch.Generator(), Budget(0))
    assert found.found is None
