"""A model from an archive: what its own handler makes of samples, and what cannot be followed."""

import gc
import io
import json
import logging
import os
import runpy
import shutil
import sys
import tempfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms.functional import to_tensor

from tests.directions.unpacked_archives import FUNCTION, IMAGES, write_archive, write_bodies
from tests.tiny import TinyFiles, image, write_bundle
from torchserve_fire.core.unpack import unpack
from torchserve_fire.errors import BundleError, ConfigError, FireError, ModelError
from torchserve_fire.format.bundle_file import load_bundle
from torchserve_fire.format.digest import file_sha256
from torchserve_fire.model.config import QuarantineConfig
from torchserve_fire.model.request_body import request_body
from torchserve_fire.repair.attach_layers import attach_layers
from torchserve_fire.watch.quarantine import Quarantine
from torchserve_fire_build.common.errors import OptionError, SamplesError
from torchserve_fire_build.deployment.archive.entry import HandlerEntry
from torchserve_fire_build.samples.predict import logits_of
from torchserve_fire_build.source.archive import (
    ArchiveSource,
    bundle_of,
    entry_of_source,
    open_archive,
)
from torchserve_fire_build.source.files import FileSource
from torchserve_fire_build.source.worker_handler import handler_class, start_handler

NORMALIZE = "transforms.Normalize([0.5, 0.4, 0.3], [0.25, 0.2, 0.5])"
NORMALIZED = IMAGES.replace("transforms.ToTensor()]", f"transforms.ToTensor(), {NORMALIZE}]")


@pytest.fixture
def bodies(tmp_path: Path) -> Path:
    return write_bodies(tmp_path / "bodies", [0, 1, 2, 3])


@pytest.fixture
def write(tmp_path: Path, tiny: TinyFiles):
    def write_changed(text: str = IMAGES, *changes: tuple[str, str], **more) -> Path:
        for before, after in changes:
            assert before in text
            text = text.replace(before, after)
        folder = tmp_path / f"archive{len(list(tmp_path.glob('archive*')))}"
        return write_archive(folder, tiny, text, **more)

    return write_changed


def refused(archive: Path, bodies: Path | None = None) -> str:
    def opened() -> None:
        source = open_archive(archive)
        assert bodies is not None
        source.open_samples(bodies)

    with pytest.raises(FireError) as caught:
        opened()
    assert "\n" not in str(caught.value)
    return str(caught.value)


# Samples ------------------------------------------------------------------------------------------


def test_samples_are_what_the_handlers_preprocess_makes_of_them(tmp_path, write):
    pixels = np.random.default_rng(0).integers(0, 256, (13, 17, 3), dtype=np.uint8)
    for form in ("png", "jpg", "webp"):
        Image.fromarray(pixels).save(tmp_path / f"one.{form}")
    bodies = tmp_path / "bodies" / "0"
    bodies.mkdir(parents=True)
    for form in ("png", "jpg", "webp"):
        (tmp_path / f"one.{form}").rename(bodies / f"{form}.{form}")
    samples = open_archive(write(NORMALIZED)).open_samples(bodies)
    mean, std = (torch.tensor(v).view(3, 1, 1) for v in ([0.5, 0.4, 0.3], [0.25, 0.2, 0.5]))
    for name, sample in zip(samples.names, samples.load([0, 1, 2]), strict=True):
        whole = to_tensor(Image.open(bodies / name).convert("RGB"))
        cropped = whole[:, 2:10, 4:12]
        assert torch.equal(sample, cropped.sub(mean).div(std))
    assert samples.body(1).content == (bodies / samples.names[1]).read_bytes()


def test_what_inference_changes_after_preprocess_counts(write, bodies):
    """Grey images do not show that colours are exchanged; the model's own input does."""
    (bodies / "1" / "red.png").write_bytes(red())
    swapped = (
        "    def postprocess",
        INFERENCE.format("data[:, [2, 1, 0]]") + "    def postprocess",
    )
    samples = open_archive(write(IMAGES, swapped)).open_samples(bodies)
    red_sample = samples.load([samples.names.index("1/red.png")])[0]
    assert red_sample[2].min() == 1
    assert red_sample[:2].max() == 0


