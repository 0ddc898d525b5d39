import pytest
import torch

from benchmarks import fire
from benchmarks.bootstrap import MOST, STEP, draw_stream, flag_next, refine_on
from benchmarks.measure import Held
from benchmarks.pools import Pool
from benchmarks.samples import without_labels
from benchmarks.victims.attacks.badnets import BadNets
from tests.benchmarks.patch_victim import OfNormalised, as_pixels
from tests.benchmarks.test_evidence import is_triggered, pool
from tests.directions.reconstruct.patch_net import images, stamp
from torchserve_fire_build.building.build_options import BuildOptions
from torchserve_fire_build.samples.evidence import gather_evidence
from torchserve_fire_build.samples.subset import unlabelled

MODEL = OfNormalised(10.0).eval()
CLEAN = without_labels(as_pixels(images(160)), "clean")


def triggered_of(inputs):
    """All images with the trigger, and which are of other classes than the target."""
    others = torch.arange(len(inputs)) % 4 != 0
    return as_pixels(stamp(inputs)), others


@pytest.fixture(scope="module")
def first():
    stamped, others = triggered_of(images(40, seed=1))
    chosen = others.nonzero().flatten().tolist()
    flagged = unlabelled(without_labels(stamped, "triggered"), chosen)
    return fire.build_from(MODEL, gather_evidence(CLEAN, flagged), BuildOptions()).bundle


def stream_of(count, every):
    inputs = images(count, seed=3)
    stamped, others = triggered_of(inputs)
    which = others & (torch.arange(count) % every == 1)
    pixels = as_pixels(inputs)
    pixels.pixels[which] = stamped.pixels[which]
    return Pool(pixels, which, torch.zeros(count, dtype=torch.int64))


def test_triggered_requests_are_anywhere_in_the_stream():
    drawn = draw_stream(BadNets(), pool(), 0.1)
    assert torch.equal(is_triggered(drawn.images), drawn.triggered)
    first_half, second_half = drawn.triggered.chunk(2)
    assert int(drawn.triggered.sum()) == 40
    assert min(int(first_half.sum()), int(second_half.sum())) >= 10


def test_the_next_that_are_flagged(first):
    stream = stream_of(400, 5)
    flagged, passed = flag_next(MODEL, first, stream.images, 0)
    assert torch.equal(flagged, stream.triggered.nonzero().flatten()[:STEP])
    assert passed == int(flagged[-1]) + 1
    following, _ = flag_next(MODEL, first, stream.images, passed)
    assert torch.equal(following, stream.triggered.nonzero().flatten()[STEP : 2 * STEP])
    rest, end = flag_next(MODEL, first, stream.images, 390)
    assert (len(rest), end) == (int(stream.triggered[390:].sum()), 400)


def test_the_bundle_is_refined_after_so_many_flagged(first):
    inputs = images(80, seed=4)
    stamped, others = triggered_of(inputs)
    partners = others.nonzero().flatten()
    wanted = torch.zeros(len(partners), dtype=torch.int64)
    held = Held(as_pixels(inputs), stamped.at(partners), wanted, partners)
    steps = refine_on(MODEL, first, CLEAN, stream_of(400, 5), held)
    assert [step["flagged"] for step in steps] == [STEP, MOST]
    for step in steps:
        assert (step["triggered"], step["kept"]) == (1.0, step["flagged"])
        assert step["kept_triggered"] == 1.0
        assert step["figures"]["recovered_accuracy"] > 0.95
        assert step["figures"]["clean_accuracy"] == 1


def test_a_stream_that_ends_first(first):
    assert refine_on(MODEL, first, CLEAN, stream_of(60, 5), None) == []
