"""A sender written from ``docs/protocol.md`` alone: ZeroMQ, the standard library, and msgpack written by hand.

``second_language.py DATA_URL CONTROL_URL SHM_DIR``; says as JSON what came back. Nothing of this project is imported.
"""

from __future__ import annotations

import json
import mmap
import os
import struct
import sys
from typing import Any

import zmq

# --------------------------------------------------------------------------- msgpack, as much as is needed


def pack(value: Any) -> bytes:
    """Return `value` in msgpack."""
    if value is None:
        return b"\xc0"
    if isinstance(value, bool):
        return b"\xc3" if value else b"\xc2"
    if isinstance(value, int):
        if 0 <= value < 128:
            return bytes([value])
        return b"\xcf" + struct.pack(">Q", value) if value > 0 else b"\xd3" + struct.pack(">q", value)
    if isinstance(value, float):
        return b"\xcb" + struct.pack(">d", value)
    if isinstance(value, str):
        data = value.encode()
        return b"\xdb" + struct.pack(">I", len(data)) + data
    if isinstance(value, bytes):
        return b"\xc6" + struct.pack(">I", len(value)) + value
    if isinstance(value, dict):
        return b"\xdf" + struct.pack(">I", len(value)) + b"".join(pack(k) + pack(v) for k, v in value.items())
    return b"\xdd" + struct.pack(">I", len(value)) + b"".join(pack(each) for each in value)


NUMBERS = {
    0xCA: ">f", 0xCB: ">d", 0xCC: ">B", 0xCD: ">H", 0xCE: ">I",
    0xCF: ">Q", 0xD0: ">b", 0xD1: ">h", 0xD2: ">i", 0xD3: ">q",
}  # fmt: skip
SIZES = {0xC4: 1, 0xC5: 2, 0xC6: 4, 0xD9: 1, 0xDA: 2, 0xDB: 4, 0xDC: 2, 0xDD: 4, 0xDE: 2, 0xDF: 4}


def unpack(data: bytes, at: int = 0) -> tuple[Any, int]:
    """Return the value at `at` and where the next one begins."""
    tag = data[at]
    at += 1
    if tag < 0x80:
        return tag, at
    if tag >= 0xE0:
        return tag - 256, at
    if tag in (0xC0, 0xC2, 0xC3):
        return {0xC0: None, 0xC2: False, 0xC3: True}[tag], at
    if tag in NUMBERS:
        size = struct.calcsize(NUMBERS[tag])
        return struct.unpack(NUMBERS[tag], data[at : at + size])[0], at + size
    if tag in SIZES:
        width = SIZES[tag]
        size, at = int.from_bytes(data[at : at + width], "big"), at + width
    else:
        size = tag & (0x1F if 0xA0 <= tag < 0xC0 else 0x0F)
    if 0xA0 <= tag < 0xC0 or 0xD9 <= tag <= 0xDB:
        return data[at : at + size].decode(), at + size
    if 0xC4 <= tag <= 0xC6:
        return data[at : at + size], at + size
    values = []
    is_map = tag < 0x90 or tag >= 0xDE
    for _ in range(2 * size if is_map else size):
        value, at = unpack(data, at)
        values.append(value)
    return (dict(zip(values[::2], values[1::2], strict=True)) if is_map else values), at


# --------------------------------------------------------------------------- the protocol, from the page

HELLO, ITEMS, ARE_YOU_THERE, NOTE, BYE = 1, 2, 3, 4, 5
WELCOME, RETURNS, I_AM_HERE, NOTE_REPLY, REFUSED, FAILED = 17, 18, 19, 20, 21, 22
DISPLAYED, CREDIT = 1, 16
CONTEXT = ["run of another language", 1, "sent_by_hand", "", {}]


def key(t: int) -> list[Any]:
    """Return a key: plate, acquisition, well, field, channel, z, t."""
    return [None, None, "A01", 1, None, None, t]


