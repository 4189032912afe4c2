"""``docs/protocol.md`` suffices: a sender written from it alone is understood; its examples are the pinned bytes."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path
from typing import Any

import pytest

from zmqruntime.client import ControlClient
from zmqruntime.config import Endpoint
from zmqruntime.discovery import free_endpoint
from zmqruntime.testing import wait_until

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
PAGE = ROOT / "docs/protocol.md"


@pytest.mark.parametrize("transport", ["ipc", "tcp"])
def test_a_sender_of_another_language(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, transport: str
) -> None:
    monkeypatch.setenv("ZMQRUNTIME_DIR", str(tmp_path / "run"))
    endpoint = Endpoint(data_port=5555) if transport == "ipc" else free_endpoint(23000, "tcp")
    torn = tmp_path / "torn"
    with tempfile.TemporaryDirectory(dir="/dev/shm" if os.path.isdir("/dev/shm") else None) as memory:
        receiver = subprocess.Popen(
            [sys.executable, str(HERE / "programs/receiver.py"), str(endpoint), str(torn)],
            env={**os.environ, "POLYSTORE_SHM_DIR": memory},
        )
        try:
            done = subprocess.run(
                [
                    sys.executable,
                    str(HERE / "programs/second_language.py"),
                    endpoint.data_url,
                    endpoint.control_url,
                    memory,
                ],
                capture_output=True,
                text=True,
                timeout=60,
            )
            assert done.returncode == 0, done.stderr
            said: dict[str, Any] = json.loads(done.stdout)
            with ControlClient(endpoint) as client:
                status = wait_until(lambda: (found := client.status())["senders"] == [] and found)
                client.shutdown()
            assert receiver.wait(20) == 0
        finally:
            receiver.kill()
            receiver.wait()
        assert os.listdir(memory) == []
    assert said["imported"] == []
    assert said["pong"]["type"] == "pong"
    assert said["pong"]["ready"] is True
    assert said["window"] == 256
    assert said["welcome"]["shared_memory"] is True
    assert said["mapped"] is True
    assert said["name_is_gone"] is True
    assert said["outcomes"] == {"0": 1, "1": 1, "2": 3}
    assert said["credits"] == [0, 1, 2]
    assert list(said["failed"]) == ["2"]
    assert "is not 7 bytes" in said["failed"]["2"]
    assert said["alive"] == [19, 41]
    assert (status["received"], status["displayed"], status["refused"]) == (3, 2, 1)
    assert torn.read_text() == ""  # every pixel was what it had to be


def golden() -> dict[str, str]:
    """Name and text of everything that is pinned: hexadecimal, or JSON."""
    transport = tomllib.loads((ROOT / "packages/zmqruntime/tests/golden.toml").read_text())
    bodies = tomllib.loads((ROOT / "packages/polystore/tests/streaming/golden.toml").read_text())
    return {**transport["control"], **transport["data"], **transport["broadcast"], **bodies["bodies"]}


@pytest.mark.parametrize("name", golden())
def test_the_page_shows_the_pinned_bytes(name: str) -> None:
    page = PAGE.read_text()
    blocks = dict(re.findall(r"<!-- golden: ([a-z_]+) -->\n+```[a-z]*\n(.*?)```", page, re.DOTALL))
    assert name in blocks, f"docs/protocol.md shows no example of {name}"
    shown = (
        "\n".join(line.partition("#")[0] for line in blocks[name].splitlines())
        if name not in JSON
        else blocks[name]
    )
    assert "".join(shown.split()) == "".join(golden()[name].split())


JSON = tomllib.loads((ROOT / "packages/zmqruntime/tests/golden.toml").read_text())["control"]


def test_the_page_names_the_version() -> None:
    from zmqruntime.messages import OLDEST_PROTOCOL, PROTOCOL_VERSION

    assert f"protocol version **{PROTOCOL_VERSION}**" in PAGE.read_text()
    assert f"oldest version still spoken: **{OLDEST_PROTOCOL}**" in PAGE.read_text()