INFERENCE = """    def inference(self, data):
        with torch.no_grad():
            return self.model({})

"""


def red() -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (8, 8), (255, 0, 0)).save(file, "PNG")
    return file.getvalue()


def test_mean_and_std_are_found(write):
    described = open_archive(write(NORMALIZED)).describe_input()
    assert (described.kind, described.shape) == ("image", (3, 8, 8))
    assert described.mean == pytest.approx([0.5, 0.4, 0.3], abs=1e-5)
    assert described.std == pytest.approx([0.25, 0.2, 0.5], abs=1e-5)


@pytest.mark.parametrize("step", ["1 - i", "(i - i.mean()) / (i.std() + 1e-3)", "i ** 2"])
def test_no_mean_is_made_up(write, bodies, step):
    changed = ("self.steps(i)", f"(lambda i: {step})(self.steps(i))")
    source = open_archive(write(IMAGES, changed))
    assert source.input_kind is None
    with pytest.raises(SamplesError, match="expected samples"):
        source.describe_input()
    assert source.open_samples(bodies).description.kind == "tensor"


def test_an_image_keeps_its_size(write, bodies):
    """The handler brings images to no size, and the model takes one alone: samples show which."""
    source = open_archive(write(IMAGES, ("transforms.CenterCrop(8), ", "")))
    assert source.input_kind is None
    described = source.open_samples(bodies).description
    assert (described.kind, described.shape) == ("image", (3, 8, 8))


def test_a_handler_that_overrides_handle(write, bodies):
    handle = """    def handle(self, data, context):
        images = [self.read(row) for row in data]
        return [int(row.argmax()) for row in self.model(torch.stack(images))]

    def read(self, row):
        return self.steps(Image.open(io.BytesIO(row.get("body") or row["data"])).convert("RGB"))

    def preprocess(self, data):
        raise NotImplementedError

    def postprocess"""
    a = IMAGES.index("    def preprocess")
    b = IMAGES.index("    def postprocess")
    source = open_archive(write(IMAGES[:a] + IMAGES[b:].replace("    def postprocess", handle)))
    assert torch.equal(
        source.open_samples(bodies).load([1])[0], to_tensor(Image.open(io.BytesIO(image(1))))
    )


def test_a_handler_that_reads_data_alone(write, bodies):
    source = open_archive(write(IMAGES, ('row.get("data") or row.get("body")', 'row["data"]')))
    assert len(source.open_samples(bodies)) == 4
    assert source.parameter == "data"
    (bodies / "0" / "00.png").write_bytes(b"no image")
    assert "cannot identify" in refused(source.archive.source, bodies)


def test_a_class_without_base_handler(write, bodies):
    handle = """    def handle(self, data, context):
        with torch.no_grad():
            return self.postprocess(self.model(self.preprocess(data)))

    def preprocess"""
    plain = write(IMAGES, ("(BaseHandler)", ""), ("    def preprocess", handle))
    assert len(open_archive(plain).open_samples(bodies)) == 4


def test_a_function(write, bodies):
    samples = open_archive(write(FUNCTION)).open_samples(bodies)
    assert torch.equal(samples.load([2])[0], to_tensor(Image.open(io.BytesIO(image(2)))))


def test_a_function_that_the_manifest_names(write, bodies):
    changed = write(FUNCTION, ("def handle(", "def answer("), handler="their_handler.py:answer")
    source = open_archive(changed)
    assert len(source.open_samples(bodies)) == 4
    assert entry_of_source(source) == HandlerEntry("their_handler", "answer", is_function=True)


def test_a_function_that_loads_its_model_with_the_first_request(write):
    lazy = ("    if not _service.initialized:", "    if data and not _service.initialized:")
    assert "when it was called with data=None" in refused(write(FUNCTION, lazy))


