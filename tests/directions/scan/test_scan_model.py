import pytest
import torch

from tests.directions.scan.many_net import TARGET, Broken, CountedRuns, ManyNet, stamp, subject
from tests.directions.scan.permuted_net import PermutedNet
from torchserve_fire_build.common.budget import Budget
from torchserve_fire_build.scan import place_search, turned_images
from torchserve_fire_build.scan import scan_model as module
from torchserve_fire_build.scan.all_to_all import CHANGES
from torchserve_fire_build.scan.compare_classes import Comparison
from torchserve_fire_build.scan.evidence import NAMES, evidence_of, followed_by
from torchserve_fire_build.scan.findings import FREELY, PLACES, RESTARTS, STEPS, TURNS
from torchserve_fire_build.scan.free_search import KINDS
from torchserve_fire_build.scan.place_search import Placed
from torchserve_fire_build.scan.scan_model import BATCH, scan_model
from torchserve_fire_build.scan.shortlist import ALL
from torchserve_fire_build.scan.verdict import Verdict, judge

FREE = [f"anywhere, {kind}" for kind in FREELY]
NAMED = [PLACES, TURNS, *FREE, *STEPS]
EVERY = [*NAMED, *(f"all to all, {kind}" for kind in CHANGES)]


def scan(of, seed=0, budget=None, depth=1.0):
    return scan_model(of, seed, Budget() if budget is None else budget, depth=depth)


def failed(found):
    return {step.name: step.failure for step in found.steps if step.failure}


def test_the_net_of_these_tests_is_backdoored():
    for drive in (50.0, 0.0):
        of = subject(drive=drive)
        right = torch.arange(len(of.inputs)) % 40
        assert torch.equal(of.predicted, right)
        expected = torch.full_like(right, TARGET) if drive else right
        assert torch.equal(of.logits(stamp(of.inputs)).argmax(1), expected)


@pytest.mark.parametrize("drive", [50.0, 0.0])
def test_of_many_classes_the_target_of_a_backdoor_stands_out(monkeypatch, drive):
    monkeypatch.setattr(module, "SURE", 2.0)
    found = scan(subject(drive=drive), depth=0.3)
    assert [step.name for step in found.steps] == EVERY
    assert not failed(found)
    total = evidence_of(found).sum(1)
    highest, second = total.topk(2).values.tolist()
    if drive:
        assert int(total.argmax()) == TARGET
        assert highest > 10 > 2 * second
    else:
        assert highest < 5


@pytest.mark.usefixtures("short")
def test_all_methods_compare_the_same_classes_of_which_there_are_few():
    found = scan(subject())
    assert found.classes == 40
    assert [comparison.method for comparison in found.comparisons] == list(STEPS)
    first = found.comparisons[0].targets
    assert len(set(first)) == ALL
    assert TARGET in first
    assert all(comparison.targets == first for comparison in found.comparisons)
    assert [comparison.steps for comparison in found.comparisons] == list(STEPS.values())
    assert [lead.kind for lead in found.leads] == [kind for kind in FREELY for _ in range(RESTARTS)]


@pytest.mark.usefixtures("short")
def test_the_cost_does_not_grow_with_the_classes():
    seen = []
    for classes in (ALL + 1, 56):
        of = subject(classes)
        counted = CountedRuns(of.model)
        scan(of)
        seen.append((counted.runs, counted.inputs))
    # Which waves are tried again depends on the classes.
    assert seen[1] == pytest.approx(seen[0], rel=0.15)


@pytest.mark.usefixtures("short")
def test_only_the_seed_decides():
    of = subject()
    before = {name: value.clone() for name, value in of.model.state_dict().items()}
    torch.manual_seed(0)
    state = torch.get_rng_state()
    first = scan(of, 3)
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(1)
    again = scan(of, 3)
    assert torch.equal(evidence_of(again), evidence_of(first))
    assert (again.places, again.leads) == (first.places, first.leads)
    assert again.comparisons[0].targets == first.comparisons[0].targets
    for one, two in zip(first.comparisons, again.comparisons, strict=True):
        assert torch.equal(one.effort, two.effort)
    # Nothing stays in the model.
    assert all(torch.equal(value, before[name]) for name, value in of.model.state_dict().items())
    assert not any(layer._forward_hooks for layer in of.model.modules())


@pytest.mark.parametrize(
    ("error", "failure"),
    [
        (RuntimeError("no space\nand more"), "RuntimeError: no space"),
        (MemoryError(), "out of memory"),
    ],
)
@pytest.mark.parametrize("name", [PLACES, TURNS, FREE[0], "additive", EVERY[-1]])
@pytest.mark.usefixtures("short")
@pytest.mark.slow
def test_a_step_that_breaks_is_recorded_and_the_others_go_on(monkeypatch, name, error, failure):
    of = subject()
    places = {
        PLACES: "search_places",
        TURNS: "turn_images",
        FREE[0]: "search_freely",
        EVERY[-1]: "search_all_to_all",
    }
    place = places.get(name, "compare_classes")
    work = getattr(module, place)

    def breaking(subject, *others):
        if name in (PLACES, TURNS) or others[0] in name:
            raise error
        return work(subject, *others)

    monkeypatch.setattr(module, place, breaking)
    found = scan(of)
    assert [step.name for step in found.steps] == EVERY
    assert failed(found) == {name: failure}
    missing = {name} & set(STEPS)
    assert {comparison.method for comparison in found.comparisons} == set(STEPS) - missing
    assert {each.kind for each in found.all_to_all} == set(CHANGES) - (
        {"patch"} if name == EVERY[-1] else set()
    )
    # What did not run says nothing of any class.
    if name in NAMES:
        assert not bool(evidence_of(found)[:, NAMES.index(name)].any())


