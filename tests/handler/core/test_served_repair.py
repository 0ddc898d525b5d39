"""Swapping the bundle of a served model: between two batches, or not at all."""

from __future__ import annotations

import sys
import threading
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from torch import nn

from tests.handler.archive import IMAGE, grey
from tests.handler.core.several_bundles import (
    BLACK,
    LAYERS,
    WHITE,
    one_bundle,
    several_bundles,
)
from tests.handler.core.unpacked import make_unpacked
from tests.keys import KEY, OTHER_KEY, PUBLIC
from torchserve_fire.core import served_repair
from torchserve_fire.core.open_model import open_model
from torchserve_fire.core.served_model import ServedModel
from torchserve_fire.errors import FireError, SwapError
from torchserve_fire.format.bundle import Bundle
from torchserve_fire.format.bundle_file import load_bundle, save_bundle
from torchserve_fire.watch import metrics as metric
from torchserve_fire_build.deployment.archive.sign_archive import sign_folder
from torchserve_fire_build.signing.sign_bundle import sign_bundle

REQUESTS = [grey(255), grey(0), b"no image", grey(255)]


class Recorded:
    """What was counted, by the bundle's digest and the counter's name."""

    def __init__(self) -> None:
        self.counts: Counter[tuple[str, str]] = Counter()

    def __call__(self, model: str, version: str, bundle: str) -> Any:
        recorded = self

        class Metrics:
            def add(self, counts):
                for (name, _), value in counts.items():
                    recorded.counts[bundle, name] += value

            def set(self, name, value, *labels):
                pass

        return Metrics()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "archive"
    folder.mkdir()
    make_unpacked(folder)
    return folder


@pytest.fixture
def files(tmp_path: Path, folder: Path) -> dict[str, Path]:
    return several_bundles(tmp_path / "bundles", folder / "w.pth")


@pytest.fixture
def model(folder: Path) -> Iterator[ServedModel]:
    with open_model(folder, metrics=Recorded()) as model:
        yield model


def module_of(model: ServedModel) -> nn.Module:
    return model._classifier.model


def hooks_of(model: ServedModel) -> dict[str, int]:
    return {name: len(m._forward_hooks) for name, m in module_of(model).named_modules()}


def check(answers, by_digest: dict[str, str]) -> str:
    """See that a batch was answered wholly by one bundle, and return its digest."""
    assert [one.status for one in answers] == [200, 200, 400, 200]
    (digest,) = {one.headers["x-fire-bundle"] for one in answers if one.status == 200}
    flags = [one.headers.get("x-fire-flagged") for one in answers]
    assert flags == ["true", "false", None, "true"]
    for answer, expected in zip(answers, (WHITE[by_digest[digest]], BLACK, None), strict=False):
        if expected is not None:
            found = [answer.body[str(k)] for k in range(3)]
            assert found == pytest.approx(expected)
    assert answers[3].body == answers[0].body
    return digest


def test_each_bundle_answers_in_its_turn(model, files):
    by_digest = {load_bundle(file).digest: name for name, file in files.items()}
    weights = [tensor.data_ptr() for tensor in module_of(model).state_dict().values()]
    for name in (*files, *files):
        model.swap(files[name])
        assert by_digest[check(model.answer(REQUESTS), by_digest)] == name
        described = model.describe()
        assert by_digest[described["bundle"]] == name
        assert described["counts"]["judged"] == 3
        # Nothing is left of the one before.
        layer = LAYERS[name].name
        assert hooks_of(model) == {"": 2, "features": layer == "features", "head": layer == "head"}
    assert [tensor.data_ptr() for tensor in module_of(model).state_dict().values()] == weights


