"""Which TLS certificates a client accepts."""

from __future__ import annotations

import hashlib
import ssl
from pathlib import Path
from typing import Any

from requests.adapters import HTTPAdapter

from torchserve_fire.errors import FireError

FIRST_LINE, LAST_LINE = "-----BEGIN CERTIFICATE-----", "-----END CERTIFICATE-----"


class PinnedAdapter(HTTPAdapter):
    """Accepts one certificate and no other, whoever signed it and whatever host it names.

    Args:
        fingerprint: SHA-256 of the certificate, in hexadecimal.
    """

    def __init__(self, fingerprint: str) -> None:
        self._fingerprint = fingerprint
        super().__init__()

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        """Make the pool of connections, which compares the fingerprint at each new one."""
        super().init_poolmanager(*args, **kwargs, assert_fingerprint=self._fingerprint)


def check_authorities(path: Path) -> None:
    """Refuse a file that holds no certificates of authorities.

    Raises:
        FireError: it cannot be read, or is no such file.
    """
    try:
        ssl.create_default_context(cafile=path)
    except ssl.SSLError:
        raise FireError(f"{path}: expected certificates of authorities in PEM") from None
    except OSError as error:
        raise FireError(f"{path}: cannot read the certificates: {error.strerror}") from None


def fingerprint_of(path: Path) -> str:
    """Return the SHA-256 of the first certificate in a PEM file, which is the server's own.

    Raises:
        FireError: the file cannot be read, or holds none.
    """
    try:
        text = path.read_text(encoding="utf-8")
        start = text.index(FIRST_LINE)
        end = text.index(LAST_LINE, start) + len(LAST_LINE)
        return hashlib.sha256(ssl.PEM_cert_to_DER_cert(text[start:end])).hexdigest()
    except OSError as error:
        raise FireError(f"{path}: cannot read the certificate: {error.strerror}") from None
    except ValueError:
        raise FireError(f"{path}: expected a certificate in PEM") from None
