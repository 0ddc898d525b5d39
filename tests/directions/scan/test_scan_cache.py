import logging
from dataclasses import replace

import pytest
import torch

from tests.directions.scan.many_net import CountedRuns, ManyNet, images, subject
from tests.directions.scan.test_compare_classes import Ending
from torchserve_fire_build.common import code_digest
from torchserve_fire_build.common.budget import Budget
from torchserve_fire_build.common.step_cache import NO_CACHE, StepCache
from torchserve_fire_build.scan import scan_model as module
from torchserve_fire_build.scan.all_to_all import CHANGES
from torchserve_fire_build.scan.findings import FREELY, PLACES, STEPS, TURNS
from torchserve_fire_build.scan.scan_cache import scan_cache
from torchserve_fire_build.scan.scan_model import scan_model

pytestmark = pytest.mark.usefixtures("short")

EVERY = [
    PLACES,
    TURNS,
    *(f"anywhere, {kind}" for kind in FREELY),
    *STEPS,
    *(f"all to all, {kind}" for kind in CHANGES),
]


def scan(of, cache, *, seed=0, budget=None, depth=1.0):
    kept = scan_cache(cache, of, seed)
    return scan_model(of, seed, Budget() if budget is None else budget, depth=depth, cache=kept)


def found_by(scan):
    """All that a scan found, in values that can be compared."""
    return [
        scan.places,
        scan.turned,
        scan.leads,
        scan.all_to_all,
        *(
            (c.method, c.targets, c.steps, c.effort.tolist(), c.success.tolist())
            for c in scan.comparisons
        ),
        *(c.stamped.tolist() for c in scan.comparisons),
    ]


class InterruptedCache(StepCache):
    """Is interrupted when it is to keep a further step."""

    def keep(self, step, result):
        if len(list(self.folder.glob("step-*"))) == self.limit:
            raise KeyboardInterrupt
        StepCache(self.folder, self.work).keep(step, result)


@pytest.mark.parametrize("steps", [1, 3, 4, 6, 9])
@pytest.mark.slow
def test_a_scan_that_was_interrupted_goes_on_where_it_stopped(tmp_path, caplog, steps):
    of = subject()
    whole = scan(of, None)
    work = scan_cache(tmp_path, of, 0).work
    with pytest.raises(KeyboardInterrupt):
        scan_model(of, 0, Budget(), cache=InterruptedCache(tmp_path, work, limit=steps))
    with caplog.at_level(logging.INFO):
        resumed = scan(of, tmp_path)
    held = [message for message in caplog.messages if f"cache: {tmp_path}: holds " in message]
    assert len(held) == steps
    assert found_by(resumed) == found_by(whole)
    assert [step.name for step in resumed.steps] == EVERY


def test_a_scan_that_is_kept_costs_nothing(tmp_path):
    of = subject()
    first = scan(of, tmp_path)
    cache = scan_cache(tmp_path, of, 0)
    counted = CountedRuns(of.model)
    again = scan_model(of, 0, Budget(), cache=cache)
    assert counted.runs == 0
    assert found_by(again) == found_by(first)


def test_without_a_folder_nothing_is_kept(tmp_path):
    assert scan_cache(None, subject(), 0) is NO_CACHE


@pytest.mark.parametrize("change", [b"", b"from elsewhere", None])
def test_what_is_damaged_is_done_again_and_a_line_says_so(tmp_path, caplog, change):
    of = subject()
    first = scan(of, tmp_path)
    files = sorted(tmp_path.glob("step-*"))
    # Another step's result is not this one's, either.
    files[0].write_bytes(files[1].read_bytes() if change is None else change)
    again = scan(of, tmp_path)
    assert found_by(again) == found_by(first)
    (line,) = [record.message for record in caplog.records if record.levelname == "WARNING"]
    assert line == f"cache: {files[0]}: damaged, and dropped"


def test_a_search_that_the_time_has_cut_short_is_not_kept(tmp_path, monkeypatch):
    monkeypatch.setitem(STEPS, "generated", 8)
    of = subject(6)
    whole = found_by(scan(of, None))
    compare = module.compare_classes
    with monkeypatch.context() as short:
        short.setattr(module, "compare_classes", lambda *given: compare(*given[:-1], Ending(1)))
        cut = scan(of, tmp_path)
    # One step of eight is too few to count.
    assert cut.failed == ["generated"]
    assert found_by(scan(of, tmp_path)) == whole


def test_with_another_share_of_the_steps_only_the_same_steps_count(tmp_path):
    of = subject(6)
    scan(of, tmp_path)
    assert found_by(scan(of, tmp_path, depth=0.5)) == found_by(scan(of, None, depth=0.5))


def test_whatever_decides_a_scan_has_a_cache_of_its_own(tmp_path, monkeypatch):
    def work(of, seed=0):
        return scan_cache(tmp_path, of, seed).work

    class Other(ManyNet):
        def forward(self, x):
            return 2 * super().forward(x)

    of = subject()
    usual = work(of)
    assert work(subject()) == usual
    others = [
        work(of, 1),
        work(subject(drive=0)),
        work(subject(model=Other())),
        work(subject(count=119)),
        work(replace(of, inputs=images(40, 120).flip(0))),
        work(replace(of, box=replace(of.box, levels=0))),
        work(replace(of, box=replace(of.box, high=torch.full((1, 1, 1), 2.0)))),
    ]
    monkeypatch.setattr(code_digest, "packages_digest", lambda: "another version")
    others.append(work(of))
    assert len({usual, *others}) == 1 + len(others)
