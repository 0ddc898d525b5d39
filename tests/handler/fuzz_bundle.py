"""A coverage-guided fuzzer of the bundle reader: whatever the bytes, nothing but BundleError.

    python -m tests.handler.fuzz_bundle --seconds 600 --runs 10000000

It ends at the first file that raises something else, or that is refused in more than a line, and
prints it as a line to add to `FOUND` in test_fuzz_bundle.py.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import json
import random
import resource
import sys
import tempfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import atheris

with atheris.instrument_imports(include=["torchserve_fire"]):
    from torchserve_fire.errors import BundleError
    from torchserve_fire.format.bundle import Bundle
    from torchserve_fire.format.bundle_file import bundle_to_parts, parse_bundle
    from torchserve_fire.format.metadata import METADATA_KEY, metadata_sha256

from tests.handler.bundles import (
    body_of,
    header_of,
    overlay_bundle,
    raw_file,
    small_bundle,
)
from tests.handler.forged_bundles import VALUES, file_with, vector_bundle

OLDER = Path(__file__).parent / "format" / "data"
MAX_BYTES = 16_384
MEGABYTES = 1024
"""That reading one of these may take: far more than it does."""


def check(data: bytes) -> Bundle | None:
    """Read a file; return its bundle, None where it is refused as it should be."""
    try:
        read = parse_bundle(data, "fuzz")
    except BundleError as error:
        message = str(error)
        if not message.startswith("fuzz: ") or not message.isprintable() or len(message) > 400:
            raise ValueError(f"refused in other words than one line: {message!r}") from error
        return None
    bundle_to_parts(read)
    return read


def found_line(data: bytes, error: BaseException) -> str:
    """Return a file as a line of Python."""
    packed = base64.b85encode(zlib.compress(data)).decode()
    kind = "".join(filter(str.isprintable, f"{type(error).__name__}: {error}"))[:200]
    return f"    {packed!r},  # {kind}"


class Fuzzer:
    """Checks files, and counts what becomes of them."""

    def __init__(self) -> None:
        self.read = self.refused = 0

    def run(self, data: bytes) -> None:
        """Check one file."""
        try:
            taken = check(data)
        except BaseException as error:
            print(found_line(data, error), flush=True)
            raise
        self.read += taken is not None
        self.refused += taken is None
        # libFuzzer leaves no time to do so at the end.
        if (self.read + self.refused) % 100 == 0:
            print(f"READ {self.read} REFUSED {self.refused}", flush=True)


def mutate(data: bytes, max_size: int, seed: int) -> bytes:
    """Change a file, most often behind its digests, which are computed again."""
    draw = random.Random(seed)  # noqa: S311
    try:
        header, body = header_of(data), body_of(data)
        root = json.loads(header["__metadata__"][METADATA_KEY])
        if draw.random() < 0.2:
            raise ValueError("any bytes for once")
        change = draw.choice((change_metadata, change_text, change_body, change_header))
        return change(header, body, root, draw)[:max_size]
    except (ValueError, KeyError, TypeError, AttributeError, IndexError, RecursionError):
        return bytes(atheris.Mutate(data, max_size))


def change_metadata(header: dict, body: bytes, root: dict, draw: random.Random) -> bytes:
    """Change one place of the metadata."""
    put_anywhere(root, draw)
    return rebuilt(header, body, root)


def change_text(header: dict, body: bytes, root: dict, draw: random.Random) -> bytes:
    """Change the metadata's text as libFuzzer likes."""
    text = bytes(atheris.Mutate(json.dumps(root).encode(), MAX_BYTES)).decode("utf-8", "replace")
    try:
        return rebuilt(header, body, json.loads(text))
    except ValueError:
        return raw_file({**header, "__metadata__": {METADATA_KEY: text}}, body)


def change_body(header: dict, body: bytes, root: dict, draw: random.Random) -> bytes:
    """Change the tensors' bytes."""
    changed = bytes(atheris.Mutate(body, len(body)))
    return rebuilt(header, changed.ljust(len(body), b"\0"), root)


def change_header(header: dict, body: bytes, root: dict, draw: random.Random) -> bytes:
    """Change one place of the header, beside the metadata."""
    metadata = header.pop("__metadata__")
    put_anywhere(header, draw)
    return rebuilt({**header, "__metadata__": metadata}, body, root)


def put_anywhere(document: Any, draw: random.Random) -> None:
    """Replace, leave out, add or repeat something somewhere in a JSON document."""
    place, depth = document, 0
    while True:
        keys: list[Any] = list(place) if isinstance(place, dict) else list(range(len(place)))
        if not keys:
            return
        key = draw.choice(keys)
        inner = place[key]
        if depth and not (isinstance(inner, dict | list) and inner and draw.random() < 0.8):
            break
        if not isinstance(inner, dict | list) or not inner or draw.random() < 0.1:
            break
        place, depth = inner, depth + 1
    actions: list[Callable[[], Any]] = [
        lambda: place.__setitem__(key, draw.choice(VALUES)),
        lambda: place.__setitem__(key, place[draw.choice(keys)]),
        lambda: place.__delitem__(key),
    ]
    if isinstance(inner, int | float):
        actions.append(lambda: place.__setitem__(key, inner + draw.choice((-1, 1, 2**31, 0.5))))
    if isinstance(place, list):
        actions.append(lambda: place.append(inner))
    draw.choice(actions)()


def rebuilt(header: dict, body: bytes, root: dict) -> bytes:
    """Return the file with the digests that belong to what it now holds."""
    tensors = {name: entry for name, entry in header.items() if name != "__metadata__"}
    if isinstance(root.get("tensors"), dict):
        for name in tensors.keys() & root["tensors"].keys():
            begin, end = tensors[name]["data_offsets"]
            root["tensors"][name] = hashlib.sha256(body[begin:end]).hexdigest()
    if "metadata_sha256" in root:
        root["metadata_sha256"] = metadata_sha256(root)
    metadata = {METADATA_KEY: json.dumps(root)}
    return raw_file({**header, "__metadata__": metadata}, body)


def seeds() -> list[bytes]:
    """Return the files to begin with."""
    older = [path.read_bytes() for path in sorted(OLDER.glob("*.safetensors"))]
    today = [small_bundle(), overlay_bundle(), vector_bundle()]
    return [*(file_with(bundle) for bundle in today), *older, raw_file({}), b""]


def main() -> None:
    """Fuzz for some time, or some runs, whichever is over first."""
    parser = argparse.ArgumentParser(description="Fuzz the reader of direction bundles.")
    parser.add_argument("--seconds", type=int, default=20)
    parser.add_argument("--runs", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="fuzz-"))
    for i, data in enumerate(seeds()):
        (folder / f"seed-{i}").write_bytes(data)
    options = {
        "max_total_time": arguments.seconds,
        "runs": arguments.runs,
        "seed": arguments.seed,
        "max_len": MAX_BYTES,
        "len_control": 0,
        "timeout": 30,
        # Its peak so far counts, and that of the process that started this one.
        "rss_limit_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024 + MEGABYTES,
        "artifact_prefix": f"{folder}/",
    }
    flags = [f"-{name}={value}" for name, value in options.items()]
    atheris.Setup([sys.argv[0], *flags, str(folder)], Fuzzer().run, custom_mutator=mutate)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
