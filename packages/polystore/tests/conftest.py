"""What the tests of this package share."""

from __future__ import annotations

import itertools
import json
import os
import shutil
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

# A busy machine may take long over one example; that is no failure. The timeout of the whole test stays.
settings.register_profile("workspace", deadline=None)
settings.load_profile("workspace")

_numbers = itertools.count()


class Ordinary:
    """Runs code as a process for which permissions count, also where the tests run as root."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __call__(self, code: str) -> str:
        """What the code prints, in that folder."""
        command = [sys.executable, "-c", code]
        if os.geteuid() == 0:
            less = ["--bounding-set=-dac_override,-dac_read_search", "--inh-caps=-all"]
            command = ["setpriv", *less, *command]
        done = subprocess.run(command, capture_output=True, text=True, cwd=self.folder, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout


@pytest.fixture
def ordinary(tmp_path: Path) -> Iterator[Ordinary]:
    """See `Ordinary`; afterwards everything in the folder can be removed again."""
    if os.name != "posix" or (os.geteuid() == 0 and shutil.which("setpriv") is None):
        pytest.skip("permissions cannot be made to count here")
    yield Ordinary(tmp_path)
    for folder, _, _ in os.walk(tmp_path):
        os.chmod(folder, 0o700)


class S3Server:
    """A real S3 API on loopback, in a process of its own; see ``s3_server.py``."""

    def __init__(self, url: str) -> None:
        self.url = url

    def fail(self, kind: str, times: int = 1, method: str = "") -> None:
        """Make the next requests (of that method) fail."""
        self._request(
            "POST", "/-/faults", json.dumps({"kind": kind, "times": times, "method": method}).encode()
        )

    def seen(self) -> dict[str, int]:
        """How many requests of each method came since this was asked last."""
        return dict(json.loads(self._request("GET", "/-/seen")))

    def make_bucket(self) -> str:
        """The url of a new bucket."""
        name = f"bucket-{next(_numbers)}"
        self._request("PUT", f"/{name}", headers={"Host": "s3.amazonaws.com"})
        return f"s3://{name}"

    def _request(self, method: str, path: str, data: bytes | None = None, **options: Any) -> bytes:
        request = urllib.request.Request(self.url + path, data=data, method=method, **options)
        with urllib.request.urlopen(request, timeout=60) as reply:
            return bytes(reply.read())


@pytest.fixture(scope="session")
def s3_process() -> Iterator[S3Server]:
    """The server, started with the first test that needs it."""
    process = subprocess.Popen(
        [sys.executable, str(Path(__file__).with_name("s3_server.py"))],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert process.stdout is not None
    url = process.stdout.readline().strip()
    assert url, "the S3 server did not start: python packages/polystore/tests/s3_server.py says why"
    yield S3Server(url)
    process.communicate()


@pytest.fixture
def s3(s3_process: S3Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[S3Server]:
    """The server, with its address and credentials in the environment, as for any program that uses S3."""
    for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN", "AWS_DEFAULT_REGION", "AWS_ENDPOINT_URL_S3"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "TESTKEY")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "TESTSECRET")
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    monkeypatch.setenv("AWS_ENDPOINT_URL", s3_process.url)
    for name in ("AWS_SHARED_CREDENTIALS_FILE", "AWS_CONFIG_FILE"):
        monkeypatch.setenv(name, str(tmp_path / "no-such-file"))
    s3_process.fail("", 0)
    yield s3_process
    s3_process.fail("", 0)


@pytest.fixture
def bucket(s3: S3Server) -> str:
    """The url of a new bucket."""
    return s3.make_bucket()


@pytest.fixture(autouse=True)
def no_configuration_files(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the machine and its user have configured, tests start from the defaults."""
    monkeypatch.setenv("OPENHCS_CONFIG", os.devnull)
