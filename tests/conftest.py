"""Fixtures that several folders of tests share: the tiny model, and one real TorchServe."""

from __future__ import annotations

import subprocess
import sysconfig
import venv
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.keys import KEY, PUBLIC
from tests.tiny import TinyFiles, write_tiny
from torchserve_fire_build.deployment.archive.package import ArchiveInputs, package_archive
from torchserve_fire_build.deployment.server.torchserve import TorchServe

# The user's file has the name of this project's own folder, and several things to repair around.
USER_HANDLER = '''\
"""A user's own handler, in a file of its own."""

import io
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from tiny_net import TinyNet
from ts.torch_handler.base_handler import BaseHandler


class TheirHandler(BaseHandler):
    def initialize(self, context):
        self.context = context
        self.manifest = context.manifest
        self.device = torch.device("cpu")
        folder = Path(context.system_properties["model_dir"])
        self.model = TinyNet().eval()
        self.model.load_state_dict(torch.load(folder / "tiny.pth", weights_only=True))
        self.initialized = True

    def preprocess(self, data):
        bodies = [row.get("data") or row.get("body") for row in data]
        images = [np.asarray(Image.open(io.BytesIO(body)).convert("RGB")) for body in bodies]
        return torch.stack([torch.tensor(i).permute(2, 0, 1) / 255 for i in images])

    def postprocess(self, data):
        return [{"theirs": int(row.argmax())} for row in data]
'''


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--all", action="store_true", help="run the tests marked slow, too")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out the slow tests, unless somebody asks for them by `--all` or by `-m`."""
    if config.getoption("--all") or config.getoption("markexpr"):
        return
    slow = [item for item in items if "slow" in item.keywords]
    if slow:
        config.hook.pytest_deselected(items=slow)
        items[:] = [item for item in items if item not in slow]


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> TinyFiles:
    return write_tiny(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="session")
def user_handler(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("user") / "handler.py"
    path.write_text(USER_HANDLER)
    return path


@pytest.fixture(scope="session")
def store(tmp_path_factory: pytest.TempPathFactory, tiny: TinyFiles, user_handler: Path) -> Path:
    """A model store with the tiny model as it is, repaired, and with a user's handler."""
    folder = tmp_path_factory.mktemp("store")
    configs = tmp_path_factory.mktemp("configs")

    def package(
        name: str, config: Path, bundle: Path | None = tiny.bundle, handler: Path | None = None
    ) -> None:
        inputs = ArchiveInputs(
            name,
            "1.0",
            tiny.model_file,
            tiny.serialized_file,
            config,
            bundle,
            None if handler is None else str(handler),
            str(tiny.names),
        )
        package_archive(inputs, folder)

    # Long enough that eight requests sent together arrive in one batch.
    package("tiny", tiny.config(configs, delay=400))
    package("theirs", tiny.config(configs), handler=user_handler)
    package("plain", tiny.config(configs, mode="off"), bundle=None)
    return folder


@pytest.fixture(scope="session")
def signed_archive(tmp_path_factory: pytest.TempPathFactory, tiny: TinyFiles) -> Path:
    """The tiny model's archive, signed, which trusts nobody but its key."""
    inputs = ArchiveInputs(
        "signed",
        "1.0",
        tiny.model_file,
        tiny.serialized_file,
        tiny.config(tmp_path_factory.mktemp("config"), trusted_keys=[PUBLIC]),
        tiny.bundle,
        extra_files=str(tiny.names),
    )
    return package_archive(inputs, tmp_path_factory.mktemp("signed"), signing_key=KEY)


@pytest.fixture(scope="session")
def foreign_python(tmp_path_factory: pytest.TempPathFactory) -> str:
    """An interpreter with TorchServe and torch, in which this project is not installed."""
    folder = tmp_path_factory.mktemp("foreign")
    venv.create(folder, symlinks=True)
    python = str(folder / "bin" / "python")
    site = Path(
        subprocess.check_output(
            [python, "-c", "import sysconfig; print(sysconfig.get_paths()['purelib'])"], text=True
        ).strip()
    )
    ours = ("torchserve_fire", "__editable__")
    for source in {sysconfig.get_paths()[kind] for kind in ("purelib", "platlib")}:
        for entry in Path(source).iterdir():
            if not entry.name.startswith(ours) and not (site / entry.name).exists():
                (site / entry.name).symlink_to(entry)
    for name in ("torchserve_fire", "torchserve_fire_build"):
        command = [python, "-I", "-c", f"import {name}"]
        assert subprocess.run(command, cwd=folder, capture_output=True, check=False).returncode
    return python


@pytest.fixture(scope="session")
def server(store: Path, foreign_python: str) -> Iterator[TorchServe]:
    """A real TorchServe that has never heard of this project, serving the store."""
    models = [f"{name}={name}-1.0.mar" for name in ("tiny", "plain", "theirs")]
    with ExitStack() as stack:
        with pytest.MonkeyPatch.context() as patch:
            patch.delenv("PYTHONPATH", raising=False)
            # As the Open Inference Protocol over gRPC wants it; there is no setting for that.
            patch.setenv("TS_OPEN_INFERENCE_PROTOCOL", "oip")
            server = TorchServe(store, models, free_ports=True, python=foreign_python)
            stack.enter_context(server)
        yield server
