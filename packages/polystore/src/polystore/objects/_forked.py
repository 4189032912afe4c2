"""A bucket for a process that was forked from one that had used obstore.

obstore's threads stay behind in the parent: in the child every call of it waits for ever. So the child starts
a process of its own that has them, and asks it. Slower than a spawned worker, which needs none of this, but
what worked before the fork works after it.
"""

from __future__ import annotations

import os
import subprocess
import sys
import weakref
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any, BinaryIO

import msgspec

import polystore.errors
from polystore._locks import ForkSafeLock
from polystore.errors import StorageError, UnreachableError
from polystore.objects._place import Place

__all__ = ["ForkedBucket"]

_VERBS = ("any_below", "copy", "create", "delete", "get", "put", "scan", "size", "swap")


class ForkedBucket:
    """The calls of `polystore.objects._obstore.Bucket`, answered by a process of their own, one at a time."""

    def __init__(self, place: Place) -> None:
        self._place = place
        self._lock = ForkSafeLock()
        process = subprocess.Popen(
            [sys.executable, "-m", __name__], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        assert process.stdin is not None
        assert process.stdout is not None
        self._requests, self._replies = process.stdin, process.stdout
        self._end = weakref.finalize(self, _stop, process, os.getpid())
        _send(self._requests, place)

    def open(self, prefix: str) -> Any:
        """Refuse: a store that others use directly cannot live in another process."""
        raise StorageError(
            f"{self._place.bucket_url}/{prefix} cannot be opened as a zarr store here: this process was forked from "
            "one that had used the cloud; start workers by multiprocessing.get_context('spawn')"
        )

    def keys(self, prefix: str) -> Iterator[str]:
        """All keys below a prefix."""
        return iter(self._ask("keys", prefix))

    def _ask(self, verb: str, *arguments: Any) -> Any:
        with self._lock:
            try:
                _send(self._requests, (verb, arguments))
                reply = _receive(self._replies)
            except (OSError, EOFError) as exc:
                raise UnreachableError(
                    f"the helper process for {self._place.bucket_url} has ended; open the store anew"
                ) from exc
        if reply[0] is None:
            return reply[1]
        raise getattr(polystore.errors, reply[0])(reply[1])

    def __getattr__(self, verb: str) -> Any:
        if verb not in _VERBS:
            raise AttributeError(verb)
        return lambda *arguments: self._ask(verb, *arguments)


def _send(stream: BinaryIO | Any, message: Any) -> None:
    data = msgspec.msgpack.encode(message)
    stream.write(len(data).to_bytes(8, "big") + data)
    stream.flush()


def _receive(stream: BinaryIO | Any, decode: Callable[[bytes], Any] = msgspec.msgpack.decode) -> Any:
    head = stream.read(8)
    if len(head) < 8 or head == bytes(8):
        raise EOFError("the other side has ended")
    return decode(stream.read(int.from_bytes(head, "big")))


def _stop(process: subprocess.Popen[bytes], owner: int) -> None:
    if os.getpid() != owner:
        return  # forked since: it is not ours to end, nor to wait for
    assert process.stdin is not None
    with suppress(OSError):  # it has ended already
        process.stdin.write(bytes(8))  # its input may stay open in processes forked from this one
        process.stdin.close()
    process.wait()
    assert process.stdout is not None
    process.stdout.close()


def _serve(requests: Any, replies: Any) -> None:
    from polystore.objects._obstore import Bucket

    bucket = Bucket(_receive(requests, msgspec.msgpack.Decoder(Place).decode))
    while True:
        try:
            verb, arguments = _receive(requests)
        except EOFError:
            return
        try:
            answer = getattr(bucket, verb)(*arguments)
            reply: tuple[str | None, Any] = (None, list(answer) if verb == "keys" else answer)
        except StorageError as exc:
            reply = (type(exc).__name__, str(exc))
        _send(replies, reply)


if __name__ == "__main__":
    _serve(sys.stdin.buffer, sys.stdout.buffer)
