import hashlib
import io

from torchserve_fire.format.digest import file_sha256, stream_sha256


def test_a_large_file_is_hashed_in_pieces(tmp_path):
    data = bytes(range(256)) * 10_000
    (tmp_path / "f").write_bytes(data)
    assert file_sha256(tmp_path / "f") == hashlib.sha256(data).hexdigest()


def test_what_was_read_before_does_not_count():
    stream = io.BytesIO(b"head and rest")
    stream.read(4)
    assert stream_sha256(stream) == hashlib.sha256(b" and rest").hexdigest()
