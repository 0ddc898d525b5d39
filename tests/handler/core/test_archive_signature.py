import os
import shutil
import socket
import subprocess
import sys

import pytest
from ts.torch_handler.base_handler import BaseHandler

from tests.handler.archive import IMAGE, ask, grey, make_archive
from tests.handler.format.signed_version_1 import sign_version_1
from tests.keys import KEY, OTHER_KEY, OTHER_PUBLIC, PUBLIC
from torchserve_fire.core.archive_signature import SIGNATURE_FILE, check_archive_folder, list_files
from torchserve_fire.errors import FireError, SignatureError
from torchserve_fire.format.bundle_file import BUNDLE_FILE
from torchserve_fire.format.digest import file_sha256
from torchserve_fire.serve.fire_handler import FireHandler
from torchserve_fire.serve.repair_mixin import RepairMixin
from torchserve_fire_build.deployment.archive.sign_archive import sign_folder


@pytest.fixture
def signed(tmp_path):
    """A signed archive whose configuration trusts its key, and TorchServe's context of it."""
    folder = tmp_path / "archive"
    folder.mkdir()
    context = make_archive(folder, {**IMAGE, "trusted_keys": [PUBLIC]})
    (folder / "torchserve_fire").mkdir()
    (folder / "torchserve_fire" / "attach.py").write_text("")
    sign_folder(folder, KEY)
    return folder, context


class Theirs(BaseHandler):
    """A user's handler whose initialize loads the model itself."""

    def initialize(self, context):
        raise AssertionError("loaded before the signature was checked")


class RepairedTheirs(RepairMixin, Theirs):
    pass


def refused(folder, context, match):
    with pytest.raises(SignatureError, match=match) as caught:
        check_archive_folder(folder, [PUBLIC])
    assert len(str(caught.value).splitlines()) == 1
    with pytest.raises(SignatureError, match=match):
        RepairedTheirs().initialize(context)


def test_a_signed_archive_serves(signed):
    folder, context = signed
    check_archive_folder(folder, [OTHER_PUBLIC, PUBLIC])
    handler = FireHandler()
    handler.initialize(context)
    assert ask(handler, context, [{"body": grey(0)}])[0][0] == 200


def test_an_archive_that_was_signed_in_the_form_of_version_1_serves(signed):
    folder, context = signed
    digests = {x: file_sha256(folder / x) for x in list_files(folder) if x != SIGNATURE_FILE}
    (folder / SIGNATURE_FILE).write_bytes(sign_version_1("archive", digests, KEY))
    FireHandler().initialize(context)
    (folder / "net.py").write_text("")
    refused(folder, context, "net.py': was changed after")


def test_without_trusted_keys_nothing_is_checked(tmp_path):
    context = make_archive(tmp_path)
    (tmp_path / SIGNATURE_FILE).write_text("nonsense")
    FireHandler().initialize(context)


def test_an_archive_without_a_signature(signed):
    folder, context = signed
    (folder / SIGNATURE_FILE).unlink()
    refused(folder, context, "the archive is not signed")


def test_a_signature_by_another_key(signed):
    folder, context = signed
    sign_folder(folder, OTHER_KEY)
    refused(folder, context, "signed by .* which is not trusted")


def test_a_truncated_signature(signed):
    folder, context = signed
    data = (folder / SIGNATURE_FILE).read_bytes()
    for length in (0, 1, len(data) // 2, len(data) - 1):
        (folder / SIGNATURE_FILE).write_bytes(data[:length])
        refused(folder, context, SIGNATURE_FILE)


@pytest.mark.parametrize(
    "name", ["net.py", "w.pth", BUNDLE_FILE, "model-config.yaml", "torchserve_fire/attach.py"]
)
def test_each_file_changed_removed_or_replaced(signed, name):
    folder, context = signed
    data = (folder / name).read_bytes()
    (folder / name).write_bytes(data + b"\n")
    refused(folder, context, f"{name}': was changed after")
    (folder / name).unlink()
    refused(folder, context, f"{name}': is missing")
    (folder / name).symlink_to(folder / "elsewhere")
    refused(folder, context, f"{name}': a link or a special file")


@pytest.mark.parametrize(
    "name",
    [
        "torch.py",
        "torchserve_fire/yaml.py",
        "net.pyc",
        ".hidden",
        "__pycache__/net.py",
        "__pycache__/other.cpython-311.pyc",
        "torchserve_fire/__pycache__/net.cpython-311.pyc",
        "MAR-INF/more",
        f"MAR-INF/{SIGNATURE_FILE}",
    ],
)
def test_a_file_that_was_added(signed, name):
    folder, context = signed
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).write_text("")
    refused(folder, context, f"{name}': was added")


