"""The pipeline's end: arrays in, one copy into a warm slot, on they go."""

from __future__ import annotations

import atexit
import logging
import os
import threading
import time
from array import array
from collections.abc import Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any

import numpy as np

from polystore.components import ImageKey
from polystore.config import Settings
from polystore.errors import PayloadError, PayloadTooLargeError, UnsupportedArrayError
from polystore.payload.arrays import as_host_array, check_array, checked_nbytes
from polystore.streaming.encoder import MAX_REGION_BYTES, ImageEncoder, Outgoing
from polystore.streaming.messages import KINDS, BatchContext, StreamItem, encode
from zmqruntime.config import DEFAULT_TIMEOUTS, Endpoint, Timeouts
from zmqruntime.stream import SendReport, StreamStats
from zmqruntime.stream_sender import DEFAULT_DEADLINE, StreamSender

if TYPE_CHECKING:
    from zmqruntime.security import KeyPair

logger = logging.getLogger(__name__)

EXIT_FLUSH_SECONDS = 10.0
"""How long the end of the process waits for images that are on their way."""

EXIT_START_SECONDS = 30.0
"""The same while a viewer is still starting: what was sent meanwhile is to be seen."""

DEFAULT_CONTEXT = BatchContext()
_KIND_NUMBERS = {kind: number for number, kind in enumerate(KINDS)}
_ROIS = _KIND_NUMBERS["rois"]

_BLOCK_TIMES = 4096
"""How many of them `ImageSender.block_ms` knows; the memory is taken once, so that nothing grows."""

MAX_TEXT = 8192
"""Longest path or name that travels with an image: twice what Linux takes as a path."""


