"""Which pipeline run this process belongs to."""

from __future__ import annotations

import os
from functools import lru_cache

__all__ = ["RUN_VARIABLE", "default_run"]

RUN_VARIABLE = "POLYSTORE_RUN"
"""Environment variable that names the run for a process and those it starts."""


def default_run() -> str:
    """Return the name of this process's run: ``$POLYSTORE_RUN``, else one made from its process.

    That is the process that started this worker, or this process itself when it is no worker of
    `multiprocessing`: the workers of one pipeline share layers, two pipelines do not.
    """
    return os.environ.get(RUN_VARIABLE) or _process_run(os.getpid())


@lru_cache(maxsize=1)
def _process_run(pid: int) -> str:
    from multiprocessing import parent_process

    from zmqruntime.process import process_start_time

    parent = parent_process()
    root = pid if parent is None or parent.pid is None else parent.pid
    return f"{root}-{process_start_time(root) or 0}"