def test_batches_of_many_threads_are_each_answered_by_one_bundle_over_many_swaps(folder, files):
    recorded = Recorded()
    answered: Counter[str] = Counter()
    failures: list[BaseException] = []
    lock, done = threading.Lock(), threading.Event()

    def ask() -> None:
        try:
            while not done.is_set():
                digest = check(model.answer(REQUESTS), by_digest)
                with lock:
                    answered[digest] += 1
        except BaseException as error:
            failures.append(error)

    interval = sys.getswitchinterval()
    with open_model(folder, metrics=recorded) as model:
        model.swap(files["weak"])
        by_digest = {load_bundle(file).digest: name for name, file in files.items()}
        threads = [threading.Thread(target=ask) for _ in range(4)]
        sys.setswitchinterval(1e-5)
        try:
            for thread in threads:
                thread.start()
            for i in range(60):
                name = list(files)[(i * 3 + 1) % len(files)]
                model.swap(files[name])
                # From now on no other one answers.
                assert by_digest[check(model.answer(REQUESTS), by_digest)] == name
                with lock:
                    answered[load_bundle(files[name]).digest] += 1
        finally:
            done.set()
            for thread in threads:
                thread.join()
            sys.setswitchinterval(interval)
    assert not failures
    assert set(answered) == set(by_digest)
    # Each request was counted once, for the bundle that answered it.
    for digest, batches in answered.items():
        assert recorded.counts[digest, metric.JUDGED] == 3 * batches
        assert recorded.counts[digest, metric.REPAIRED] == 2 * batches
        assert recorded.counts[digest, metric.BAD_INPUTS] == batches


def test_a_batch_on_its_way_is_finished_by_the_bundle_it_began_with(model, files):
    by_digest = {load_bundle(file).digest: name for name, file in files.items()}
    model.swap(files["in two passes"])
    inside, go_on = threading.Event(), threading.Event()

    def wait(*_):
        if threading.current_thread() is slow:
            inside.set()
            assert go_on.wait(60)

    # In the middle of a pass, and before the one that repairs.
    module_of(model).head.register_forward_pre_hook(wait)
    found: list[Any] = []
    slow = threading.Thread(target=lambda: found.append(model.answer(REQUESTS)))
    slow.start()
    assert inside.wait(60)
    swap = threading.Thread(target=model.swap, args=(files["at another layer"],))
    swap.start()
    # Others are answered by the new one as soon as it has proved itself.
    while by_digest[check(model.answer(REQUESTS), by_digest)] != "at another layer":
        pass
    assert swap.is_alive()
    go_on.set()
    slow.join()
    swap.join()
    assert by_digest[check(found[0], by_digest)] == "in two passes"


def test_a_batch_that_does_not_end_keeps_its_bundle_and_holds_nobody_up(
    model, files, monkeypatch, caplog
):
    monkeypatch.setattr(served_repair, "BATCH_SECONDS", 0.01)
    by_digest = {load_bundle(file).digest: name for name, file in files.items()}
    model.swap(files["in two passes"])
    inside, go_on = threading.Event(), threading.Event()

    def wait(*_):
        if threading.current_thread() is slow:
            inside.set()
            assert go_on.wait(60)

    module_of(model).head.register_forward_pre_hook(wait)
    found: list[Any] = []
    slow = threading.Thread(target=lambda: found.append(model.answer(REQUESTS)))
    slow.start()
    assert inside.wait(60)
    # Layers in which the new ones do nothing stay hooked for the batch on its way.
    for name in ("at another layer", "strong", "at another layer"):
        model.swap(files[name])
        assert by_digest[check(model.answer(REQUESTS), by_digest)] == name
        with pytest.raises(SwapError):
            model.swap(files[name].with_name("missing"))
    told = [r.getMessage() for r in caplog.records if "have not ended" in r.message]
    assert "1 batches that began with the bundle" in told[0]
    assert hooks_of(model)["features"] == 1
    closing = threading.Thread(target=model.close)
    closing.start()
    closing.join(0.1)
    assert closing.is_alive()
    go_on.set()
    slow.join()
    closing.join()
    assert by_digest[check(found[0], by_digest)] == "in two passes"
    assert set(hooks_of(model).values()) == {0}


def test_once_it_has_ended_what_it_needed_is_unhooked(model, files, monkeypatch):
    monkeypatch.setattr(served_repair, "BATCH_SECONDS", 0.01)
    model.swap(files["strong"])
    with model._repair.batch():
        swap = threading.Thread(target=model.swap, args=(files["at another layer"],))
        swap.start()
        swap.join()
        assert hooks_of(model) == {"": 2, "features": 1, "head": 1}
    model.swap(files["at another layer"])
    model.swap(files["weak"])
    assert hooks_of(model) == {"": 2, "features": 1, "head": 0}