@pytest.mark.parametrize("what", ["folder", "file", "dangling", "pipe", "socket"])
def test_links_and_special_files_are_refused_unread(signed, tmp_path, monkeypatch, what):
    folder, context = signed
    path = folder / "torch"
    if what == "pipe":
        os.mkfifo(path)
    elif what == "socket":
        monkeypatch.chdir(folder)  # The name of a socket must be short.
        socket.socket(socket.AF_UNIX).bind("torch")
    else:
        (tmp_path / "folder").mkdir()
        (tmp_path / "file").touch()
        path.symlink_to(tmp_path / what)
    refused(folder, context, "'torch': a link or a special file")


def test_a_file_of_another_archive_by_the_same_key_is_refused(signed, tmp_path):
    folder, _ = signed
    newer = tmp_path / "newer"
    shutil.copytree(folder, newer)
    for path in (newer / "net.py", newer / "torchserve_fire" / "attach.py"):
        path.write_text(path.read_text() + "# mended\n")
    sign_folder(newer, KEY)
    check_archive_folder(newer, [PUBLIC])
    for name in ("net.py", "torchserve_fire/attach.py", SIGNATURE_FILE):
        mixed = tmp_path / name.replace("/", "-")
        shutil.copytree(newer, mixed)
        shutil.copy(folder / name, mixed / name)
        with pytest.raises(SignatureError, match="was changed after"):
            check_archive_folder(mixed, [PUBLIC])


def test_two_files_that_changed_places_are_refused(signed):
    folder, context = signed
    one, other = folder / "net.py", folder / "torchserve_fire" / "attach.py"
    texts = one.read_text(), other.read_text()
    other.write_text(texts[0])
    one.write_text(texts[1])
    refused(folder, context, "was changed after")


def test_bytecode_that_python_writes_is_passed_over(signed):
    folder, _ = signed
    # Without what else is installed: another package of this name would be imported.
    without = ("PYTHONDONTWRITEBYTECODE", "PYTHONPATH")
    environment = {k: v for k, v in os.environ.items() if k not in without}
    for flags in (["-S"], ["-S", "-O"]):
        command = [sys.executable, *flags, "-c", "import torchserve_fire.attach"]
        subprocess.run(command, cwd=folder, env=environment, check=True)
    written = [name for name in list_files(folder) if "__pycache__" in name]
    assert len(written) == 2
    # A worker that begins to write one while another checks.
    (folder / f"{written[0]}.140735").touch()
    check_archive_folder(folder, [PUBLIC])


def test_a_folder_that_torchserve_links_to_is_checked(signed, tmp_path):
    folder, _ = signed
    link = tmp_path / "link"
    link.symlink_to(folder)
    check_archive_folder(link, [PUBLIC])
    (folder / "more").touch()
    with pytest.raises(SignatureError, match="was added"):
        check_archive_folder(link, [PUBLIC])


def test_the_log_says_why_in_one_line(signed, caplog):
    folder, context = signed
    (folder / "net.py").write_text("")
    with pytest.raises(FireError):
        FireHandler().initialize(context)
    assert [r.getMessage() for r in caplog.records if r.levelname == "ERROR"] == [
        "torchserve-fire does not serve model m 1.0: 'net.py': was changed after the archive was "
        "signed"
    ]
