"""The fuzzer of the bundle reader, for a short time; and what it has found before."""

import base64
import os
import re
import subprocess
import sys
import zlib
from importlib.util import find_spec
from pathlib import Path

import pytest

from torchserve_fire.errors import BundleError
from torchserve_fire.format.bundle_file import parse_bundle

FOUND: tuple[str, ...] = ()
"""Files that it has found, as it prints them: whoever mends one adds its line."""


@pytest.mark.skipif(
    not find_spec("atheris"), reason="atheris has wheels for Linux x86_64, Python 3.11 on"
)
def test_the_fuzzer_finds_nothing(tmp_path: Path):
    # In a process of its own: libFuzzer ends it.
    command = [sys.executable, "-m", "tests.handler.fuzz_bundle"]
    done = subprocess.run(
        [*command, "--seconds", "20", "--runs", "6000"],
        env={**os.environ, "TMPDIR": str(tmp_path)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-3000:]
    assert re.search(r"Done \d+ runs", done.stdout)
    # Its files get past the digests: some are read, many are refused.
    read, refused = map(int, re.findall(r"READ (\d+) REFUSED (\d+)", done.stdout)[-1])
    assert read > 0
    assert refused > 50


def test_what_it_found_is_refused_now():
    for found in FOUND:
        with pytest.raises(BundleError):
            parse_bundle(zlib.decompress(base64.b85decode(found)), "b.safetensors")
