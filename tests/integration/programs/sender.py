"""A pipeline without a pipeline: sends images filled with their own number, then says what became of them.

``sender.py PORT POLICY [BATCHES]`` goes on until its input ends; after BATCHES batches it sends no more.
"""

from __future__ import annotations

import dataclasses
import json
import logging
import sys
import threading

import numpy as np

from polystore.components import ImageKey
from polystore.streaming.messages import StreamItem
from polystore.streaming.sender import ImageSender
from zmqruntime.config import Endpoint
from zmqruntime.errors import SendTimeout

SHAPES = ((8, 9), (256, 300), (500, 513))
LARGE = (1100, 1000)  # more than the arena of 2 MB: a segment of its own


def batch(sender: ImageSender, number: int, large: bool) -> list[StreamItem]:
    """Images for a slot, a frame, a segment and the header, and one born in a slot."""
    items = []
    for shape in (*SHAPES, LARGE) if large else SHAPES:
        number += 1
        items.append(StreamItem(np.full(shape, number % 60000, "<u2"), ImageKey(t=number)))
    born = sender.empty((300, 300), "<u2")
    number += 1
    born[:] = number % 60000
    items.append(StreamItem(born, ImageKey(t=number)))
    number += 1
    items.append(StreamItem(key=ImageKey(t=number), kind="rois", rois=[number % 60000]))
    return items


def main() -> None:
    logging.basicConfig(level=logging.INFO)
    port, policy = int(sys.argv[1]), sys.argv[2]
    batches = int(sys.argv[3]) if len(sys.argv) > 3 else -1
    sender = ImageSender(
        Endpoint(data_port=port),
        policy=policy,
        deadline=120.0 if policy == "block" else 1.0,
        arena_bytes=2 << 20,
    )
    stop = threading.Event()
    threading.Thread(target=lambda: (sys.stdin.read(), stop.set()), daemon=True).start()
    given = number = unbalanced = timeouts = 0
    while not stop.is_set() and batches != 0:
        batches -= 1
        items = batch(sender, number, large=batches % 4 == 0)
        number += len(items)
        given += len(items)
        try:
            sender.send(items)
        except SendTimeout:
            timeouts += 1
        del items
        if policy != "block":
            stop.wait(0.001)  # drop and latest never wait: leave the processors something
        unbalanced += not sender.stats.balanced
        if batches == 0:
            print("sent", flush=True)
    stop.wait()
    flushed = sender.flush(20)
    stats = sender.stats
    print(
        json.dumps(
            {
                "given": given,
                "flushed": flushed,
                "unbalanced": unbalanced,
                "timeouts": timeouts,
                "balanced": stats.balanced,
                "attachments": sender.stream.attachments,
                **dataclasses.asdict(stats),
            }
        ),
        flush=True,
    )
    sender.close()


if __name__ == "__main__":
    main()