def main() -> None:
    data_url, control_url, memory = sys.argv[1:4]
    context = zmq.Context()

    control = context.socket(zmq.REQ)
    control.connect(control_url)
    control.send(b'{"type":"ping","protocol":1}')
    assert control.poll(20_000), "no pong"
    pong = json.loads(control.recv())

    sock = context.socket(zmq.DEALER)
    sock.connect(data_url)

    def say(*message: Any, frames: tuple[bytes, ...] = ()) -> None:
        sock.send_multipart([pack(list(message)), *frames])

    def hear() -> list[Any]:
        assert sock.poll(20_000), "no answer"
        message, _ = unpack(sock.recv())
        assert isinstance(message, list)
        return message

    with open("/proc/self/stat") as file:
        start_time = int(file.read().rpartition(")")[2].split()[19])
    with open("/proc/sys/kernel/random/boot_id") as file:
        host = file.read().strip()
    session = os.urandom(8).hex()
    say(
        HELLO,
        1,
        1,
        session,
        os.getpid(),
        start_time,
        host,
        "second language",
        {"package": "by hand", "codecs": ["none"]},
    )
    welcome = hear()
    number, protocol, session_back, window_items = welcome[:4]
    assert (number, protocol, session_back) == (WELCOME, 1, session), welcome
    body = welcome[9]

    # An arena of two pages, offered in a note: the receiver maps it and removes its name.
    size, nonce = 8192, os.urandom(16)
    name = f"polystore-{os.getpid()}-{start_time}-1"
    path = os.path.join(memory, name)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
    os.posix_fallocate(descriptor, 0, size)
    arena = mmap.mmap(descriptor, size)
    os.close(descriptor)
    arena[:16] = nonce
    say(NOTE, 1, {"name": name, "size": size, "nonce": nonce})
    number, note, reply = hear()
    assert (number, note) == (NOTE_REPLY, 1)
    name_is_gone = not os.path.exists(path)

    # Item 0: six bytes of 5 in a frame. Item 1: 1,000 samples of 300 (uint16, little endian) in the slot at 0.
    inline = [2, 0, 0, 6, [2, 3], "|u1", 0, key(5), None, "", "", "none"]
    say(ITEMS, 0, 1, [CONTEXT, [inline]], frames=(bytes([5] * 6),))
    generation = 1
    arena[2048 - 64 : 2048 - 48] = struct.pack("<IIQ", 0x706F6C79, generation, 2000)
    arena[2048:4048] = struct.pack("<H", 300) * 1000
    in_slot = [0, 0, generation, 2000, [20, 50], "<u2", 0, key(300), [0.0, 500.0], "/by/hand.tif", "", None]
    say(ITEMS, 1, 1, [CONTEXT, [in_slot]])
    # Item 2 cannot be: its shape has more bytes than it says.
    say(
        ITEMS,
        2,
        1,
        [CONTEXT, [[2, 0, 0, 7, [2, 3], "|u1", 0, key(6), None, "", "", "none"]]],
        frames=(bytes(7),),
    )

    outcomes: dict[int, int] = {}
    credits: set[int] = set()
    failed = {}
    while len(outcomes) < 3 or len(credits) < 3:
        message = hear()
        if message[0] == RETURNS:
            for seq, code in zip(message[1][::2], message[1][1::2], strict=True):
                if code & CREDIT:
                    credits.add(seq)
                if code & 15:
                    outcomes[seq] = code & 15
        elif message[0] == FAILED:
            failed[message[1]] = message[2]

    say(ARE_YOU_THERE, 41)
    alive = hear()
    say(BYE, session, 3)
    sock.close(1000)
    control.close(0)
    foreign = sorted(
        name
        for name in sys.modules
        if name.partition(".")[0] in ("zmqruntime", "polystore", "msgspec", "numpy")
    )
    print(
        json.dumps(
            {
                "pong": pong,
                "welcome": body,
                "window": window_items,
                "mapped": reply["mapped"],
                "name_is_gone": name_is_gone,
                "outcomes": outcomes,
                "credits": sorted(credits),
                "failed": failed,
                "alive": alive,
                "imported": foreign,
            }
        )
    )


if __name__ == "__main__":
    main()
