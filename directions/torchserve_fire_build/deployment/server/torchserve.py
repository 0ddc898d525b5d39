"""A TorchServe process: started, waited for until it serves, and ended with all its workers."""

from __future__ import annotations

import os
import re
import shutil
import socket
import ssl
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from urllib.parse import urlsplit

import requests

from torchserve_fire.errors import FireError
from torchserve_fire.format.write_file import check_writable

from ...common.interrupts import interrupts_deferred
from ...signing.signing_key import KEY_VARIABLE
from ..client.certificates import fingerprint_of
from ..client.http_session import open_session
from ..client.management import Management
from ..client.tokens import KEY_FILE, Tokens, read_tokens
from .front_end_log import without_content
from .java import find_java, java_environment
from .models_to_load import check_archives
from .process_group import stop_process_group
from .properties import Addresses, addresses_of, find_config, read_properties, with_free_ports

CONSOLE_FILE = "logs/console.log"
READY_SECONDS = 180.0
STOP_SECONDS = 15.0
POLL_SECONDS = 0.2
# The system allows about 108 bytes for the name of a worker's socket, which lies in this folder.
MAX_FOLDER_LENGTH = 80
LOG_VARIABLES = ("LOG_LOCATION", "METRICS_LOCATION")
# TorchServe goes on without a model that it was told to load.
FAILED_LOAD = re.compile(r"Failed to load model: (\S+)")
# It would go on trying for minutes, and answer /ping meanwhile.
FAILED_WORKER = re.compile(r"Load model failed|Backend stream closed|worker startup time out")
# A handler of ours names the model, too.
NOT_SERVED = re.compile(r"torchserve-fire does not serve model (\S.*)$", re.MULTILINE)
WORKER_ERROR = re.compile(r"MODEL_LOG - (?:[\w.]*\.)?(\w+(?:Error|Exception): .*)$", re.MULTILINE)
JAVA_ERROR = re.compile(r"^(?:[\w.]*\.)?(\w+(?:Error|Exception): .*)$", re.MULTILINE)


