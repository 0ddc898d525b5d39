"""Opening models to serve them: archives, their folders, and modules with a bundle."""

from __future__ import annotations

import json
import tempfile
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

import torchserve_fire
from tests.handler.archive import IMAGE, grey, make_bundle, softmax, state_dict
from tests.handler.core.several_bundles import LAYERS, WHITE, one_bundle
from tests.handler.core.unpacked import (
    ENTRY,
    answers_of_torchserve,
    make_unpacked,
    pack,
    write_manifest,
)
from tests.handler.model.test_exported_program import exported_archive
from tests.keys import KEY, OTHER_KEY, PUBLIC
from torchserve_fire.core.manifest import MANIFEST
from torchserve_fire.core.open_model import open_model
from torchserve_fire.errors import (
    AttachError,
    BundleError,
    ConfigError,
    FireError,
    ModelError,
    SignatureError,
    SwapError,
)
from torchserve_fire.format.bundle_file import BUNDLE_FILE, load_bundle, save_bundle
from torchserve_fire.model.state_digest import state_digest
from torchserve_fire.watch import metrics as metric
from torchserve_fire_build.deployment.archive.entry import HandlerEntry, entry_around
from torchserve_fire_build.deployment.archive.sign_archive import sign_folder
from torchserve_fire_build.signing.sign_bundle import sign_bundle


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "archive"
    folder.mkdir()
    make_unpacked(folder)
    return folder


def test_it_is_a_public_name():
    assert torchserve_fire.open_model is open_model


# Archives -----------------------------------------------------------------------------------------


def test_an_archive_is_opened_as_its_folder_is(folder, tmp_path):
    archive = pack(folder, tmp_path / "m.mar")
    with open_model(folder) as one, open_model(str(archive)) as other:
        assert one.answer([grey(255), b""]) == other.answer([grey(255), b""])
        assert (other.name, other.version) == ("m", "1.0")
        assert other.input.shape == (3, 2, 2)
    with open_model(archive, name="net", version="7") as model:
        described = model.describe()
        assert (described["model_name"], described["model_version"]) == ("net", "7")
        assert described["bundle"] == model.bundle.digest


def test_what_was_unpacked_goes_with_the_model(folder, tmp_path):
    archive = pack(folder, tmp_path / "m.mar")
    with open_model(archive) as model:
        unpacked = model._archive.folder
        assert unpacked.is_dir()
    assert not unpacked.exists()


def test_a_program_is_served_as_torchserve_serves_it(tmp_path):
    context = exported_archive(tmp_path)
    write_manifest(tmp_path, context.manifest)
    bodies = [grey(255), grey(0), b""]
    with open_model(tmp_path, device="cpu") as model:
        found = [(one.status, one.body, dict(one.headers)) for one in model.answer(bodies)]
    assert found == answers_of_torchserve(context, bodies)


def test_an_example_in_the_archive_is_what_it_is_proved_on(folder):
    (folder / "example.json").write_text(json.dumps([[[0.0] * 2] * 2] * 3))
    make_unpacked(folder, IMAGE | {"example": "example.json"})
    with open_model(folder) as model:
        assert model.answer([grey(255)])[0].headers["x-fire-repaired"] == "true"
        assert model.describe()["counts"]["judged"] == 1
    (folder / "example.json").write_text("[1]")
    with pytest.raises(AttachError, match="the example is not one forward pass"):
        open_model(folder)


SUBCLASS = ENTRY.read_text() + "\n    def preprocess(self, data):\n        return data\n"
AROUND = entry_around(HandlerEntry("theirs", "Theirs"))


PATCHED = ENTRY.read_text() + "\n\nFireHandler.preprocess = lambda self, data: data\n"
FUNCTION = ENTRY.read_text() + "\n\ndef handle(data, context): ...\n"
ANOTHER = ENTRY.read_text().replace("torchserve_fire.serve.fire_handler", "theirs")
INSIDE = ENTRY.read_text() + "\n    setattr(FireHandler, 'preprocess', None)\n"


@pytest.mark.parametrize(
    "text",
    [
        SUBCLASS,
        AROUND,
        PATCHED,
        FUNCTION,
        ANOTHER,
        INSIDE,
        "def handle(data, context): ...",
        "?",
        None,
    ],
)
def test_an_archive_that_answers_in_a_way_of_its_own_is_left_to_torchserve(folder, text):
    (folder / ENTRY.name).unlink()
    if text is not None:
        (folder / ENTRY.name).write_text(text)
    with pytest.raises(ModelError, match=r"a handler of its own, fire_service\.py, which needs"):
        open_model(folder)


