"""Other people's ways to move images between processes, each in an environment of its own.

Their requirements contradict each other now and then, and none of them is needed to build or test this project:
what cannot be installed is left out, and said so.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from dataclasses import dataclass, replace

from benchmarks.harness import ROOT
from benchmarks.rows import BenchmarkError

ENVIRONMENTS = ROOT / ".nox" / "bench-peers"
"""Kept from run to run; delete it to install anew."""


@dataclass(frozen=True, slots=True)
class Peer:
    """Somebody else's scheme.

    Attributes
    ----------
    name, requirement, module : str
        Its row's name, what to install, what to import.
    publisher, receiver : str
        Its classes of `benchmarks.peer_schemes`; no receiver where it brings its own.
    rounds : int
        Repetitions; fewer where starting takes ten seconds.
    python : str
        The interpreter it is installed for; empty until `available` made the environment.
    """

    name: str
    requirement: str
    module: str
    publisher: str
    receiver: str
    rounds: int = 3
    python: str = ""


PEERS = (
    Peer(
        "zenoh",
        "eclipse-zenoh>=1.2",
        "zenoh",
        "benchmarks.peer_schemes:ZenohPublisher",
        "benchmarks.peer_schemes:ZenohReceiver",
    ),
    Peer(
        "imagezmq",
        "imagezmq>=1.2",
        "imagezmq",
        "benchmarks.peer_schemes:ImagezmqPublisher",
        "benchmarks.peer_schemes:ImagezmqReceiver",
    ),
    Peer("ray", "ray>=2.40", "ray", "benchmarks.peer_schemes:RayPublisher", "", rounds=2),
    Peer(
        "rerun",
        "rerun-sdk>=0.24",
        "rerun",
        "benchmarks.peer_schemes:RerunPublisher",
        "benchmarks.peer_schemes:RerunReceiver",
        rounds=2,
    ),
)


def available() -> list[Peer]:
    """Return the peers that can be measured here, installing those that are missing."""
    found = []
    for peer in PEERS:
        try:
            python = _environment(peer)
        except BenchmarkError as error:
            print(f"transport: SKIPPED {peer.name}: {error}", flush=True)
            continue
        found.append(replace(peer, python=python))
    return found


def _environment(peer: Peer) -> str:
    folder = ENVIRONMENTS / peer.name
    python = str(folder / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python"))
    if _imports(python, peer.module):
        return python
    print(f"transport: installing {peer.requirement} in {folder}", flush=True)
    uv = shutil.which("uv")
    if uv:
        _run([uv, "venv", "--quiet", "--clear", "--python", sys.executable, str(folder)])
        _run([uv, "pip", "install", "--quiet", "--python", python, "numpy", peer.requirement])
    else:
        _run([sys.executable, "-m", "venv", "--clear", str(folder)])
        _run([python, "-m", "pip", "install", "--quiet", "numpy", peer.requirement])
    if not _imports(python, peer.module):
        raise BenchmarkError(f"{peer.requirement} was installed in {folder}, but cannot be imported")
    return python


def _imports(python: str, module: str) -> bool:
    if not shutil.which(python):
        return False
    return (
        subprocess.run([python, "-c", f"import {module}"], capture_output=True, check=False).returncode == 0
    )


def _run(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise BenchmarkError(f"'{' '.join(command)}' failed:\n{done.stderr[-1000:]}")
