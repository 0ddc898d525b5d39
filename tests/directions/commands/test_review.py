"""What the review page runs to deploy is a command line that swap takes."""

from __future__ import annotations

from pathlib import Path

import pytest

from torchserve_fire_build.commands.main import build_parser
from torchserve_fire_build.commands.review import MAIN, _swap_command

SERVER = ["--management", "https://h:1", "--inference", "https://h:2"]
KEYS = ["--token", "t", "--inference-token", "i", "--key-file", __file__, "--ca", __file__]


@pytest.mark.parametrize("in_place", [False, True])
@pytest.mark.parametrize("sign", [[], ["--sign"], ["--sign", "key"]])
def test_the_swap_gets_what_the_review_was_given(
    in_place: bool, sign: list[str], tmp_path: Path
) -> None:
    bundle = tmp_path / "b.safetensors"
    bundle.touch()
    args = build_parser().parse_args(["review", *SERVER, *KEYS, *sign])
    words = _swap_command(args, "m", tmp_path, in_place=in_place)
    assert words[: len(MAIN)] == MAIN
    swap = build_parser().parse_args([*words[len(MAIN) :], str(bundle)])
    for name in ("management", "inference", "token", "inference_token", "key_file", "ca", "sign"):
        assert getattr(swap, name) == getattr(args, name)
    assert (swap.command, swap.model_name, swap.bundle) == ("swap", "m", bundle)
    assert (swap.in_place, swap.model_store) == ((True, None) if in_place else (None, tmp_path))


def test_the_server_is_found_by_the_folder_s_configuration(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("config.properties").write_text(
        "management_address=http://127.0.0.1:9\ninference_address=http://127.0.0.1:7\n"
    )
    args = build_parser().parse_args(["review"])
    args.check(args)
    assert (args.management, args.inference) == ("http://127.0.0.1:9", "http://127.0.0.1:7")
    args = build_parser().parse_args(["review", str(tmp_path)])
    args.check(args)
    assert args.management is None