def damaged(bundle: Bundle, path: Path) -> Path:
    save_bundle(bundle, path)
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    return path


def saved(bundle: Bundle, path: Path, **fields: Any) -> Path:
    save_bundle(replace(bundle, **fields), path)
    return path


def of_layer(bundle: Bundle, path: Path, **fields: Any) -> Path:
    return saved(bundle, path, layers=(replace(bundle.layers[0], **fields),))


NOT_TAKEN = {
    "missing": (lambda bundle, path: path, "no such file"),
    "damaged": (damaged, "SHA-256"),
    "for other weights": (
        lambda bundle, path: saved(bundle, path, weights_sha256="0" * 64),
        "built for the weights 000",
    ),
    "for another class": (
        lambda bundle, path: saved(bundle, path, model_class="Other"),
        "built for a Other, the model is a Net",
    ),
    "for other images": (
        lambda bundle, path: saved(bundle, path, input=replace(bundle.input, mean=(0.5,) * 3)),
        "handler: mean",
    ),
    "of no layer": (lambda bundle, path: of_layer(bundle, path, name="featurs"), "nearest are"),
    # Its hook is the second in that layer, until it does not prove itself.
    "of another shape": (
        lambda bundle, path: of_layer(bundle, path, name="head"),
        "features of shape",
    ),
    "not saved": (lambda bundle, path: bundle, "was not saved"),
}


@pytest.mark.parametrize("what", NOT_TAKEN)
def test_what_does_not_fit_is_not_taken_and_the_old_one_goes_on(model, folder, tmp_path, what):
    make, reason = NOT_TAKEN[what]
    bundle = one_bundle(folder / "w.pth", LAYERS["strong"])
    before, hooks, served = model.answer(REQUESTS), hooks_of(model), model.bundle
    with pytest.raises(SwapError, match=reason) as raised:
        model.swap(make(bundle, tmp_path / "new.safetensors"))
    assert f"; m goes on with the bundle {served.digest}" in str(raised.value)
    assert "\n" not in str(raised.value)
    assert model.answer(REQUESTS) == before
    assert model.bundle is served
    assert hooks_of(model) == hooks


def test_what_cannot_be_counted_is_not_taken(folder, files):
    def metrics(model, version, bundle):
        if bundle == load_bundle(files["at another layer"]).digest:
            raise RuntimeError("no more metrics")
        return Recorded()(model, version, bundle)

    with open_model(folder, metrics=metrics) as model:
        hooks = hooks_of(model)
        with pytest.raises(SwapError, match="no more metrics; m goes on"):
            model.swap(files["at another layer"])
        assert hooks_of(model) == hooks


def test_where_keys_are_trusted_a_bundle_must_be_signed(tmp_path, files):
    folder = tmp_path / "signed"
    folder.mkdir()
    make_unpacked(folder)
    sign_folder(folder, KEY)
    with open_model(folder, trusted_keys=[PUBLIC]) as model:
        for sign in (lambda file: None, lambda file: sign_bundle(file, OTHER_KEY)):
            sign(files["strong"])
            with pytest.raises(SwapError, match="sig"):
                model.swap(files["strong"])
        with pytest.raises(SwapError, match="expected its file, with its signature"):
            model.swap(load_bundle(files["strong"]))
        sign_bundle(files["strong"], KEY)
        model.swap(files["strong"])
        # A signature is one of these bytes.
        files["strong"].write_bytes(files["weak"].read_bytes())
        with pytest.raises(SwapError, match="signs another bundle"):
            model.swap(files["strong"])
        assert model.bundle.layers[0].correction.direction[0] == 1.0


def test_a_mode_that_judges_takes_no_bundle_that_detects_nothing(tmp_path):
    make_unpacked(tmp_path, IMAGE | {"mode": "observe"})
    layer = replace(LAYERS["strong"], detection=None)
    bundle = save_bundle(one_bundle(tmp_path / "w.pth", layer), tmp_path / "new.safetensors")
    reason = "needs a bundle with a layer that detects"
    with open_model(tmp_path) as model, pytest.raises(SwapError, match=reason):
        model.swap(bundle)


