"""The process that reaches a bucket for one that was forked."""

from __future__ import annotations

import subprocess
import sys

CODE = """
import os, sys
from polystore.objects._forked import ForkedBucket
from polystore.objects._place import Place
bucket = ForkedBucket(Place('s3', 'b', endpoint='http://127.0.0.1:9', retries=0, timeout=1.0, anonymous=True))
child = os.fork()
if not child:
    sys.exit(0)  # ends by itself, with its copy of the pipes
_, status = os.waitpid(child, 0)
print('ended', os.waitstatus_to_exitcode(status), flush=True)
grandchild = os.fork()
if not grandchild:
    os.read(0, 1)  # lives on, with the pipes open
    os._exit(0)
del bucket
print('closed', flush=True)
os.waitpid(grandchild, 0)
"""


def test_a_process_forked_from_one_with_a_helper_holds_nobody_up() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", CODE], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        # Each line comes although nobody has let the grandchild go: a hang is ended by the suite's own timeout.
        assert process.stdout.readline() == "ended 0\n"
        assert process.stdout.readline() == "closed\n"
        process.stdin.write("x")
        process.stdin.close()
    assert process.returncode == 0
