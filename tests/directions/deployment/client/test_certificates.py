from __future__ import annotations

import hashlib
import ssl
from pathlib import Path

import pytest

from tests.server.certificates import write_certificates
from torchserve_fire.errors import FireError
from torchserve_fire_build.deployment.client.certificates import fingerprint_of
from torchserve_fire_build.deployment.client.management import Management


def test_the_first_certificate_of_a_chain_is_the_servers(tmp_path: Path) -> None:
    files = write_certificates(tmp_path)
    chain = tmp_path / "chain.pem"
    chain.write_text(f"Subject: us\n{files.server.read_text()}\n{files.authority.read_text()}")
    own = ssl.PEM_cert_to_DER_cert(files.server.read_text())
    assert fingerprint_of(chain) == hashlib.sha256(own).hexdigest()


@pytest.mark.parametrize("content", ["", "-----BEGIN CERTIFICATE-----\n", "\xff"])
def test_a_file_without_a_certificate_is_told(tmp_path: Path, content: str) -> None:
    path = tmp_path / "server.pem"
    path.write_text(content, encoding="latin-1")
    with pytest.raises(FireError, match=r"server.pem: expected a certificate in PEM"):
        fingerprint_of(path)
    with pytest.raises(FireError, match=r"server.pem: expected certificates of authorities"):
        Management("https://127.0.0.1:1", None, path)


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(FireError, match=r"no.pem: cannot read the certificate: No such file"):
        fingerprint_of(tmp_path / "no.pem")
    with pytest.raises(FireError, match=r"no.pem: cannot read the certificates: No such file"):
        Management("https://127.0.0.1:1", None, tmp_path / "no.pem")
