"""The same work in other people's software, as its own documentation says to do it. Each needs its own environment.

Nothing of this project is imported here but the harness: these classes run where only numpy and the peer are installed.
"""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.schemes import Image, Publisher, Receiver


def _describe(index: int, count: int) -> str:
    key = {"well": "A01", "field": index + 1, "channel": "DAPI", "z": 3, "t": 1}
    return json.dumps({"index": index, "count": count, "key": key})


def _free_port(folder: Path) -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = int(found.getsockname()[1])
    (folder / "port").write_text(str(port))
    return port


# --- zenoh: shared memory ---------------------------------------------------------------------------------


def _zenoh_session(folder: Path, role: str) -> Any:
    import zenoh

    config = zenoh.Config()
    config.insert_json5("mode", '"peer"')
    config.insert_json5("scouting/multicast/enabled", "false")
    config.insert_json5("transport/shared_memory/enabled", "true")
    config.insert_json5("listen/endpoints", "[]")
    config.insert_json5(f"{role}/endpoints", json.dumps([f"unixsock-stream/{folder}/zenoh"]))
    return zenoh.open(config)


class ZenohPublisher(Publisher):
    """Allocates in the provider's shared memory, copies, puts."""

    def open(self) -> None:
        """Connect and wait until the subscriber is known."""
        import zenoh

        self.session = _zenoh_session(self.folder, "connect")
        self.publisher = self.session.declare_publisher(
            "bench", congestion_control=zenoh.CongestionControl.BLOCK
        )
        size = max(64 << 20, self.case.nbytes * (2 * self.case.batch + 12))
        self.provider = zenoh.shm.ShmProvider.default_backend(size)
        self.policy = zenoh.shm.BlockOn(zenoh.shm.GarbageCollect())
        deadline = time.monotonic() + 10
        while not self.publisher.matching_status.matching and time.monotonic() < deadline:
            time.sleep(0.01)

    def send(self, images: Sequence[Image]) -> None:
        """One put per image."""
        for index, image in enumerate(images):
            buffer = self.provider.alloc(self.case.nbytes, policy=self.policy)
            buffer[:] = image.tobytes()  # its buffers take bytes only
            self.publisher.put(buffer, attachment=_describe(index, len(images)))

    def close(self) -> None:
        """Close."""
        self.session.close()


class ZenohReceiver(Receiver):
    """Takes samples from a channel on its own thread."""

    def open(self) -> None:
        """Listen."""
        import zenoh

        self.session = _zenoh_session(self.folder, "listen")
        self.subscriber = self.session.declare_subscriber("bench", zenoh.handlers.FifoChannel(512))

    def serve(self) -> None:
        """Use each image; Python gets its bytes as a copy."""
        shape = (self.case.size, self.case.size)
        taken = []
        while not self.arrivals.complete.is_set():
            sample = self.subscriber.recv()
            head = json.loads(sample.attachment.to_bytes())
            taken.append(np.frombuffer(sample.payload.to_bytes(), np.uint16).reshape(shape))
            if head["index"] < head["count"] - 1:
                continue
            when = time.perf_counter_ns()
            for image in taken:
                self.arrivals.mark(image)
            taken.clear()
            self.arrivals.done(when)

    def close(self) -> None:
        """Close."""
        self.session.close()


# --- imagezmq: request and reply ---------------------------------------------------------------------------


class ImagezmqPublisher(Publisher):
    """``send_image``; waits for the hub's reply each time."""

    def open(self) -> None:
        """Connect."""
        import imagezmq

        self.sender = imagezmq.ImageSender(connect_to=f"ipc://{self.folder}/imagezmq")

    def send(self, images: Sequence[Image]) -> None:
        """One request per image."""
        for index, image in enumerate(images):
            self.sender.send_image(_describe(index, len(images)), image)

    def close(self) -> None:
        """Close."""
        self.sender.close()