class ImageSender:
    """Sends images to one viewer's endpoint and knows what became of each.

    Parameters
    ----------
    endpoint : zmqruntime.Endpoint
        Where the viewer listens; it need not be there yet.
    policy, deadline, starting, name, server_key, keys
        See `zmqruntime.StreamSender`.
    arena_bytes, queue_bytes : int, optional
        Shared memory for images on their way, memory for images that wait; from the environment when not
        given, see `polystore.config.Settings`.

    Notes
    -----
    Thread-safe. Not across a fork: use `sender_for`, which makes one per process.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        *,
        policy: str = "drop",
        deadline: float = DEFAULT_DEADLINE,
        arena_bytes: int | None = None,
        queue_bytes: int | None = None,
        starting: bool = False,
        name: str = "",
        server_key: bytes | None = None,
        keys: KeyPair | None = None,
        timeouts: Timeouts = DEFAULT_TIMEOUTS,
    ) -> None:
        settings = Settings.from_env()
        self._max_bytes = settings.max_image_bytes
        self._encoder = ImageEncoder(settings.arena_bytes if arena_bytes is None else arena_bytes)
        self._stream: StreamSender[Outgoing] = StreamSender(
            endpoint,
            self._encoder,
            policy=policy,
            deadline=deadline,
            queue_bytes=settings.queue_bytes if queue_bytes is None else queue_bytes,
            starting=starting,
            name=name,
            server_key=server_key,
            keys=keys,
            timeouts=timeouts,
        )
        self._block_ns = array("q", bytes(8 * _BLOCK_TIMES))
        self._calls = 0

    def __enter__(self) -> ImageSender:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def endpoint(self) -> Endpoint:
        """Where the images go."""
        return self._stream.endpoint

    @property
    def stream(self) -> StreamSender[Outgoing]:
        """The stream below: state, attachments, `started`."""
        return self._stream

    @property
    def state(self) -> str:
        """See `zmqruntime.StreamSender.state`."""
        return self._stream.state

    @property
    def stats(self) -> StreamStats:
        """What became of every image so far."""
        return self._stream.stats

    @property
    def block_ms(self) -> list[float]:
        """How long the last calls of `send` (4,096 at most) held the pipeline, in milliseconds."""
        calls = self._calls
        if calls <= _BLOCK_TIMES:
            return [value / 1e6 for value in self._block_ns[:calls]]
        oldest = calls % _BLOCK_TIMES
        return [value / 1e6 for value in (*self._block_ns[oldest:], *self._block_ns[:oldest])]

    def send(
        self,
        items: Sequence[StreamItem],
        context: BatchContext = DEFAULT_CONTEXT,
        *,
        policy: str | None = None,
        deadline: float | None = None,
        deferred: bool = False,
    ) -> SendReport:
        """Send images in order; each is delivered or counted.

        Parameters
        ----------
        items : sequence of StreamItem
            Their arrays may be changed when this returns, except those made by `empty` and, with
            `deferred`, all of them (until `flush`).
        context : BatchContext
            Where the batch belongs.
        policy, deadline, deferred
            See `zmqruntime.StreamSender.send`.

        Raises
        ------
        UnsupportedArrayError, PayloadTooLargeError, PayloadError
            An array, or what is said about it, cannot travel. Raised before anything is sent or counted.
        zmqruntime.SendTimeout, zmqruntime.errors.StreamClosedError
            See `zmqruntime.StreamSender.send`.
        """
        begin = time.perf_counter_ns()
        wire = context.wire()
        check_size = self._encoder.check_size
        outgoing = []
        for item in items:
            array, contrast, rois = item.array, item.contrast, b""
            kind = _KIND_NUMBERS.get(item.kind)
            if kind is None:
                raise UnsupportedArrayError(f"unknown kind {item.kind!r} (known: {', '.join(KINDS)})")
            if kind == _ROIS:
                rois = _regions(item)
            elif array is None:
                raise UnsupportedArrayError(f"an item of kind {item.kind!r} has no array")
            else:
                array = as_host_array(array)
                check_array(array, max_bytes=self._max_bytes)
                check_size(array.nbytes)
            if contrast is not None:
                contrast = _contrast(contrast)
            outgoing.append(
                Outgoing(
                    array,
                    wire,
                    kind,
                    _key_values(item.key),
                    contrast,
                    _text(item.path),
                    _text(item.name),
                    rois,
                )
            )
        try:
            return self._stream.send(outgoing, policy=policy, deadline=deadline, deferred=deferred)
        finally:
            self._block_ns[self._calls % _BLOCK_TIMES] = time.perf_counter_ns() - begin
            self._calls += 1

    def empty(self, shape: tuple[int, ...] | int, dtype: Any = np.uint16) -> np.ndarray[Any, Any]:
        """Return an uninitialised array that lives in shared memory, so that sending it copies nothing.

        Sending it hands it over: its memory is used for another image once the viewer has taken this
        one, so neither read nor write it after `send`. Without a viewer, or with every slot in use,
        it is an ordinary array, which `send` copies.

        Raises
        ------
        UnsupportedArrayError, PayloadTooLargeError
            The dtype cannot travel, or the array is too large.
        """
        kind = np.dtype(dtype)
        dims = (shape,) if isinstance(shape, int) else tuple(shape)
        nbytes = checked_nbytes(dims, kind, max_bytes=self._max_bytes)
        self._stream.collect()
        array = self._encoder.empty(dims, kind, nbytes)
        return np.empty(dims, kind) if array is None else array

    def flush(self, timeout: float | None = None) -> bool:
        """Wait until every image has its outcome; return whether that was so in time."""
        return self._stream.flush(timeout)

    def wait_attached(self, timeout: float) -> bool:
        """Return whether a viewer took this sender within `timeout` seconds."""
        return self._stream.wait_attached(timeout)

    def close(self, timeout: float = 0.0) -> None:
        """End the stream, waiting up to `timeout` seconds for outcomes; idempotent."""
        self._stream.close(timeout)


def _key_values(key: ImageKey) -> tuple[Any, ...]:
    return (key.plate, key.acquisition, key.well, key.field, key.channel, key.z, key.t)


def _text(value: Any) -> str:
    if type(value) is not str:
        if value is None:
            return ""
        if not isinstance(value, str | os.PathLike):
            raise PayloadError(f"{value!r} is no path or name: give a str")
        value = os.fsdecode(value)
    text = str(value)
    if len(text) > MAX_TEXT:
        raise PayloadTooLargeError(f"a path or name of {len(text)} letters: at most {MAX_TEXT} travel")
    # A file name may hold bytes that are no text.
    return text if text.isascii() else text.encode("utf-8", "replace").decode()


def _contrast(value: Any) -> tuple[float, float]:
    try:
        low, high = value
        return float(low), float(high)
    except (TypeError, ValueError):
        raise PayloadError(f"contrast={value!r}: give (lowest, highest), or None to have it found") from None


def _regions(item: StreamItem) -> bytes:
    if item.array is not None or not isinstance(item.rois, list):
        raise UnsupportedArrayError("an item of kind 'rois' has a list of regions and no array")
    try:
        data = encode(item.rois)
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        raise PayloadError(f"regions cannot be written as a message: {error}; use rois_to_wire") from error
    if len(data) > MAX_REGION_BYTES:
        raise PayloadTooLargeError(
            f"{len(item.rois)} regions are {len(data)} bytes, the limit is {MAX_REGION_BYTES}: "
            "send them in several lists"
        )
    return data


_lock = threading.Lock()
_senders: dict[tuple[int, str], ImageSender] = {}


def sender_for(endpoint: Endpoint, **options: Any) -> ImageSender:
    """Return this process's one sender to `endpoint`, made with `options` when there is none yet.

    All steps and every FileManager of a process share it: one arena, one window, one order.
    """
    address = (os.getpid(), endpoint.data_url)
    with _lock:
        found = _senders.get(address)
        if found is None or found.state == "closed":
            for old in [each for each in _senders if each[0] != address[0]]:
                del _senders[old]  # inherited through a fork: the parent's, not ours to close
            found = _senders[address] = ImageSender(endpoint, **options)
        return found


def existing_sender(endpoint: Endpoint) -> ImageSender | None:
    """Return this process's sender to `endpoint`, or None when nothing was sent there yet."""
    with _lock:
        return _senders.get((os.getpid(), endpoint.data_url))


def close_senders(timeout: float = EXIT_FLUSH_SECONDS) -> None:
    """Close every sender of this process, giving images on their way `timeout` seconds."""
    with _lock:
        mine = [sender for (pid, _), sender in _senders.items() if pid == os.getpid()]
        _senders.clear()
    for sender in mine:
        stream = sender.stream
        stats = stream.stats
        wait = 0.0
        if stream.starting and stats.queued:
            logger.info("waiting for the viewer at %s: %d images are for it", stream.endpoint, stats.queued)
            wait = max(timeout, EXIT_START_SECONDS)
        elif stream.state == "attached":
            wait = timeout
        sender.close(wait)


atexit.register(close_senders)