def test_of_an_archive_that_cannot_be_opened_nothing_stays(folder, tmp_path, monkeypatch):
    (folder / "net.py").write_text("import gone")
    archive = pack(folder, tmp_path / "m.mar")
    (tmp_path / "cut.mar").write_bytes(archive.read_bytes()[:-9])
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    for name, reason in {"m": "'gone'", "cut": "cut.mar", "missing": "no such file"}.items():
        # While the error is held, so is all that the frames hold that it went through.
        with pytest.raises(FireError, match=reason) as held:
            open_model(tmp_path / f"{name}.mar")
        assert list(temporary.iterdir()) == []
        assert held.value


def test_each_archive_in_a_process_gets_the_neighbours_of_its_own_model_file(tmp_path):
    models = []
    for bias in (5.0, 7.0):
        folder = tmp_path / str(bias)
        folder.mkdir()
        make_unpacked(folder)
        text = (folder / "net.py").read_text().replace("(x))", "(x)) + BIAS")
        (folder / "net.py").write_text(f"from neighbour_of_net import BIAS\n{text}")
        (folder / "neighbour_of_net.py").write_text(
            f"import torch\nBIAS = torch.tensor([{bias}, 0, 0])"
        )
        models.append(open_model(folder, device="cpu"))
    for model, bias in zip(models, (5.0, 7.0), strict=True):
        found = model.answer([grey(0)])[0].body
        assert [found[str(k)] for k in range(3)] == pytest.approx(softmax(bias, 6, 0))


def spoil(folder: Path, name: str, text: str | None) -> None:
    if text is None:
        (folder / name).unlink()
    else:
        (folder / name).write_text(text)


@pytest.mark.parametrize(
    ("name", "text", "error", "reason"),
    [
        (BUNDLE_FILE, None, BundleError, "no such file"),
        (BUNDLE_FILE, "no bundle", BundleError, "not a direction bundle"),
        ("model-config.yaml", "handler: {input: image}", ConfigError, "image_size"),
        ("model-config.yaml", None, FireError, "names configFile"),
        ("w.pth", "no weights", ModelError, r"w\.pth"),
        ("w.pth", None, FireError, "names serializedFile"),
        ("net.py", "import gone", ModelError, "gone"),
        ("index_to_name.json", '{"0": "cat"}', ConfigError, "no name of class 1, 2"),
        ("MAR-INF/MANIFEST.json", None, FireError, "holds no MAR-INF"),
    ],
)
def test_what_is_missing_or_wrong_is_said_in_a_line(folder, name, text, error, reason):
    spoil(folder, name, text)
    with pytest.raises(error, match=reason) as raised:
        open_model(folder)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("device", ["nowhere", "cuda:99"])
def test_a_device_that_is_not_there(folder, device):
    with pytest.raises(ModelError, match=f"device {device}: "):
        open_model(folder, device=device)


def test_an_archive_has_its_bundle_and_settings_in_it(folder):
    for given in ({"bundle": folder / BUNDLE_FILE}, {"settings": {"mode": "off"}}):
        with pytest.raises(ConfigError, match="leave out those given"):
            open_model(folder, **given)


@pytest.mark.parametrize("changed", [None, "unsigned", "file", "bytecode", "key"])
def test_where_keys_are_trusted_nothing_of_an_archive_runs_before_it_was_checked(
    folder, tmp_path, changed
):
    trace = tmp_path / "executed"
    source = (folder / "net.py").read_text()
    (folder / "net.py").write_text(f"open({str(trace)!r}, 'w').close()\n{source}")
    if changed != "unsigned":
        sign_folder(folder, OTHER_KEY if changed == "key" else KEY)
    if changed == "file":
        (folder / "net.py").write_text(source)
    if changed == "bytecode":
        # A worker may have written it; here nothing has run.
        (folder / "__pycache__").mkdir()
        (folder / "__pycache__" / "net.cpython-311.pyc").write_bytes(b"")
    archive = pack(folder, tmp_path / "m.mar")
    if changed is None:
        open_model(archive, trusted_keys=[PUBLIC]).close()
        assert trace.exists()
        return
    with pytest.raises(SignatureError):
        open_model(archive, trusted_keys=[PUBLIC])
    assert not trace.exists()