class ImagezmqReceiver(Receiver):
    """``recv_image``, ``send_reply``."""

    def open(self) -> None:
        """Listen."""
        import imagezmq

        self.hub = imagezmq.ImageHub(open_port=f"ipc://{self.folder}/imagezmq")

    def serve(self) -> None:
        """Use each image."""
        while not self.arrivals.complete.is_set():
            text, image = self.hub.recv_image()
            when = time.perf_counter_ns()
            self.arrivals.mark(image)
            self.hub.send_reply(b"OK")
            head = json.loads(text)
            if head["index"] == head["count"] - 1:
                self.arrivals.done(when)

    def close(self) -> None:
        """Close."""
        self.hub.close()


# --- ray: object store and an actor ------------------------------------------------------------------------


class _Taker:
    """The actor's body."""

    def __init__(self) -> None:
        _on_processor(1)

    def take(self, *images: Image) -> tuple[int, int]:
        """Return when the images were there, and a pixel."""
        return time.perf_counter_ns(), int(images[-1][-1, -1])


def _on_processor(number: int | None) -> None:
    """Move this process to one processor, or (None) to any."""
    if hasattr(os, "sched_setaffinity"):
        every = set(range(os.cpu_count() or 1))
        os.sched_setaffinity(0, every if number is None or len(every) < 2 else {number})


class RayPublisher(Publisher):
    """``ray.put`` each image, hand the references to an actor."""

    has_receiver = False

    def open(self) -> None:
        """Start ray here, and the actor on the other processor."""
        import ray

        self.ray = ray
        _on_processor(None)  # what ray starts inherits it
        ray.init(
            num_cpus=2,
            include_dashboard=False,
            log_to_driver=False,
            logging_level="ERROR",
            object_store_memory=1 << 30,
            _temp_dir=str(self.folder),
        )
        self.actor = ray.remote(_Taker).remote()
        ray.get(self.actor.take.remote(np.zeros((1, 1), np.uint16)))
        _on_processor(0)
        self.sent = 0

    def send(self, images: Sequence[Image]) -> None:
        """Put and call."""
        self.pending = self.actor.take.remote(*[self.ray.put(image) for image in images])
        self.sent += len(images)

    def arrival(self) -> int:
        """Ask the actor when."""
        when, pixel = self.ray.get(self.pending)
        if pixel != 1 + (self.sent - 1) % self.case.sources:
            raise RuntimeError("a wrong image arrived")
        return int(when)

    def close(self) -> None:
        """End ray."""
        self.ray.shutdown()


# --- rerun: log to its server ------------------------------------------------------------------------------


class RerunPublisher(Publisher):
    """``rr.log`` of tensors' images; nothing says when one is shown, so an arrival is a flush that is through."""

    def open(self) -> None:
        """Connect."""
        import rerun

        self.rerun = rerun
        self.recording = rerun.RecordingStream("bench")
        port = (self.folder / "port").read_text()
        self.recording.connect_grpc(f"rerun+http://127.0.0.1:{port}/proxy")

    def send(self, images: Sequence[Image]) -> None:
        """Log each image under its field."""
        for index, image in enumerate(images):
            self.recording.log(f"A01/{index + 1}/DAPI", self.rerun.Image(image))

    def arrival(self) -> int:
        """Flush."""
        self.recording.flush(timeout_sec=20.0)
        return time.perf_counter_ns()

    def close(self) -> None:
        """Disconnect."""
        self.recording.disconnect()


class RerunReceiver(Receiver):
    """Rerun's own server; what arrives is not seen from Python."""

    def open(self) -> None:
        """Serve."""
        import rerun

        self.recording = rerun.RecordingStream("bench")
        self.recording.serve_grpc(grpc_port=_free_port(self.folder), server_memory_limit="512MiB")

    def serve(self) -> None:
        """Nothing to do: its own threads serve until the publisher is through."""

    def close(self) -> None:
        """Disconnect."""
        self.recording.disconnect()