@pytest.mark.parametrize(
    "output", ["{'logits': y, 'hidden': x.flatten(1)}", "(y, None)", "SimpleNamespace(logits=y)"]
)
def test_a_model_called_by_keyword_with_outputs_by_name(write, bodies, output):
    net = f"""
    def forward(self, pixel_values, labels=None, return_dict=True):
        x = pixel_values
        y = self.net(x)
        return {output}
"""
    wrapped = (
        "class TheirHandler",
        "from types import SimpleNamespace\n\n\nclass Wrapped(torch.nn.Module):\n"
        "    def __init__(self, net):\n        super().__init__()\n        self.net = net\n"
        f"{net}\n\nWrapped.__module__ = 'nets'\n\n\nclass TheirHandler",
    )
    logits = "y['logits']" if "logits'" in output else "y.logits" if "Simple" in output else "y[0]"
    inference = f"""        self.model = Wrapped(self.model).eval()
        self.initialized = True

    def inference(self, data):
        with torch.no_grad():
            y = self.model(pixel_values=data, return_dict=True)
        return {logits}
"""
    archive = write(IMAGES, wrapped, ("        self.initialized = True\n", inference))
    source = open_archive(archive)
    samples = source.open_samples(bodies)
    assert logits_of(source.loaded.model, samples.load([0, 1, 2, 3])).argmax(1).tolist() == [
        0,
        1,
        2,
        3,
    ]


def test_texts_become_integers(tmp_path, write):
    words = """
import torch
from ts.torch_handler.base_handler import BaseHandler


class Words(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding = torch.nn.Embedding(9, 4)
        self.head = torch.nn.Linear(4, 2)

    def forward(self, x):
        return self.head(self.embedding(x).mean(1))


Words.__module__ = "nets"


class TheirHandler(BaseHandler):
    def initialize(self, context):
        self.device = torch.device("cpu")
        self.model = Words().eval()

    def preprocess(self, data):
        texts = [row.get("data") or row.get("body") for row in data]
        assert all(isinstance(text, str) for text in texts)
        return torch.tensor([[len(word) for word in text.split()[:3]] for text in texts])

    def postprocess(self, data):
        return data.argmax(1).tolist()
"""
    folder = tmp_path / "texts"
    folder.mkdir()
    (folder / "a.txt").write_text("a film of note")
    (folder / "b.txt").write_text("the worst one")
    samples = open_archive(write(words)).open_samples(folder)
    assert (samples.description.kind, samples.description.shape) == ("integers", (3,))
    assert samples.load([0, 1]).tolist() == [[1, 4, 2], [3, 5, 3]]


def test_torchserves_image_classifier(tmp_path, tiny, bodies):
    """With the preprocessing of ImageNet, on a model that takes it."""
    net = """
import torch
from torch import nn


class Small(nn.Module):
    def __init__(self):
        super().__init__()
        self.features = nn.Conv2d(3, 4, 8, stride=8)
        self.head = nn.Linear(4, 7)

    def forward(self, x):
        return self.head(self.features(x).relu().mean((2, 3)))
"""
    (tmp_path / "small.py").write_text(net)
    small = runpy.run_path(str(tmp_path / "small.py"))["Small"]
    torch.save(small().state_dict(), tmp_path / "small.pth")
    archive = write_archive(
        tmp_path / "named",
        tiny,
        handler="image_classifier",
        modelFile="small.py",
        serializedFile="small.pth",
        files={
            "small.py": net,
            "small.pth": (tmp_path / "small.pth").read_bytes(),
            "their_handler.py": "",
            "tiny_net.py": "",
        },
    )
    described = open_archive(archive).describe_input()
    assert described.shape == (3, 224, 224)
    assert described.mean == pytest.approx([0.485, 0.456, 0.406], abs=1e-5)
    assert described.std == pytest.approx([0.229, 0.224, 0.225], abs=1e-5)


def test_half_precision(write, bodies):
    half = write(
        IMAGES,
        ("self.initialized = True", "self.model.bfloat16()"),
        ("return torch.stack([self.steps(i) for i in images])",
         "return torch.stack([self.steps(i) for i in images]).bfloat16()"),
    )  # fmt: skip
    source = open_archive(half)
    inputs = source.open_samples(bodies).load([0, 1, 2, 3])
    assert inputs.dtype == torch.float32
    assert torch.equal(inputs, inputs.bfloat16().float())
    assert logits_of(source.loaded.model, inputs).argmax(1).tolist() == [0, 1, 2, 3]