def test_the_counts_of_a_bundle_go_where_they_were_asked_to(folder):
    made, counts, gauges = [], {}, {}

    class Metrics:
        def add(self, given):
            for (name, labels), value in given.items():
                assert len(labels) == len(metric.LABELS[name])
                counts[name] = counts.get(name, 0) + value

        def set(self, name, value, *labels):
            gauges[name] = value

    def metrics(*names):
        made.append(names)
        return Metrics()

    with open_model(folder, metrics=metrics) as model:
        digest = model.bundle.digest
        # All of them in one bin of the calibration's ten.
        for _ in range(5):
            model.answer([grey(200), b"", *[grey(60)] * 100])
    assert made[-1] == ("m", "1.0", digest)
    assert (counts[metric.JUDGED], counts[metric.FLAGGED]) == (505, 5)
    assert (counts[metric.REPAIRED], counts[metric.BAD_INPUTS]) == (5, 5)
    assert gauges[metric.DRIFT] > 50


# Modules ------------------------------------------------------------------------------------------


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Flatten()
        self.head = nn.Linear(12, 3)
        self.load_state_dict(state_dict())

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.features(x))


class TwoLogits(Net):
    def forward(self, x):
        y = super().forward(x)
        return y, y


@pytest.fixture
def net() -> Net:
    return Net().eval()


def bundle_for(model: nn.Module, folder: Path, kind: str = "image", **fields) -> Path:
    """Write a bundle that knows the weights by themselves, as those built from Python do."""
    torch.save(state_dict(), folder / "w.pth")
    bundle = replace(
        make_bundle(folder / "w.pth", kind),
        weights_sha256=None,
        state_sha256=state_digest(model),
        model_class=type(model).__name__,
        **fields,
    )
    return Path(save_bundle(bundle, folder / "b.safetensors") and folder / "b.safetensors")


def hooks(model: nn.Module) -> int:
    return sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in model.modules())


def test_a_module_is_served_with_what_the_bundle_says_of_its_input(net, tmp_path):
    with open_model(net, bundle_for(net, tmp_path)) as model:
        white, black, bad = model.answer([grey(255), grey(0), b"no image"])
        assert (model.name, model.version) == ("Net", "1.0")
    expected = softmax(12 - 9, 6, 0)
    assert [white.body[str(k)] for k in range(3)] == pytest.approx(expected)
    assert white.headers["x-fire-flagged"] == "true"
    assert [black.body[str(k)] for k in range(3)] == pytest.approx(softmax(0, 6, 0))
    assert (bad.status, bad.body["type"]) == (400, "InputError")
    assert hooks(net) == 0


def test_the_settings_of_a_module(net, tmp_path):
    path = bundle_for(net, tmp_path, "tensor")
    with open_model(net, path, settings={"mode": "reject", "topk": 1}, name="n") as model:
        white, black = model.answer([[1.0] * 12, [0.0] * 12])
        assert (white.status, list(black.body)) == (422, ["1"])
    with open_model(net, path, settings={"mode": "off"}) as model:
        assert model.answer([[1.0] * 12])[0].headers == {}
        assert model.bundle is None


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ({"settings": {"mode": "repiar"}}, "settings: handler: mode: 'repiar'"),
        ({"settings": {"mean": [0, 0, 0]}}, "settings: handler: mean: unknown"),
        ({"settings": {"input": "image"}}, "settings: input: the bundle says"),
        ({"settings": {"example": "x.png"}}, "settings: example: .*: leave it out"),
        ({"settings": {"model_class": "Net"}}, "settings: model_class: .*: leave it out"),
        ({"settings": ["mode"]}, "settings: list, expected a map"),
        ({"bundle": 7}, "bundle: int, expected its file"),
        ({"metrics": None}, "metrics: nothing can be counted there: 'NoneType'"),
        ({"trusted_keys": []}, r"trusted_keys: \[\], expected a list of public keys"),
        ({"trusted_keys": PUBLIC}, "trusted_keys: .*, expected a list of public keys"),
        ({"trusted_keys": ["abc"]}, "trusted_keys: 'abc', expected an Ed25519 public key"),
        ({"settings": {"quarantine": {"folder": "/dev/null/q"}}}, "quarantine: folder: /dev/null"),
        ({"device": "cpu"}, "a module stays where it is"),
        ({"bundle": None}, "expected bundle= beside it"),
        ({"trusted_keys": [PUBLIC]}, "cannot read the bundle's signature"),
        ({"settings": {"trusted_keys": [PUBLIC]}}, "cannot read the bundle's signature"),
    ],
)
def test_a_module_that_cannot_be_served(net, tmp_path, given, reason):
    with pytest.raises(FireError, match=reason) as raised:
        open_model(net, **({"bundle": bundle_for(net, tmp_path)} | given))
    assert "\n" not in str(raised.value)
    assert hooks(net) == 0


