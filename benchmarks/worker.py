"""One of the two processes of a run; started by `benchmarks.harness.run_pair`, not by people."""

from __future__ import annotations

import gc
import importlib
import json
import os
import socket
import sys
import time
from dataclasses import asdict
from pathlib import Path

from benchmarks.harness import publish
from benchmarks.schemes import Case, Publisher, Receiver

_READY = b"R"


def main() -> None:
    """Play the part that the one argument, a JSON object, describes; print the result as JSON."""
    plan = json.loads(sys.argv[1])
    module, _, name = plan["target"].partition(":")
    channel = socket.socket(fileno=plan["fd"])
    case, folder = Case(**plan["case"]), Path(plan["folder"])
    part: type[Publisher] | type[Receiver] = getattr(importlib.import_module(module), name)
    _pin(0 if issubclass(part, Publisher) else 1)
    # A collection in the middle of a send would be measured as the scheme's; nothing here makes cycles.
    gc.disable()
    if issubclass(part, Publisher):
        publisher = part(case, folder, channel)
        if part.has_receiver and channel.recv(1) != _READY:
            raise SystemExit("the receiver ended before it was ready")
        values = asdict(publish(publisher))
        publisher.close()
        if part.has_receiver:
            channel.sendall(_READY)  # it may go
        values.pop("receiver_cpu")
        values.pop("wrong")
    else:
        receiver = part(case, folder, channel)
        receiver.open()
        channel.sendall(_READY)
        cpu = time.process_time_ns()
        receiver.serve()
        cpu = time.process_time_ns() - cpu
        channel.recv(1)
        receiver.close()
        values = {"receiver_cpu": cpu / 1e3 / case.images, "wrong": receiver.arrivals.wrong}
    print(json.dumps(values), flush=True)
    # Threads of other people's libraries must not keep the process, nor its exit be measured.
    os._exit(0)


def _pin(number: int) -> None:
    """Keep this process on one processor, sender and receiver on different ones; as it is where there is only one."""
    if hasattr(os, "sched_setaffinity"):
        usable = sorted(os.sched_getaffinity(0))
        if len(usable) > 1:
            os.sched_setaffinity(0, {usable[number]})


if __name__ == "__main__":
    main()
