from pathlib import Path

import pytest

from torchserve_fire_build.fleet.archive_task import ArchiveResult
from torchserve_fire_build.fleet.fleet_findings import FleetFindings

FOUND, NOTHING, UNTOLD = (ArchiveResult(found) for found in (True, False, None))
FAILED = ArchiveResult(None, failure="no archive")


@pytest.mark.parametrize(
    ("results", "status"),
    [
        ([NOTHING], 0),
        ([NOTHING, UNTOLD], 2),
        ([FAILED, NOTHING], 2),
        ([FAILED, FOUND, NOTHING, UNTOLD], 1),
    ],
)
def test_the_worst_status_counts(results, status):
    assert FleetFindings([Path("a")] * len(results), results).status == status


def test_many_suspects_do_not_widen_the_table():
    result = ArchiveResult(True, tuple(range(40)), tuple(map(str, range(40))), 0.9876, 12.4)
    lines = FleetFindings([Path("a.mar")], [result]).table()
    assert lines[1].split() == ["a.mar", "found", "98.8%", "0,", "1,", "2,", "...", "12"]
