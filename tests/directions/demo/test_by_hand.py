import json
import shlex
import subprocess
from pathlib import Path

from torchserve_fire_build.demo.by_hand import READ_KEY_FILE, curl_line, serve_line


def test_shell_reads_the_curl_line_as_meant(tmp_path: Path):
    (tmp_path / "key_file.json").write_text(json.dumps({"inference": {"key": "s3cret"}}))
    line = curl_line(READ_KEY_FILE, Path("my images/7.png"), "http://127.0.0.1:1/p")
    shown = subprocess.run(
        ["bash", "-c", f"curl() {{ printf '%s\\n' \"$@\"; }}; {line}"],
        cwd=tmp_path, capture_output=True, text=True, check=True,
    ).stdout.splitlines()  # fmt: skip
    assert shown == [
        "-H",
        "Authorization: Bearer s3cret",
        "-T",
        "my images/7.png",
        "http://127.0.0.1:1/p",
    ]


def test_content_type_is_sent_where_one_is_needed():
    words = shlex.split(curl_line("s3cret", Path("7.csv"), "http://127.0.0.1:1/p", "text/csv"))
    assert words[3:] == [
        "-X", "POST", "-H", "Content-Type: text/csv", "-T", "7.csv", "http://127.0.0.1:1/p",
    ]  # fmt: skip


def test_serve_line_names_the_command_and_quotes():
    words = shlex.split(serve_line(Path("my store"), ["m=m-1.0.mar"]))
    assert Path(words[0]).name == "torchserve-fire"
    assert words[1:] == ["serve", "--model-store", "my store", "--models", "m=m-1.0.mar"]