def test_a_signed_bundle_is_served(net, tmp_path):
    path = bundle_for(net, tmp_path)
    sign_bundle(path, KEY)
    open_model(net, path, trusted_keys=[PUBLIC]).close()


def test_other_weights_and_a_model_in_training_are_refused(net, tmp_path):
    path = bundle_for(net, tmp_path)
    for mode in ("repair", "off"):
        with pytest.raises(AttachError, match="in training mode"):
            open_model(net.train(), path, settings={"mode": mode})
    with torch.no_grad():
        net.eval().head.bias[0] = 1
    with pytest.raises(BundleError, match="state_sha256"):
        open_model(net, path)
    assert hooks(net) == 0


@pytest.mark.parametrize("name", ["..", "a/b", "/etc", "a\nb", 7])
def test_a_name_that_leads_out_of_the_quarantine_or_breaks_a_line(net, folder, tmp_path, name):
    for given in ({"name": name}, {"version": name}):
        with pytest.raises(ConfigError, match=f"{next(iter(given))}: .*expected text on one line"):
            open_model(net, bundle_for(net, tmp_path), **given)
        with pytest.raises(ConfigError, match="expected text on one line"):
            open_model(folder, **given)
    manifest = json.loads((folder / MANIFEST).read_text())
    manifest["model"]["modelName"] = "../../elsewhere"
    (folder / MANIFEST).write_text(json.dumps(manifest))
    with pytest.raises(ConfigError, match=r"name: '\.\./\.\./elsewhere', expected"):
        open_model(folder)


@pytest.mark.parametrize("source", [None, 7, Net])
def test_what_is_neither_an_archive_nor_a_module(source):
    with pytest.raises(ModelError, match=r"expected an archive's path, or a module that was built"):
        open_model(source)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_a_module_is_asked_in_its_own_precision(net, tmp_path, dtype):
    net.to(dtype)
    with open_model(net, bundle_for(net, tmp_path)) as model:
        white, black = model.answer([grey(255), grey(0)])
    assert [white.body[str(k)] for k in range(3)] == pytest.approx(softmax(12 - 9, 6, 0))
    assert [black.body[str(k)] for k in range(3)] == pytest.approx(softmax(0, 6, 0))


def test_a_changed_bundle_is_not_taken_for_the_one_that_was_saved(net, tmp_path):
    saved = load_bundle(bundle_for(net, tmp_path))
    changed = replace(saved, layers=(replace(saved.layers[0], detection=None),))
    with pytest.raises(BundleError, match="not saved, or changed since"):
        open_model(net, changed)
    with open_model(net, saved) as model:
        with pytest.raises(SwapError, match="not saved, or changed since"):
            model.swap(changed)
        assert model.bundle is saved


def test_where_it_fails_at_last_nothing_stays_attached(tmp_path):
    model = TwoLogits().eval()
    with pytest.raises(ModelError, match="expected logits"):
        open_model(model, bundle_for(model, tmp_path))
    assert hooks(model) == 0


def test_a_bundle_for_another_shape_of_a_tensor_is_not_swapped_in(net, tmp_path):
    path = bundle_for(net, tmp_path, "tensor")
    with open_model(net, path) as model:
        bundle = replace(model.bundle, input=replace(model.bundle.input, shape=(3, 4)))
        other = save_bundle(bundle, tmp_path / "other.safetensors")
        with pytest.raises(SwapError, match=r"of shape \[3, 4\], the model is served with tensor"):
            model.swap(other)


def test_a_compiled_module_takes_bundles_for_the_layers_that_it_was_compiled_with(net, tmp_path):
    torch._dynamo.reset()
    torch.save(state_dict(), tmp_path / "w.pth")
    known = {"weights_sha256": None, "state_sha256": state_digest(net)}
    bundles = {
        name: save_bundle(
            replace(one_bundle(tmp_path / "w.pth", layer), **known), tmp_path / f"{i}.safetensors"
        )
        for i, (name, layer) in enumerate(LAYERS.items())
    }
    with open_model(torch.compile(net, backend="eager"), bundles["weak"]) as model:
        assert model.name == "Net"
        for name in ("weak", "strong", "in two passes"):
            model.swap(bundles[name])
            found = model.answer([grey(255), grey(0)])[0].body
            assert [found[str(k)] for k in range(3)] == pytest.approx(WHITE[name])
        with pytest.raises(SwapError, match="layer 'head' did not run, or its hook did not fire"):
            model.swap(bundles["at another layer"])
        found = model.answer([grey(255), grey(0)])[0].body
        assert [found[str(k)] for k in range(3)] == pytest.approx(WHITE["in two passes"])
    torch._dynamo.reset()
