"""A model that goes by the newest bundle of a folder, or on with the one that it has."""

from __future__ import annotations

import os
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from tests.handler.archive import IMAGE, ask, grey
from tests.handler.core.several_bundles import LAYERS, WHITE, one_bundle
from tests.handler.core.unpacked import make_unpacked
from tests.keys import KEY, OTHER_KEY, PUBLIC
from torchserve_fire.core import bundle_folder, served_repair
from torchserve_fire.core.open_model import open_model
from torchserve_fire.core.worker_start import AS_SERVER, TRIAL_VARIABLE
from torchserve_fire.errors import ConfigError, FireError
from torchserve_fire.format.bundle_file import bundle_to_bytes
from torchserve_fire.format.digest import file_sha256
from torchserve_fire.model import fit
from torchserve_fire.serve.fire_handler import FireHandler
from torchserve_fire.watch import metrics as metric
from torchserve_fire_build.deployment.archive.sign_archive import sign_folder
from torchserve_fire_build.signing.sign_bundle import sign_bundle

OWN = "the archive's own"


class Clock:
    """Each bundle that is put is written a second after the one before, whatever the disk's."""

    def __init__(self) -> None:
        self.now = 1_000_000_000.0

    def put(self, path: Path, data: bytes) -> Path:
        path.write_bytes(data)
        self.now += 1
        os.utime(path, (self.now, self.now))
        return path


class Counted:
    """What was counted, by the bundle's digest and the counter's name."""

    def __init__(self) -> None:
        self.counts: dict[tuple[str, str], int] = {}

    def __call__(self, model, version, bundle):
        self.bundle = bundle
        return Counted.Metrics(self.counts, bundle)

    class Metrics:
        def __init__(self, counts, bundle):
            self.counts, self.bundle = counts, bundle

        def add(self, counts):
            for (name, _), value in counts.items():
                key = (self.bundle, name)
                self.counts[key] = self.counts.get(key, 0) + value

        def set(self, name, value, *labels):
            pass


@pytest.fixture(autouse=True)
def _each_batch_looks(monkeypatch):
    monkeypatch.setattr(bundle_folder, "SECONDS", 0.0)
    monkeypatch.setattr(bundle_folder, "REST", 0)


@pytest.fixture
def folder(tmp_path):
    path = tmp_path / "bundles"
    path.mkdir()
    return path


@pytest.fixture
def archive(tmp_path, folder):
    path = tmp_path / "archive"
    path.mkdir()
    make_unpacked(path, IMAGE | {"bundle_folder": str(folder)})
    return path


@pytest.fixture
def data(archive):
    """The bytes of each bundle's file."""
    return {
        name: bundle_to_bytes(one_bundle(archive / "w.pth", layer), "it")
        for name, layer in LAYERS.items()
    }


@pytest.fixture
def put(folder, data):
    clock = Clock()
    return lambda name, which: clock.put(
        folder / name, data[which] if isinstance(which, str) else which
    )


def serves(model) -> str:
    """Return which bundle answers, as the answer itself shows it."""
    (answer,) = model.answer([grey(255)])
    assert answer.status == 200
    first = answer.body["0"]
    by_first = {round(softmax[0], 6): name for name, softmax in WHITE.items()}
    # It takes 9 off, and none of the others does.
    return by_first.get(round(first, 6), OWN)


def test_the_newest_serves_and_without_any_the_archives_own(archive, folder, put):
    with open_model(archive) as model:
        assert serves(model) == OWN
        put("b.safetensors", "weak")
        assert serves(model) == "weak"
        assert model.describe()["bundle_folder"] == {
            "folder": str(folder),
            "file": "b.safetensors",
            "refused": None,
        }
        put("a.safetensors", "strong")
        assert serves(model) == "strong"
        (folder / "a.safetensors").unlink()
        assert serves(model) == "weak"
        # Written anew, it is another one, under whatever name.
        put("b.safetensors", "at another layer")
        assert serves(model) == "at another layer"
        (folder / "b.safetensors").unlink()
        assert serves(model) == OWN
        assert model.describe()["bundle_folder"]["file"] is None


def test_a_model_starts_with_what_the_others_go_by(archive, put, caplog):
    put("1.safetensors", "weak")
    put("2.safetensors", "strong")
    put("3.safetensors", b"no bundle")
    with open_model(archive) as model:
        assert serves(model) == "strong"
        told = model.describe()["bundle_folder"]
        assert (told["file"], told["refused"]["file"]) == ("2.safetensors", "3.safetensors")
    assert len([r for r in caplog.records if "takes no bundle" in r.message]) == 1


