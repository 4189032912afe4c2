"""A receiver that talks nonsense: its senders count on, raise nothing that is not theirs, and find a better one."""

from __future__ import annotations

import random
import threading
import tomllib
from pathlib import Path
from typing import Any

import msgspec
import zmq

from zmqruntime.config import Timeouts
from zmqruntime.errors import ProtocolError, SendTimeout
from zmqruntime.messages import CREDIT, Hello, Items, Returns, Welcome, decode_sender, encode_data
from zmqruntime.sockets import make_socket

GOLDEN = [
    bytes.fromhex(data)
    for data in tomllib.loads(Path(__file__).with_name("golden.toml").read_text())["data"].values()
]
NIL = msgspec.Raw(b"\xc0")
NUMBERS = [0, 1, -1, 3, 16, 17, 255, 2**31, 2**53, 2**63, 2**64 - 1, -(2**63)]


class Liar(threading.Thread):
    """A ROUTER that welcomes with odd windows and answers items with credits, lies and noise."""

    def __init__(self, url: str, seed: int) -> None:
        super().__init__(daemon=True)
        self.dice = random.Random(seed)
        self.sock = make_socket(zmq.ROUTER)
        self.sock.bind(url)
        self.ended = threading.Event()
        self.said = 0

    def noise(self) -> bytes:
        dice = self.dice
        way = dice.randrange(5)
        if way == 0:
            return dice.randbytes(dice.randrange(60))
        if way == 1:
            return encode_data(Returns([dice.choice(NUMBERS) for _ in range(dice.randrange(9))]))
        sample = bytearray(dice.choice(GOLDEN))
        if way == 2:
            return bytes(sample[: dice.randrange(len(sample))])
        for _ in range(way - 2):
            sample[dice.randrange(len(sample))] ^= 1 << dice.randrange(8)
        return bytes(sample)

    def run(self) -> None:
        dice = self.dice
        while not self.ended.is_set():
            if not self.sock.poll(50):
                continue
            identity, header, *_ = self.sock.recv_multipart()
            try:
                message = decode_sender(header)
            except ProtocolError:
                continue
            answers = []
            if isinstance(message, Hello):
                window = (dice.choice([8, 8, 8, *NUMBERS]), dice.choice([1000, *NUMBERS]))
                link = dice.choice(["", "", "/nowhere", "\0", "x" * 300])
                answers.append(
                    encode_data(
                        Welcome(
                            1,
                            message.session,
                            *window,
                            dice.choice(NUMBERS),
                            dice.choice(NUMBERS),
                            message.host,
                            link,
                            NIL,
                        )
                    )
                )
            elif isinstance(message, Items):
                pairs = []
                for seq in range(message.seq, message.seq + message.count):
                    pairs += [seq, dice.choice([1, 2, 3, 7]) | CREDIT]
                answers += [encode_data(Returns(pairs)), *(self.noise() for _ in range(3))]
                dice.shuffle(answers)
            for answer in answers:
                self.said += 1
                self.sock.send_multipart([identity, answer, *([b"more"] if dice.random() < 0.05 else [])])

    def close(self) -> None:
        self.ended.set()
        self.join(10)
        self.sock.close(0)


def test_a_sender_survives_a_receiver_that_lies(rig: Any, until: Any) -> None:
    for seed in range(2):
        liar = Liar(rig.endpoint.data_url, seed)
        liar.start()
        encoder = rig.texts(batch=4)
        sender = rig.sender(
            encoder,
            attach=False,
            policy="block",
            deadline=0.5,
            timeouts=Timeouts(ping_interval=0.1, silence=0.5, gone=1),
        )
        try:
            for i in range(150):
                try:
                    sender.send([b"%d" % i, b"F%d" % i])
                except (SendTimeout, ProtocolError):
                    pass  # typed, and counted
                assert sender.stats.balanced
        finally:
            liar.close()
        assert liar.said > 20
        # A better one comes.
        until(lambda sender=sender: sender.state == "connecting", 10)
        server = rig.server()
        assert sender.wait_attached(15)
        sender.send([b"at last"])
        assert sender.flush(10)
        assert server.got[-1] == b"at last"
        stats = sender.stats
        assert stats.balanced
        assert stats.in_flight == stats.queued == 0
        sender.close()
        server.stop()