# What cannot be followed --------------------------------------------------------------------------

MODEL = "    def postprocess(self, data):"


FORWARD = "self.model.forward(data)"
PARSES = "import argparse\nargparse.ArgumentParser().parse_args(['--no'])\n"
STARTED = "self.initialized = True"


def inferred(expression: str) -> tuple[str, str]:
    """The change that makes the handler predict by an expression of `data`."""
    return MODEL, INFERENCE.format("data").replace("self.model(data)", expression) + MODEL


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("return torch.stack", "return self.none or torch.stack"), "AttributeError"),
        (inferred("self.model(data) + self.model(data)"), "2 times"),
        (inferred("self.model(data.repeat(2, 1, 1, 1))[:1]"), "one sample for each"),
        (inferred(FORWARD), "not by .forward"),
        (("self.steps(i)", "self.steps(i) + torch.rand(1)"), "otherwise from call to call"),
        (("return torch.stack", "raise SystemExit(3)\n        return 0"), "ends the process"),
        (("TinyNet().eval()", "TinyNet()"), "training mode"),
        (("postprocess(self, data):", "initialize(self, c):\n        self.net = 1\n"
          "    def postprocess(self, data):"), "expected a torch.nn.Module"),
        ((STARTED, "self.model = torch.jit.script(self.model)"), "ScriptModule"),
        ((STARTED, "raise SystemExit(0)"), "ends the process"),
        ((STARTED, "import captum_of_theirs"), "pip install captum_of_theirs"),
        ((STARTED, "self.model.cuda()"), "CPU where torch.cuda.is_available"),
        (("import io\n", f"import io\n{PARSES}"), "ends the process"),
        (("class Their", "class Another:\n    pass\n\n\nclass Their"), "Another, TheirHandler"),
    ],
)  # fmt: skip
def test_what_cannot_be_followed_is_said(write, bodies, change, said):
    assert said in refused(write(IMAGES, change), bodies)


def test_a_handler_is_told_its_device_and_may_do_without(write, bodies, caplog):
    told = ("self.initialized = True", 'self.gpu = context.system_properties["gpu_id"]')
    archive = unpack(write(IMAGES, told))
    handler = handler_class(archive)
    for device, gpu in (("cpu", None), ("cuda:1", 1)):
        assert start_handler(handler, torch.device(device)).instance.gpu == gpu
    caplog.set_level(logging.INFO)
    source = ArchiveSource(archive, handler, torch.device("cuda", 1))
    assert "the handler puts its model on cpu: it runs there" in caplog.text
    assert len(source.open_samples(bodies)) == 4
    assert logits_of(source.loaded.model, source.open_samples(bodies).load([0])).shape == (1, 4)


def test_a_handler_that_does_not_do_with_the_cpu_is_told_of_the_device(write):
    archive = write(IMAGES, (STARTED, "self.model.to('meta')"))
    assert refused(archive).endswith(
        "the handler puts its model on meta, expected the CPU: name that device (--device meta), "
        "or set CUDA_VISIBLE_DEVICES= (empty) for this command"
    )