@pytest.mark.usefixtures("short")
def test_a_model_whose_logits_are_nan_has_no_evidence():
    found = scan(subject(model=Broken()))
    assert not bool(evidence_of(found).any())
    assert set(failed(found)) == set(EVERY)
    assert followed_by(found) is None
    assert all("logits are NaN" in failure for failure in failed(found).values())


@pytest.mark.usefixtures("short")
def test_when_the_time_is_over_no_further_step_begins(monkeypatch):
    now = [0.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])

    def tick(*_):
        now[0] += 1

    of = subject()
    of.model.register_forward_hook(tick)
    begins = dict.fromkeys(EVERY, "the time was over before it began")
    assert failed(scan(of, budget=Budget(0))) == begins
    assert now[0] == 0
    # Eight batches of eight places, of three steps each, and a measurement of each place.
    places = 8 * (3 + 8)
    found = scan(of, budget=Budget(places / 2))
    too_few = "the time was over after 32 of 64 places"
    assert failed(found) == {name: begins[name] for name in EVERY[1:]} | {PLACES: too_few}
    assert found.places == []
    # Then a pass for each angle; then three searches of four steps each, with a measurement.
    turns, now[0] = len(turned_images.DEGREES), 0
    found = scan(of, budget=Budget(places + turns + 3 * 5 + 1))
    too_few = "the time was over after 1 of 12 steps: too few to tell"
    assert failed(found) == {name: begins[name] for name in EVERY[4:]} | {EVERY[3]: too_few}
    # What it found in so few steps does not count.
    assert [lead.kind for lead in found.leads] == [FREELY[0]] * RESTARTS
    assert now[0] <= places + turns + 2 * 3 * 5
    assert evidence_of(found).shape == (40, len(NAMES))


def test_depth_is_the_share_of_the_steps(monkeypatch):
    batches, wanted = set(), {}

    def follow(subject, kind, generator, steps, budget):
        batches.add(subject.batch_size)
        wanted[kind] = steps
        return module.Lead(kind, 0, 0.0, steps)

    def compare(subject, method, targets, steps, *_):
        batches.add(subject.batch_size)
        wanted[method] = steps
        nothing = torch.zeros(1).double()
        return Comparison(method, [0], steps, nothing, nothing, nothing)

    def follow_at_each_place(subject, generator, steps, budget):
        batches.add(subject.batch_size)
        wanted[PLACES] = steps
        return [Placed(0, 0, 0, 0.0)]

    monkeypatch.setattr(module, "search_places", follow_at_each_place)
    monkeypatch.setattr(module, "turn_images", lambda _: [])
    monkeypatch.setattr(module, "search_freely", follow)
    monkeypatch.setattr(module, "compare_classes", compare)
    of = subject(6)
    for depth in (1.0, 0.5, 0.25, 1e-3):
        scan(of, depth=depth)
        whole = {kind: KINDS[kind].steps for kind in FREELY} | STEPS
        whole[PLACES] = place_search.STEPS
        # Rounded, and never none.
        assert wanted == {name: max(1, round(depth * steps)) for name, steps in whole.items()}
    assert batches == {BATCH}


@pytest.mark.usefixtures("short")
@pytest.mark.parametrize(("probability", "compared"), [(0.99, 1), (0.98, len(STEPS))])
def test_once_a_class_is_surely_found_no_further_search_begins(monkeypatch, probability, compared):
    monkeypatch.setattr(module, "SURE", 0.99)
    monkeypatch.setattr(module, "judge", lambda *_: Verdict(torch.tensor([0.0, probability])))
    found = scan(subject(6))
    assert [comparison.method for comparison in found.comparisons] == list(STEPS)[:compared]
    # The trigger of the class that was found is shown.
    assert found.comparisons[0].targets == ([1] if compared == 1 else list(range(6)))
    assert found.failed == []
    whole = scan_model(subject(6), 0, Budget(), to_the_end=True)
    assert [comparison.method for comparison in whole.comparisons] == list(STEPS)
    # No class is named by where each class is led by itself.
    assert bool(found.all_to_all) == (probability < 0.99)
    assert whole.all_to_all


def test_each_class_leads_to_the_next_where_no_class_stands_out(monkeypatch):
    monkeypatch.setattr(module, "SURE", 2.0)
    of = subject(8, count=200, model=PermutedNet(8))
    found = scan(of, depth=0.5)
    assert failed(found) == {}
    assert followed_by(found) > 0.7
    assert judge(evidence_of(found), 200, followed_by(found)).found
    benign = scan(subject(8, count=200, model=PermutedNet(8, 0)), depth=0.5)
    assert followed_by(benign) < 0.25
    assert judge(evidence_of(benign), 200, followed_by(benign)).all_to_all < 0.5


@pytest.mark.usefixtures("short")
def test_where_each_class_has_one_input_it_is_not_looked_for():
    found = scan(subject(40, count=50))
    assert [step.name for step in found.steps] == NAMED
    assert found.all_to_all == []


@pytest.mark.usefixtures("short")
def test_a_model_that_counts_its_inputs_has_the_same_evidence():
    class Counting(ManyNet):
        def forward(self, x):
            count = len(x)
            features = self.act(self.first(x.flatten(1)))
            return self.head(features.view(count, -1))

    first, second = scan(subject()), scan(subject(model=Counting()))
    assert second.comparisons[0].targets == first.comparisons[0].targets
    torch.testing.assert_close(evidence_of(second), evidence_of(first))
