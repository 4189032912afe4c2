"""Group ``protocol``: what a message costs beside its pixels, and what importing the packages costs.

``protocol.100.encode_decode_over_json`` compares what stands on the wire for 100 images: ours (as many messages as
the sender makes of them, every field typed and checked on arrival) with the one JSON object of the original scheme,
written and read by the standard library. From message objects to bytes and back to message objects, in both.
``protocol.100.whole_over_json`` is all of it: messages made of arrays and keys, and on our side (the JSON side ends
at dictionaries of text) image keys made of the messages again.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import msgspec
import numpy as np

from benchmarks.rows import BenchmarkError, Options, Row, median_row
from polystore.components import ImageKey
from polystore.streaming import BatchContext
from polystore.streaming.encoder import MAX_BATCH
from polystore.streaming.messages import (
    IN_ARENA,
    ImageBatch,
    ImageHeader,
    decode_batch,
    decode_context,
    encode,
    key_of,
)
from zmqruntime.messages import Items, decode_sender, encode_data

IMAGES = 100
ROUNDS = 9
REPEATS = 100
IMPORTS = {
    "numpy": "import numpy",
    "zmqruntime": "import zmqruntime",
    "polystore": "import polystore",
    # Names are imported when they are first used, so this is what a pipeline's first image costs:
    "sender": "from polystore import ImageSender",
}
"""What is imported, by the name of its row."""

IMPORT_ROUNDS = 15

GOALS = {
    "protocol.100.encode_decode_over_json": "<= 0.25",
    "protocol.import.polystore_over_numpy": "<= 2.0",
    "protocol.import.zmqruntime_over_numpy": "<= 2.0",
}

CONTEXT = BatchContext(run="0f8e2d6c", step_index=2, step_name="background_subtraction", producer="worker 1")


def run(options: Options) -> list[Row]:
    """Measure both."""
    rows = _messages(1 if options.quick else ROUNDS, 10 if options.quick else REPEATS)
    return rows + _imports(2 if options.quick else IMPORT_ROUNDS)


# --- messages ---------------------------------------------------------------------------------------------


def make_keys() -> list[ImageKey]:
    """Return where 100 images of a plate belong: 20 fields of 5 planes."""
    return [ImageKey(well="A01", field=1 + i // 5, channel="DAPI", z=1 + i % 5, t=1) for i in range(IMAGES)]


def path_of(key: ImageKey) -> str:
    """Return the path a pipeline gives such an image."""
    return f"/plate/out/A01_s{key.field:03d}_w1_z{key.z:03d}_t001.tif"


def build_ours(
    arrays: list[np.ndarray[Any, Any]], keys: list[ImageKey], paths: list[str]
) -> list[ImageBatch]:
    """Return the message objects, as `polystore.streaming.encoder` fills them."""
    batches = []
    for start in range(0, len(arrays), MAX_BATCH):
        headers = []
        for i in range(start, min(start + MAX_BATCH, len(arrays))):
            array, key = arrays[i], keys[i]
            place = (key.plate, key.acquisition, key.well, key.field, key.channel, key.z, key.t)
            headers.append(
                ImageHeader(
                    IN_ARENA,
                    i * 2_101_248,
                    7,
                    array.nbytes,
                    array.shape,
                    array.dtype.str,
                    0,
                    place,
                    (96.0, 4031.0),
                    paths[i],
                    "",
                    None,
                )
            )
        batches.append(ImageBatch(msgspec.Raw(CONTEXT.wire()), headers))
    return batches


def encode_ours(batches: list[ImageBatch]) -> list[bytes]:
    """Return the bytes of the messages."""
    seq, messages = 0, []
    for batch in batches:
        messages.append(encode_data(Items(seq, len(batch.images), msgspec.Raw(encode(batch)))))
        seq += len(batch.images)
    return messages


def decode_ours(messages: list[bytes]) -> list[tuple[BatchContext, ImageBatch]]:
    """Return the contexts and typed headers in them."""
    batches = []
    for data in messages:
        batch = decode_batch(decode_sender(data).body)  # type: ignore[union-attr]
        batches.append((decode_context(batch.context), batch))
    return batches


def keys_in(batches: list[tuple[BatchContext, ImageBatch]]) -> list[ImageKey]:
    """Return where the images belong, as the receiver asks it."""
    return [key_of(header.key) for _, batch in batches for header in batch.images]


def build_json(arrays: list[np.ndarray[Any, Any]], keys: list[ImageKey], paths: list[str]) -> dict[str, Any]:
    """Return the original scheme's message for the same images."""
    modes = dict.fromkeys(("well", "site", "channel", "z_index", "timepoint"), "stack")
    return {
        "images": [
            {
                "shm_name": f"psm_{i:08x}",
                "shape": array.shape,
                "dtype": str(array.dtype),
                "path": path,
                "component_metadata": {
                    "well": key.well,
                    "site": f"s{key.field:03d}",
                    "channel": key.channel,
                    "z_index": f"z{key.z:03d}",
                    "timepoint": f"t{key.t:03d}",
                },
            }
            for i, (array, key, path) in enumerate(zip(arrays, keys, paths, strict=True))
        ],
        "display_config": {"colormap": "gray", "component_modes": modes},
        "step_index": CONTEXT.step_index,
        "step_name": CONTEXT.step_name,
    }