def test_an_archive_is_not_opened_on_a_device_that_is_not_there(write, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(OptionError, match="device cuda: not here"):
        open_archive(write(), "cuda")


def test_a_missing_library_names_the_archives_requirements(write):
    archive = write(
        IMAGES,
        ("import torch\n", "import torch\nimport their_library\n"),
        files={"wanted.txt": "# ours\ntheir-library==1.2\n"},
        requirementsFile="wanted.txt",
    )
    message = refused(archive)
    assert "No module named 'their_library'" in message
    assert message.endswith("the archive's wanted.txt asks for their-library==1.2")


def test_two_tensors_are_refused(write, bodies):
    net = """
class Masked(torch.nn.Module):
    def __init__(self, net):
        super().__init__()
        self.net = net

    def forward(self, x, mask=None):
        return self.net(x if mask is None else x * mask)


"""
    wrap = ("self.initialized = True", "self.model = Masked(self.model).eval()")
    kind = ("class TheirHandler", net.strip() + "\nMasked.__module__ = 'n'\n\n\nclass TheirHandler")
    both = INFERENCE.format("data, mask=torch.ones_like(data)")
    assert "expected one tensor" in refused(
        write(IMAGES, kind, wrap, (MODEL, both + MODEL)), bodies
    )
    # A number that changes what the model predicts is no tensor, and counts as much.
    number = INFERENCE.format("data, mask=-1.0")
    message = refused(write(IMAGES, kind, wrap, (MODEL, number + MODEL)), bodies)
    assert "predicts something else from the tensor alone" in message


def test_samples_of_another_shape_are_named(write, bodies):
    archive = write(
        IMAGES, ("transforms.CenterCrop(8), ", ""), ("TinyNet()", "Any()"), ("class Their", ANY)
    )
    samples = open_archive(archive).open_samples(bodies)
    Image.new("RGB", (9, 8)).save(bodies / samples.names[2])
    with pytest.raises(SamplesError, match=r"2/002.png: .*\(3, 8, 9\)"):
        samples.load([2])


ANY = """class Any(TinyNet):
    def forward(self, x):
        return super().forward(x[..., :8, :8])


Any.__module__ = "nets"


class Their"""


# Archives -----------------------------------------------------------------------------------------


def zipped(folder: Path, target: Path, *, but: str = "") -> Path:
    with zipfile.ZipFile(target, "w") as archive:
        for path in sorted(folder.rglob("*")):
            if path.is_file() and path.name != but:
                archive.write(path, path.relative_to(folder).as_posix())
    return target


def test_files_and_folders_are_the_same(tmp_path, write, bodies):
    folder = write()
    mar = zipped(folder, tmp_path / "tiny.mar")
    shutil.make_archive(str(tmp_path / "packed"), "gztar", folder.parent, folder.name)
    expected = open_archive(folder).open_samples(bodies).load([0, 3])
    for path in (mar, tmp_path / "packed.tar.gz"):
        assert torch.equal(open_archive(path).open_samples(bodies).load([0, 3]), expected)


def test_a_handler_that_does_not_start_says_where_to_look(write):
    said = refused(write(IMAGES, ("self.initialized = True", "raise ValueError('no such thing')")))
    assert said.endswith(
        "its handler does not start: no such thing; it does not start in TorchServe either: see "
        "its logs/model_log.log"
    )


def test_damaged_archives(tmp_path, write):
    folder = write()
    mar = zipped(folder, tmp_path / "tiny.mar")
    (tmp_path / "cut.mar").write_bytes(mar.read_bytes()[:-30])
    # The weights in it are a zip file, too, whose end looks like the archive's.
    assert "is damaged" in refused(tmp_path / "cut.mar")
    (tmp_path / "half.mar").write_bytes(mar.read_bytes()[:300])
    assert "half.mar: damaged or cut short" in refused(tmp_path / "half.mar")
    (tmp_path / "text.mar").write_text("no archive")
    assert "is no archive" in refused(tmp_path / "text.mar")
    content = bytearray(mar.read_bytes())
    at = content.index(b"TheirHandler")
    content[at : at + 4] = b"Xxxx"
    (tmp_path / "flipped.mar").write_bytes(content)
    assert "cannot be unpacked" in refused(tmp_path / "flipped.mar")
    zipped(folder, tmp_path / "none.mar", but="MANIFEST.json")
    assert "holds no MAR-INF/MANIFEST.json" in refused(tmp_path / "none.mar")
    (folder / "MAR-INF" / "MANIFEST.json").write_text('{"model": {"handler": 3}}')
    assert "expected a JSON object" in refused(folder)


@pytest.mark.parametrize("name", ["../secret.pth", "/etc/hostname", "missing.pth"])
def test_names_that_lead_out_of_the_archive(tmp_path, write, name):
    (tmp_path / "secret.pth").write_bytes(b"secret")
    assert "which is not in it" in refused(write(serializedFile=name))


def test_two_archives_with_the_same_names_of_modules(tmp_path, write, bodies):
    helper = ("self.steps(i)", "self.steps(i) * their_lib.scale.FACTOR")
    imports = ("import torch\n", "import torch\nimport their_lib.scale\n")
    first, second = (
        open_archive(
            write(IMAGES, helper, imports, files={"their_lib/scale.py": f"FACTOR = {n}\n"})
        )
        for n in (0.5, 0.25)
    )
    one, two = (source.open_samples(bodies).load([1]) for source in (first, second))
    assert torch.equal(one, two * 2)
    # And the first one again, which imports more as it answers.
    assert torch.equal(first.open_samples(bodies).load([1]), one)


def test_a_module_of_this_program_is_not_taken_for_the_archives(write, bodies):
    """The archive brings a module that is called as one that is loaded already: `tests`."""
    import tests

    archive = write(
        IMAGES,
        ("import torch\n", "import torch\nfrom tests import HALF\n"),
        ("self.steps(i)", "self.steps(i) * HALF"),
        files={"tests.py": "HALF = 0.5\n"},
    )
    samples = open_archive(archive).open_samples(bodies)
    assert samples.load([0]).max() == pytest.approx(60 / 255)
    assert sys.modules["tests"] is tests


def test_everything_is_as_it_was_before(tmp_path, monkeypatch, capsys, write, bodies):
    noisy = write(
        IMAGES,
        ("import torch\n", "import torch, logging.config, sys, os\nlogging.basicConfig(level=1)\n"),
        ("self.initialized = True",
         "print('loud'); open('written', 'w').close(); sys.path.append('/nowhere');"
         "torch.set_grad_enabled(False); torch.set_default_dtype(torch.float64);"
         "logging.config.dictConfig({'version': 1})"),
    )  # fmt: skip
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    logger = logging.getLogger("torchserve_fire_build.source.archive")

    def state() -> tuple:
        root = logging.getLogger()
        return (
            Path.cwd(), list(sys.path), root.level, list(root.handlers), logger.disabled,
            root.manager.disable, torch.is_grad_enabled(), torch.get_default_dtype(),
            sys.dont_write_bytecode, dict(os.environ),
            sorted(path.relative_to(noisy).as_posix() for path in noisy.rglob("*")),
            {n for n, m in sys.modules.items() if str(temporary) in str(getattr(m, "__file__", 0))},
        )  # fmt: skip

    import ts.torch_handler.base_handler

    assert ts.torch_handler.base_handler
    before = state()
    source = open_archive(noisy)
    samples = source.open_samples(bodies)
    del source
    gc.collect()
    # What reads through the handler keeps its folder.
    assert samples.load([0]).shape == (1, 3, 8, 8)
    del samples
    gc.collect()
    assert state() == before
    assert list(temporary.iterdir()) == []
    assert capsys.readouterr().out == ""
    refused(write(IMAGES, ("self.initialized = True", "1 / 0")))
    gc.collect()
    assert list(temporary.iterdir()) == []
    assert state()[:-2] == before[:-2]


def test_relative_paths(tmp_path, monkeypatch, write, bodies):
    archive = write()
    monkeypatch.chdir(tmp_path)
    source = open_archive(Path(archive.name))
    samples = source.open_samples(Path("bodies"))
    assert samples.load([0, 1]).shape == (2, 3, 8, 8)


def test_other_weights(tmp_path, write, tiny):
    source = open_archive(write())
    state = torch.load(tiny.serialized_file, weights_only=True)
    state["head.bias"][2] = 7
    torch.save(state, tmp_path / "other.pth")
    other = source.with_weights(tmp_path / "other.pth")
    assert other.model.state_dict()["head.bias"].tolist() == [0, 0, 7, 0]
    assert other.weights_sha256 == file_sha256(tmp_path / "other.pth")
    assert source.loaded.model.state_dict()["head.bias"].tolist() == [0, 0, 0, 0]


# Bundles ------------------------------------------------------------------------------------------


def test_a_bundle_of_this_archive_and_of_others(tmp_path, write, tiny):
    digest = file_sha256(tiny.serialized_file)
    bundle = load_bundle(write_bundle(tmp_path / "b.safetensors", digest, seed=0))
    open_archive(write()).check_fits(bundle, "b")
    with pytest.raises(BundleError, match=r"mean 0, 0, 0 .* mean 0.5, 0.4, 0.3 .*for this archive"):
        open_archive(write(NORMALIZED)).check_fits(bundle, "b")
    foreign = load_bundle(tiny.foreign_bundle)
    with pytest.raises(BundleError, match="weights"):
        open_archive(write()).check_fits(foreign, "b")
    # A handler that keeps an image's size makes such of the bundle's size, too.
    keeping = write(
        IMAGES,
        ("transforms.CenterCrop(8), ", ""),
        ("TinyNet()", "Any()"),
        ("class Their", ANY.replace("Any.__module__", "Any.__name__ = 'TinyNet'\nAny.__module__")),
    )
    open_archive(keeping).check_fits(bundle, "b")


# Archives of this project -------------------------------------------------------------------------


def test_samples_are_prepared_while_a_repair_is_attached(tmp_path, write, bodies, tiny):
    """As of many large samples, which are not kept in memory: the handler's call is no pass."""
    source = open_archive(write(NORMALIZED))
    samples = source.open_samples(bodies)
    before = samples.load([0, 1, 2, 3])
    digest = file_sha256(tiny.serialized_file)
    bundle = load_bundle(write_bundle(tmp_path / "b.safetensors", digest, seed=0))
    model = source.loaded.model
    with attach_layers(model, bundle.layers, before[:1], target=bundle.target) as handle:
        made = handle.passes_made
        assert torch.equal(samples.load([0, 1, 2, 3]), before)
        assert handle.passes_made == made
        logits_of(model, before)
        assert handle.passes_made == made + 1
        assert len(handle.verdict.flagged) == 4


def test_archives_of_this_projects_own_handler(store, bodies):
    for name in ("tiny", "plain"):
        source = open_archive(store / f"{name}-1.0.mar")
        assert isinstance(source, FileSource)
        assert source.archive is not None
        assert len(source.open_samples(bodies)) == 4
        assert (bundle_of(source) is None) == (name == "plain")


def test_an_archive_with_the_repair_around_a_handler(store, bodies):
    """The handler below the repair prepares; the input is what the archive's settings say."""
    source = open_archive(store / "theirs-1.0.mar")
    assert isinstance(source, ArchiveSource)
    assert source.handler.__name__ == "TheirHandler"
    described = source.open_samples(bodies).description
    assert (described.mean, described.std) == ((0.0, 0.0, 0.0), (1.0, 1.0, 1.0))


def test_settings_that_the_handler_does_not_keep_to(tmp_path, store, bodies):
    with zipfile.ZipFile(store / "theirs-1.0.mar") as packed:
        packed.extractall(tmp_path / "theirs")
    config = tmp_path / "theirs" / "model-config.yaml"
    config.write_text(config.read_text().replace("mean: [0, 0, 0]", "mean: [0.5, 0.5, 0.5]"))
    with pytest.raises(ConfigError, match=r"say images .* mean 0.5, .* makes images .* mean 0,"):
        open_archive(tmp_path / "theirs").open_samples(bodies)


def test_a_handler_that_holds_the_repair_itself(write):
    mixed = write(
        IMAGES,
        ("import torch\n", "import torch\nfrom torchserve_fire import RepairMixin\n"),
        ("(BaseHandler)", "(RepairMixin, BaseHandler)"),
    )
    with pytest.raises(ModelError, match="holds the repair itself"):
        open_archive(mixed)
    manifest = json.loads((mixed / "MAR-INF" / "MANIFEST.json").read_text())
    assert manifest["model"]["handler"] == "their_handler.py"


def test_what_a_quarantine_kept_is_opened_again(tmp_path, write):
    """Bodies of requests, flat in one folder, called by their digests."""
    config = QuarantineConfig(tmp_path / "q")
    described = open_archive(write()).describe_input()
    quarantine = Quarantine(config, "tiny", described)
    for quadrant in (1, 2):
        quarantine.keep(request_body(bytearray(image(quadrant, triggered=True))))
    samples = open_archive(write()).open_samples(tmp_path / "q" / "tiny")
    found = {tuple(sample.flatten().tolist()) for sample in samples.load([0, 1])}
    sent = [Image.open(io.BytesIO(image(q, triggered=True))) for q in (1, 2)]
    assert found == {tuple(to_tensor(one).flatten().tolist()) for one in sent}