def test_what_is_no_bundle_of_the_folder_is_passed_over(archive, folder, put):
    put(".hidden.safetensors", "weak")
    put("weak.safetensors.tmp", "weak")
    (folder / "folder.safetensors").mkdir()
    (folder / "nowhere.safetensors").symlink_to(folder / "nothing")
    with open_model(archive) as model:
        assert serves(model) == OWN
        assert model.describe()["bundle_folder"]["refused"] is None


NOT_TAKEN = {
    "foreign": lambda data, weights: bundle_to_bytes(
        replace(one_bundle(weights, LAYERS["strong"]), weights_sha256="0" * 64), "it"
    ),
    "damaged": lambda data, weights: data[:-1] + bytes([data[-1] ^ 1]),
    "half": lambda data, weights: data[: len(data) // 2],
    "empty": lambda data, weights: b"",
    "of a shape that the layer has not": lambda data, weights: bundle_to_bytes(
        one_bundle(weights, replace(LAYERS["strong"], name="head")), "it"
    ),
}


@pytest.mark.parametrize("what", NOT_TAKEN)
def test_what_does_not_fit_leaves_the_old_one_and_is_told(archive, data, put, caplog, what):
    counted = Counted()
    wrong = NOT_TAKEN[what](data["strong"], archive / "w.pth")
    with open_model(archive, metrics=counted) as model:
        put("old.safetensors", "weak")
        assert serves(model) == "weak"
        put("new.safetensors", wrong)
        for _ in range(3):
            assert serves(model) == "weak"
        refused = model.describe()["bundle_folder"]["refused"]
        assert refused["file"] == "new.safetensors"
        assert "\n" not in refused["reason"]
        old = model.bundle.digest
        # Once it is whole, it serves, and nothing is left to tell of.
        put("new.safetensors", "strong")
        assert serves(model) == "strong"
        new = model.bundle.digest
        assert model.describe()["bundle_folder"]["refused"] is None
    assert len([r for r in caplog.records if "takes no bundle" in r.message]) == 1
    assert counted.counts[old, metric.SWAPS] == 1
    assert counted.counts[old, metric.SWAPS_REFUSED] == 1
    assert counted.counts[new, metric.SWAPS] == 1


def test_a_file_that_is_written_over_leaves_what_it_was(archive, data, put):
    with open_model(archive) as model:
        put("older.safetensors", "at another layer")
        put("it.safetensors", "weak")
        assert serves(model) == "weak"
        for size in (0, 10, 1000, len(data["strong"]) - 1):
            put("it.safetensors", data["strong"][:size])
            assert serves(model) == "weak"
        put("it.safetensors", "strong")
        assert serves(model) == "strong"


def test_a_folder_that_is_gone_changes_nothing(archive, folder, put, caplog):
    with open_model(archive) as model:
        put("it.safetensors", "weak")
        assert serves(model) == "weak"
        away = folder.rename(folder.with_name("away"))
        for _ in range(3):
            assert serves(model) == "weak"
        assert "No such file" in model.describe()["bundle_folder"]["refused"]["reason"]
        assert len([r for r in caplog.records if "No such file" in r.message]) == 1
        away.rename(folder)
        assert serves(model) == "weak"
        assert model.describe()["bundle_folder"]["refused"] is None


def test_where_keys_are_trusted_a_bundle_must_be_signed(archive, folder, put):
    sign_folder(archive, KEY)
    with open_model(archive, trusted_keys=[PUBLIC]) as model:
        file = put("it.safetensors", "weak")
        assert serves(model) == OWN
        sign_bundle(file, OTHER_KEY)
        assert serves(model) == OWN
        assert "sig" in model.describe()["bundle_folder"]["refused"]["reason"]
        # The signature alone is new, and the bundle is tried again.
        sign_bundle(file, KEY)
        assert serves(model) == "weak"
        put("it.safetensors", "strong")
        assert serves(model) == "weak"
        # The archive's own was signed with the archive.
        file.unlink()
        assert serves(model) == OWN


def test_a_folder_that_is_not_there_is_refused_at_the_start(archive, folder, monkeypatch):
    folder.rmdir()
    with pytest.raises(ConfigError, match=r"bundle_folder: .*No such file"):
        open_model(archive)
    # On a machine that need not be the server's, there may be none.
    for value in ("1", AS_SERVER):
        monkeypatch.setenv(TRIAL_VARIABLE, value)
        with open_model(archive) as model:
            assert serves(model) == OWN


def test_an_archive_that_is_tried_goes_by_its_own_unless_it_stands_for_the_server(
    archive, put, monkeypatch
):
    put("it.safetensors", "weak")
    for value, which in (("1", OWN), (AS_SERVER, "weak")):
        monkeypatch.setenv(TRIAL_VARIABLE, value)
        with open_model(archive) as model:
            assert serves(model) == which


def test_who_has_no_key_can_hold_nobody_up(archive, folder, put):
    sign_folder(archive, KEY)
    with open_model(archive, trusted_keys=[PUBLIC]) as model:
        sign_bundle(put("mine.safetensors", "weak"), KEY)
        assert serves(model) == "weak"
        signature = (folder / "mine.safetensors.sig").read_bytes()
        # A pipe that nobody writes to, in the place of a signature.
        put("b.safetensors", "strong")
        os.mkfifo(folder / "b.safetensors.sig")
        assert serves(model) == "weak"
        assert "no regular file" in model.describe()["bundle_folder"]["refused"]["reason"]
        # A signature of before, beside more than there is memory.
        (folder / "c.safetensors.sig").write_bytes(signature)
        os.truncate(put("c.safetensors", b""), 1 << 40)
        os.utime(folder / "c.safetensors", (2e9, 2e9))
        assert serves(model) == "weak"
        assert "signs another bundle" in model.describe()["bundle_folder"]["refused"]["reason"]


def test_after_a_file_that_took_long_to_refuse_the_next_look_waits(folder, monkeypatch):
    now = [0.0]
    monkeypatch.setattr(bundle_folder, "SECONDS", 0.25)
    monkeypatch.setattr(bundle_folder, "REST", 9)
    monkeypatch.setattr(bundle_folder.time, "monotonic", lambda: now[0])
    looks = []

    def take(path):
        looks.append(now[0])
        now[0] += 0.5
        if len(looks) < 3:
            raise FireError("no")

    followed = bundle_folder.BundleFolder(folder, "m", take, beside=False)
    for pause in (4.5, 0.25):
        (folder / "it.safetensors").write_bytes(b"x" * len(looks))
        os.utime(folder / "it.safetensors", (1e9 + len(looks), 1e9))
        followed.look()
        (folder / "it.safetensors").write_bytes(b"y" * (len(looks) + 10))
        ended = now[0]
        now[0] = ended + pause - 0.01
        followed.look()
        assert looks[-1] == ended - 0.5
        now[0] = ended + pause
        followed.look()
        assert looks[-1] == ended + pause
        now[0] += 10


class Slow:
    """Takes a bundle once it is told to, and says in which thread."""

    def __init__(self) -> None:
        self.threads: list[threading.Thread] = []
        self.may_end = threading.Event()

    def __call__(self, path: Path | None) -> None:
        self.threads.append(threading.current_thread())
        assert self.may_end.wait(60)


def test_nobody_waits_for_a_bundle_that_takes_long_to_prove_itself(folder):
    slow = Slow()
    followed = bundle_folder.BundleFolder(folder, "m", slow, beside=True)
    (folder / "it.safetensors").write_bytes(b"x")
    for at_once in (False, True, False):
        followed.look(at_once=at_once, patience=0.05)
        assert followed.describe()["file"] is None
    slow.may_end.set()
    followed.look(at_once=True, patience=None)
    assert followed.describe()["file"] == "it.safetensors"
    (thread,) = slow.threads
    assert thread is not threading.current_thread()


def test_who_waits_without_end_sees_what_began_before(folder):
    slow = Slow()
    followed = bundle_folder.BundleFolder(folder, "m", slow, beside=True)
    (folder / "it.safetensors").write_bytes(b"x")
    followed.look(patience=0.0)
    threading.Timer(0.2, slow.may_end.set).start()
    followed.look(at_once=True, patience=None)
    assert followed.describe()["file"] == "it.safetensors"


def test_what_is_proved_by_the_handlers_own_way_is_proved_in_its_thread(folder):
    slow = Slow()
    slow.may_end.set()
    followed = bundle_folder.BundleFolder(folder, "m", slow, beside=False)
    (folder / "it.safetensors").write_bytes(b"x")
    followed.look()
    assert slow.threads == [threading.current_thread()]


def test_batches_go_on_by_the_old_bundle_while_another_proves_itself(
    archive, folder, put, monkeypatch
):
    proving, may_go_on = threading.Event(), threading.Event()
    prove = served_repair.prove_beside

    def slow_proof(*args, **options):
        proving.set()
        assert may_go_on.wait(60)
        return prove(*args, **options)

    with open_model(archive) as model:
        monkeypatch.setattr(served_repair, "prove_beside", slow_proof)
        put("1.safetensors", "strong")
        for _ in range(3):
            assert serves(model) == OWN
        assert proving.is_set()
        may_go_on.set()
        assert model.describe()["bundle_folder"]["file"] == "1.safetensors"
        assert serves(model) == "strong"


def test_many_files_are_neither_listed_nor_tried_without_end(archive, folder, put, monkeypatch):
    monkeypatch.setattr(bundle_folder, "MAX_TRIED", 2)
    put("1.safetensors", "strong")
    for number in (2, 3):
        put(f"{number}.safetensors", b"no bundle")
    with open_model(archive) as model:
        # The others go by "strong", which lies there too deep.
        assert serves(model) == OWN
        assert model.describe()["bundle_folder"]["refused"]["file"] == "3.safetensors"
        put("4.safetensors", "weak")
        assert serves(model) == "weak"
        monkeypatch.setattr(bundle_folder, "MAX_ENTRIES", 4)
        put("5.safetensors", "strong")
        assert serves(model) == "weak"
        assert "over 4 entries" in model.describe()["bundle_folder"]["refused"]["reason"]
    # Nor does that keep a worker from starting.
    with open_model(archive) as model:
        assert serves(model) == OWN


@pytest.mark.parametrize("named", [True, False])
def test_no_request_waits_for_a_digest_of_the_weights(archive, folder, put, monkeypatch, named):
    if not named:
        make_unpacked(archive, IMAGE)
    taken = []
    digest_of = fit.state_digest
    monkeypatch.setattr(fit, "state_digest", lambda model: taken.append(1) or digest_of(model))
    with open_model(archive) as model:
        # At the start, where a folder is named, since what comes there is not known.
        assert len(taken) == named
        bundle = one_bundle(archive / "w.pth", LAYERS["strong"])
        state = digest_of(model._classifier.model)
        by_state = replace(bundle, weights_sha256=None, state_sha256=state)
        put("it.safetensors", bundle_to_bytes(by_state, "it"))
        assert serves(model) == ("strong" if named else OWN)
        assert len(taken) == named
        wrong = replace(by_state, state_sha256="0" * 64)
        put("wrong.safetensors", bundle_to_bytes(wrong, "it"))
        assert serves(model) == ("strong" if named else OWN)


def test_a_folder_must_be_named_by_an_absolute_path(archive):
    make_unpacked(archive, IMAGE | {"bundle_folder": "bundles"})
    with pytest.raises(ConfigError, match=r"bundle_folder: 'bundles', expected an absolute path"):
        open_model(archive)


def test_many_looks_are_made_now_and_then(archive, put, monkeypatch):
    monkeypatch.setattr(bundle_folder, "SECONDS", 3600.0)
    with open_model(archive) as model:
        put("it.safetensors", "weak")
        assert serves(model) == OWN
        # Whoever asks gets an answer of now.
        assert model.describe()["bundle"] == file_sha256(put("it.safetensors", "weak"))
        assert serves(model) == "weak"


def test_torchserves_handler_looks_before_it_answers_and_describes(tmp_path, folder, put):
    path = tmp_path / "served"
    path.mkdir()
    context = make_unpacked(path, IMAGE | {"bundle_folder": str(folder)})
    first = put("first.safetensors", "weak")
    handler = FireHandler()
    handler.initialize(context)
    rows = [{"body": grey(255)}, {"body": b"no image"}, {"body": grey(0)}]
    bodies = [body for _, body in ask(handler, context, rows)]
    assert bodies[0]["0"] == pytest.approx(WHITE["weak"][0])
    assert context.get_response_headers(0)["x-fire-bundle"] == file_sha256(first)
    second = put("second.safetensors", "strong")
    statuses = [status for status, _ in ask(handler, context, rows)]
    assert statuses == [200, 400, 200]
    assert context.get_response_headers(0)["x-fire-bundle"] == file_sha256(second)
    third = put("third.safetensors", "weak")
    ((_, told),) = ask(handler, context, [{}], {0: {"describe": "True"}})
    assert told["bundle"] == file_sha256(third)
    assert told["bundle_folder"]["file"] == "third.safetensors"