class TorchServe:
    """A TorchServe process; a context manager that starts it, waits, and ends it.

    Args:
        model_store: folder with the archives.
        models: what to load at start, as `torchserve --models` takes it (`name=file.mar`).
        config: configuration; this project's `config.properties` where None.
        settings: settings that take the place of the configuration's.
        free_ports: whether to listen on free ports of loopback, not on the configuration's.
        folder: the server's working folder, where it writes key_file.json and logs/; a temporary
            one where None.
        python: interpreter of the server and its workers.

    Example:
        >>> with TorchServe(store, ["m=m-1.0.mar"], free_ports=True) as server:
        ...     server.addresses.inference, server.tokens.inference
    """

    def __init__(
        self,
        model_store: Path,
        models: Sequence[str] = (),
        *,
        config: Path | None = None,
        settings: Mapping[str, str] | None = None,
        free_ports: bool = False,
        folder: Path | None = None,
        python: str = sys.executable,
    ) -> None:
        self.model_store = Path(model_store).resolve()
        self._models = list(models)
        self._config = config or find_config()
        self._settings = read_properties(self._config)
        before = dict(self._settings)
        if "metrics_config" in self._settings:
            file = _find_beside(self._config, self._settings["metrics_config"], folder)
            self._settings["metrics_config"] = str(file)
        self._settings |= settings or {}
        if free_ports:
            self._settings = with_free_ports(self._settings)
        self._changed = dict(self._settings.items() - before.items())
        self._given_folder = folder
        self._python = python
        self._temporary: Path | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._pinned: str | None = None

    @property
    def addresses(self) -> Addresses:
        """Where it listens."""
        return addresses_of(self._settings)

    @property
    def folder(self) -> Path:
        """Its working folder."""
        if self._given_folder is not None:
            return Path(self._given_folder).resolve()
        return self._temporary_folder() / "work"

    @property
    def key_file(self) -> Path:
        """The file with its tokens."""
        return self.folder / KEY_FILE

    @property
    def console(self) -> Path:
        """The file with everything that it printed."""
        return self.folder / CONSOLE_FILE

    @property
    def tokens(self) -> Tokens:
        """Its tokens; empty where it asks for none, and writes none."""
        if self._settings.get("disable_token_authorization") == "true":
            return Tokens("", "", "")
        return read_tokens(self.key_file)

    @property
    def management(self) -> Management:
        """A client of its management API, once it is started."""
        return Management(self.addresses.management, self.tokens.management, pinned=self._pinned)

    @property
    def pid(self) -> int:
        """The process, which leads a process group of its own.

        Raises:
            FireError: it is not started.
        """
        if self._process is None:
            raise FireError("TorchServe is not started")
        return self._process.pid

    def start(self) -> None:
        """Start the process; it does not serve yet.

        Raises:
            FireError: no Java, no model store, no certificate for https, a port is taken, or its
            folder takes no files.
        """
        check_archives(self.model_store, self._models)
        java = find_java()
        self._pinned = self._check_certificate()
        self._check_ports()
        temporary = self._temporary_folder()
        for file in (self.key_file, self.console):
            try:
                file.parent.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise FireError(f"{file.parent}: cannot be made: {error.strerror}") from None
            check_writable(file)
        # Tokens of an earlier server would be taken for this one's.
        self.key_file.unlink(missing_ok=True)
        command = [self._python, "-m", "ts.model_server", "--start", "--foreground"]
        command += ["--model-store", str(self.model_store), "--ts-config", str(self._config_file())]
        # A snapshot would bring back, at the next start, what was registered in this one.
        command.append("--no-config-snapshots")
        command += ["--models", *self._models] if self._models else []
        environment = java_environment(java)
        environment |= {"TMPDIR": str(temporary), "TEMP": str(temporary)}
        environment |= {name: str(self.folder / "logs") for name in LOG_VARIABLES}
        environment |= without_content(temporary, environment)
        # It would overrule --ts-config.
        environment.pop("TS_CONFIG_FILE", None)
        # A server checks signatures and makes none.
        environment.pop(KEY_VARIABLE, None)
        with self.console.open("wb") as console, interrupts_deferred():
            self._process = subprocess.Popen(  # noqa: S603 - our own interpreter.
                command,
                cwd=self.folder,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=console,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def wait_until_ready(self, timeout: float = READY_SECONDS) -> None:
        """Wait until it answers and every model that it loads has all its workers.

        Raises:
            FireError: it ended, a worker died, or the time is over; with the log's reason.
        """
        deadline = time.monotonic() + timeout
        while not self._is_ready():
            self._fail_if_broken()
            if time.monotonic() > deadline:
                raise FireError(
                    f"TorchServe is not ready after {timeout:.0f} s{self._log_reason()}; "
                    f"its log is {self.console}"
                )
            time.sleep(POLL_SECONDS)

    def wait(self) -> int:
        """Wait until the process ends; return its exit status."""
        if self._process is None:
            raise FireError("TorchServe is not started")
        return self._process.wait()

    def stop(self) -> None:
        """End the server and all its workers; a second call does nothing."""
        with interrupts_deferred():
            if self._process is not None:
                stop_process_group(self._process, STOP_SECONDS)
                self._process = None
                self.key_file.unlink(missing_ok=True)
            if self._temporary is not None:
                shutil.rmtree(self._temporary, ignore_errors=True)
                self._temporary = None

    def __enter__(self) -> TorchServe:
        try:
            self.start()
            self.wait_until_ready()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def _temporary_folder(self) -> Path:
        if self._temporary is None:
            self._temporary = Path(tempfile.mkdtemp(prefix="fire-"))
            if len(os.fsencode(self._temporary)) > MAX_FOLDER_LENGTH:
                self._temporary.rmdir()
                self._temporary = Path(tempfile.mkdtemp(prefix="fire-", dir="/tmp"))
        return self._temporary

    def _config_file(self) -> Path:
        if not self._changed:
            return self._config.resolve()
        path = self._temporary_folder() / "config.properties"
        # Of a setting that stands there twice, the last counts.
        changed = "".join(f"{key}={value}\n" for key, value in self._changed.items())
        path.write_text(f"{self._config.read_text(encoding='utf-8')}\n\n{changed}")
        return path

    def _check_certificate(self) -> str | None:
        """Return the fingerprint of the certificate that it shows; None where it shows none."""
        urls = (self.addresses.inference, self.addresses.management, self.addresses.metrics)
        if not any(url.startswith("https:") for url in urls):
            return None
        names = ("private_key_file", "certificate_file")
        if missing := [name for name in names if name not in self._settings]:
            # Without them TorchServe would show a certificate that it makes up at each start.
            raise FireError(f"{self._config}: https needs {' and '.join(missing)}, in PEM")
        key, certificate = (self.folder / self._settings[name] for name in names)
        fingerprint = fingerprint_of(certificate)
        if not key.is_file():
            raise FireError(f"{self._config}: private_key_file: {key}: no such file")
        try:
            ssl.create_default_context(ssl.Purpose.CLIENT_AUTH).load_cert_chain(certificate, key)
        except ssl.SSLError as error:
            raise FireError(
                f"{self._config}: private_key_file: {key}: not the key of {certificate}, in PEM "
                f"without a password ({error.reason or 'unreadable'})"
            ) from None
        return fingerprint

    def _check_ports(self) -> None:
        urls = [self.addresses.inference, self.addresses.management, self.addresses.metrics]
        places = [urlsplit(url).netloc for url in urls if not url.startswith("unix:")]
        places += [self.addresses.grpc_inference, self.addresses.grpc_management]
        for place in places:
            host, _, port = place.rpartition(":")
            if not host or not port.isdecimal():
                continue
            with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as each:
                each.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                try:
                    each.bind((host.strip("[]"), int(port)))
                except OSError as error:
                    raise FireError(
                        f"cannot listen on {place} ({error.strerror}): is another TorchServe "
                        "running? Another configuration can be given with --ts-config"
                    ) from None

    def _is_ready(self) -> bool:
        try:
            management = self.management
            with open_session(self.tokens.inference or None, pinned=self._pinned) as session:
                ping = session.get(f"{self.addresses.inference}/ping", timeout=5)
            if ping.status_code not in (200, 500):
                return False
            models = management.models()
            expected = [name for name in (_model_name(model) for model in self._models) if name]
            if not set(expected) <= set(models):
                return False
            return all(
                version.ready for name in models for version in management.describe_all(name)
            )
        except (requests.RequestException, FireError):
            return False

    def _fail_if_broken(self) -> None:
        if self._process is None or self._process.poll() is not None:
            raise FireError(
                f"TorchServe ended before it was ready{self._log_reason()}; "
                f"its log was:\n{self._tail()}"
            )
        if FAILED_WORKER.search(self._log()):
            raise FireError(f"a worker of TorchServe did not load its model{self._log_reason()}")
        if failed := FAILED_LOAD.search(self._log()):
            raise FireError(f"TorchServe cannot load {failed[1]}{self._log_reason()}")

    def _log(self) -> str:
        try:
            return self.console.read_text(encoding="utf-8", errors="replace")
        except OSError:
            return ""

    def _log_reason(self) -> str:
        log = self._log()
        reasons = NOT_SERVED.findall(log) or WORKER_ERROR.findall(log) or JAVA_ERROR.findall(log)
        return f": {reasons[-1]}" if reasons else ""

    def _tail(self) -> str:
        return "\n".join(self._log().splitlines()[-15:])


def _find_beside(config: Path, file: str, working: Path | None) -> Path:
    """Return a file that a configuration names; TorchServe would look in its working folder only.

    It lies beside the configuration, in that folder or, of a copy of this project's configuration,
    where this project's is.

    Raises:
        FireError: it is in none of these places.
    """
    folders = [config.resolve().parent, *([working.resolve()] if working else [])]
    for folder in (*folders, find_config().resolve().parent):
        if (folder / file).is_file():
            return folder / file
    raise FireError(f"{config}: metrics_config: {file}: no such file in {folders[0]}")


def _model_name(model: str) -> str | None:
    """Return the name under which `--models` registers an entry, None where the archive says it."""
    name, separator, _ = model.partition("=")
    return name if separator else None