def encode_json(message: dict[str, Any]) -> bytes:
    """Return its bytes."""
    return json.dumps(message).encode()


def _timed(function: Callable[[], object], times: list[int]) -> None:
    begin = time.perf_counter_ns()
    function()
    times.append(time.perf_counter_ns() - begin)


def _messages(rounds: int, repeats: int) -> list[Row]:
    arrays = [np.zeros((1024, 1024), np.uint16) for _ in range(IMAGES)]
    keys = make_keys()
    paths = [path_of(key) for key in keys]
    ours, original = build_ours(arrays, keys, paths), build_json(arrays, keys, paths)
    decoded = decode_ours(encode_ours(ours))
    if keys_in(decoded) != keys or decoded[0][0] != CONTEXT:
        raise BenchmarkError("what was decoded is not what was encoded")
    jobs: dict[str, Callable[[], object]] = {
        "ours": lambda: decode_ours(encode_ours(ours)),
        "json": lambda: json.loads(encode_json(original)),
        "whole_ours": lambda: keys_in(decode_ours(encode_ours(build_ours(arrays, keys, paths)))),
        "whole_json": lambda: json.loads(encode_json(build_json(arrays, keys, paths))),
    }
    medians: dict[str, list[float]] = {name: [] for name in jobs}
    for number in range(rounds):
        times: dict[str, list[int]] = {name: [] for name in jobs}
        for _ in range(repeats):
            for name, job in jobs.items():
                _timed(job, times[name])
        for name, values in times.items():
            medians[name].append(statistics.median(values) / 1e3)
        print(
            f"protocol: round {number + 1}/{rounds}; 100 images: {medians['ours'][-1]:.0f} us, "
            f"json {medians['json'][-1]:.0f} us",
            flush=True,
        )
    ratio = [a / b for a, b in zip(medians["ours"], medians["json"], strict=True)]
    whole = [a / b for a, b in zip(medians["whole_ours"], medians["whole_json"], strict=True)]
    return [
        median_row("protocol.100.encode_decode_over_json", "x", ratio, GOALS),
        median_row("protocol.100.whole_over_json", "x", whole, GOALS),
        median_row("protocol.100.encode_decode", "us", medians["ours"]),
        median_row("protocol.100.json", "us", medians["json"]),
        median_row(
            "protocol.100.bytes_over_json",
            "x",
            [sum(map(len, encode_ours(ours))) / len(encode_json(original))],
        ),
    ]


# --- imports ----------------------------------------------------------------------------------------------

_IMPORT = """
import time
begin = time.perf_counter_ns()
{statement}
print(time.perf_counter_ns() - begin)
"""


def _import_ms(statement: str) -> float:
    # Timed inside the process: starting the interpreter is the same for all and would flatter the ratio.
    code = _IMPORT.format(statement=statement)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    if done.returncode:
        raise BenchmarkError(f"{statement!r} failed:\n{done.stderr[-1000:]}")
    return int(done.stdout) / 1e6


def _imports(rounds: int) -> list[Row]:
    times: dict[str, list[float]] = {name: [] for name in IMPORTS}
    for statement in IMPORTS.values():
        _import_ms(statement)  # from here on its files are in the page cache
    for number in range(rounds):
        for name in IMPORTS if number % 2 == 0 else reversed(IMPORTS):
            times[name].append(_import_ms(IMPORTS[name]))
    told = ", ".join(f"{name} {statistics.median(values):.0f} ms" for name, values in times.items())
    print(f"protocol: imports, {rounds} rounds: {told}", flush=True)
    rows = [median_row(f"protocol.import.{name}", "ms", values) for name, values in times.items()]
    for name in list(IMPORTS)[1:]:
        ratios = [a / b for a, b in zip(times[name], times["numpy"], strict=True)]
        rows.append(median_row(f"protocol.import.{name}_over_numpy", "x", ratios, GOALS))
    return rows
