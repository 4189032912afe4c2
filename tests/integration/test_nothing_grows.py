"""After 10,000 images sender and receiver hold as many descriptors, mappings and blocks as after 10."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from zmqruntime.client import ControlClient
from zmqruntime.config import Endpoint
from zmqruntime.errors import RequestTimeout
from zmqruntime.testing import wait_until

PROGRAMS = Path(__file__).parent / "programs"

BLOCKS = 1500
"""Blocks of Python's allocator that may be more or fewer: caches and free lists. One more per image would be 10,000."""

MAPPINGS = 4
"""Mappings that may be more: the C library maps and unmaps memory of its own. One more per segment would be 20."""


@pytest.fixture
def environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, str]]:
    """An environment with folders of this test's own."""
    monkeypatch.setenv("ZMQRUNTIME_DIR", str(tmp_path / "run"))
    root = "/dev/shm" if os.path.isdir("/dev/shm") else None
    with tempfile.TemporaryDirectory(prefix="grows-", dir=root) as memory:
        yield {**os.environ, "POLYSTORE_SHM_DIR": memory}
        assert os.listdir(memory) == []


def test_nothing_grows(environment: dict[str, str], tmp_path: Path) -> None:
    torn = tmp_path / "torn"
    receiver = subprocess.Popen(
        [sys.executable, str(PROGRAMS / "receiver.py"), "5555", str(torn)], env=environment
    )
    try:
        done = subprocess.run(
            [sys.executable, str(PROGRAMS / "steady.py"), "5555"],
            env=environment,
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert done.returncode == 0, done.stderr
        said = json.loads(done.stdout)
        print(json.dumps(said, indent=1))
        assert said["displayed"] + said["superseded"] == 10_000
        for side in ("sender", "receiver"):
            first, last = said["found"]["10"][side], said["found"]["10000"][side]
            assert last["descriptors"] <= first["descriptors"], side
            assert last["threads"] == first["threads"], side
            assert last["mappings"] <= first["mappings"] + MAPPINGS, side
            assert last["blocks"] <= first["blocks"] + BLOCKS, side
        assert torn.read_text() == ""
        with ControlClient(Endpoint(data_port=5555)) as client:
            client.shutdown()
        assert receiver.wait(20) == 0
    finally:
        receiver.kill()
        receiver.wait()


def test_the_dead_are_forgotten_with_all_they_held(environment: dict[str, str], tmp_path: Path) -> None:
    receiver = subprocess.Popen(
        [sys.executable, str(PROGRAMS / "receiver.py"), "5555", str(tmp_path / "torn")],
        env=environment,
        stderr=subprocess.DEVNULL,
    )
    client = ControlClient(Endpoint(data_port=5555))

    def is_there() -> bool:
        try:
            return bool(client.ping())
        except RequestTimeout:
            return False

    def alone() -> bool:
        return client.status()["senders"] == []

    def round_of_three() -> None:
        senders = [
            subprocess.Popen(
                [sys.executable, str(PROGRAMS / "sender.py"), "5555", "block", "20"],
                env=environment,
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
            for _ in range(3)
        ]
        wait_until(
            lambda: len([each for each in client.status()["senders"] if each["received"] > 100]) == 3, 30
        )
        for sender in senders:
            sender.kill()
            sender.communicate()
        wait_until(alone, 10)
        wait_until(lambda: client.status()["waiting"] == 0, 10)

    try:
        wait_until(is_there, 20)
        round_of_three()
        first = client.command("held")
        for _ in range(2):
            round_of_three()
        last = client.command("held")
        print(first, last)
        assert last["descriptors"] <= first["descriptors"] + 1
        assert last["mappings"] <= first["mappings"] + MAPPINGS
        assert last["blocks"] <= first["blocks"] + BLOCKS
        client.shutdown()
        assert receiver.wait(20) == 0
    finally:
        client.close()
        receiver.kill()
        receiver.wait()