def test_without_repair_there_is_nothing_to_swap(tmp_path, files):
    make_unpacked(tmp_path, IMAGE | {"mode": "off"})
    with open_model(tmp_path) as model, pytest.raises(SwapError, match="in mode off"):
        model.swap(files["strong"])


def test_a_bundle_that_serves_already_is_left_as_it_is(model, files):
    model.swap(files["strong"])
    model.answer(REQUESTS)
    model.swap(load_bundle(files["strong"]))
    assert model.describe()["counts"]["judged"] == 3


def test_a_thread_that_answers_can_neither_swap_nor_close(model, files):
    raised = []

    def swap(*_):
        with pytest.raises(SwapError, match="this thread answers a batch"):
            model.swap(files["strong"])
        with pytest.raises(FireError, match="this thread answers a batch"):
            model.close()
        raised.append(1)

    removable = module_of(model).features.register_forward_hook(swap)
    before = model.bundle
    model.answer(REQUESTS[:1])
    removable.remove()
    assert raised
    assert model.bundle is before
    model.answer(REQUESTS[:1])


class GoneError(Exception):
    pass


def test_a_batch_that_fails_holds_neither_a_swap_nor_the_end_up(model, files):
    def fail(*_):
        raise GoneError

    by_digest = {load_bundle(file).digest: name for name, file in files.items()}
    removable = module_of(model).head.register_forward_pre_hook(fail)
    for _ in range(3):
        with pytest.raises(GoneError):
            model.answer(REQUESTS)
    removable.remove()
    model.swap(files["in two passes"])
    assert by_digest[check(model.answer(REQUESTS), by_digest)] == "in two passes"


class Failing:
    """Metrics that fail once `fail` is set."""

    fail = False

    def __init__(self, *names: str) -> None:
        pass

    def add(self, counts):
        if Failing.fail:
            raise RuntimeError("no more counts")

    def set(self, name, value, *labels):
        if Failing.fail:
            raise RuntimeError("no more gauges")


def test_metrics_that_fail_hold_up_no_answer_no_end_and_are_told(folder, monkeypatch, caplog):
    model = open_model(folder, metrics=Failing)
    monkeypatch.setattr(Failing, "fail", True)
    # As many as it takes to measure a drift.
    for _ in range(5):
        answers = model.answer([grey(255), *[grey(60)] * 100])
        assert {one.status for one in answers} == {200}
    model.close()
    assert set(hooks_of(model).values()) == {0}
    told = "".join(record.exc_text or "" for record in caplog.records)
    assert "no more counts" in told
    assert "no more gauges" in told


def test_metrics_that_fail_while_a_bundle_goes_do_not_undo_the_swap(folder, files, monkeypatch):
    digest = load_bundle(files["strong"]).digest

    def metrics(*names):
        if names[-1] != digest:
            return Failing(*names)
        monkeypatch.setattr(Failing, "fail", True)
        return Recorded()(*names)

    with open_model(folder, metrics=metrics) as model:
        model.answer(REQUESTS)
        model.swap(files["strong"])
        assert model.bundle.digest == digest
        assert model.answer(REQUESTS[:1])[0].headers["x-fire-bundle"] == digest


def test_a_model_in_training_mode_does_not_answer(model):
    module_of(model).train()
    with pytest.raises(FireError, match="in training mode"):
        model.answer(REQUESTS)
    module_of(model).eval()
    assert model.answer(REQUESTS[:1])[0].status == 200


def test_after_the_end_nothing_is_answered_or_attached(folder, files):
    model = open_model(folder)
    model.close()
    model.close()
    assert set(hooks_of(model).values()) == {0}
    with pytest.raises(FireError, match="was closed"):
        model.answer(REQUESTS)
    with pytest.raises(FireError, match="was closed"):
        model.swap(files["strong"])


def test_what_waits_to_be_kept_is_kept_at_the_end(tmp_path, folder, files):
    kept = tmp_path / "kept"
    make_unpacked(folder, IMAGE | {"quarantine": {"folder": str(kept)}})
    with open_model(folder) as model:
        model.answer([grey(255), grey(0)])
        model.swap(files["strong"])
        model.answer([grey(254)])
    assert len(list((kept / "m").iterdir())) == 2
