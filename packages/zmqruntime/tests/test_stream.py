"""The life of a stream: attaching, losing a receiver, finding the next one, and saying no to strangers."""

from __future__ import annotations

import gc
import logging
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
import zmq

from zmqruntime.config import Endpoint, Timeouts
from zmqruntime.discovery import free_endpoint
from zmqruntime.errors import ProtocolError, StreamClosedError, VersionMismatchError
from zmqruntime.messages import (
    CREDIT,
    DISPLAYED,
    OLDEST_PROTOCOL,
    PROTOCOL_VERSION,
    REFUSED,
    AreYouThere,
    Bye,
    Failed,
    Hello,
    IAmHere,
    Items,
    Note,
    NoteReply,
    Refused,
    Returns,
    Welcome,
    decode_receiver,
    encode_data,
)
from zmqruntime.sockets import connect, make_socket
from zmqruntime.stream import StreamStats

NIL = msgspec.Raw(b"\xc0")
QUICK = Timeouts(ping_interval=0.1, silence=0.4, gone=1.5)


class RawSender:
    """A sender's end of the data channel, with nothing of the protocol built in."""

    def __init__(self, endpoint: Endpoint) -> None:
        self.sock = make_socket(zmq.DEALER)
        connect(self.sock, endpoint.data_url)

    def say(self, message: Any, *frames: bytes) -> None:
        data = message if isinstance(message, bytes) else encode_data(message)
        self.sock.send_multipart([data, *frames])

    def hear(self, timeout: float = 10) -> Any:
        assert self.sock.poll(timeout * 1000), "no answer"
        return decode_receiver(self.sock.recv())

    def hello(
        self,
        session: str = "s",
        protocol: int = PROTOCOL_VERSION,
        oldest: int = OLDEST_PROTOCOL,
        pid: int = 0,
    ) -> Any:
        self.say(Hello(protocol, oldest, session, pid, 0, "elsewhere", "raw", NIL))
        return self.hear()

    def items(self, seq: int, *texts: bytes) -> None:
        self.say(Items(seq, len(texts), msgspec.Raw(msgspec.msgpack.encode(texts))))


@pytest.fixture
def raw(endpoint: Endpoint) -> Iterator[Any]:
    made: list[RawSender] = []

    def make() -> RawSender:
        made.append(RawSender(endpoint))
        return made[-1]

    yield make
    for each in made:
        each.sock.close(0)


# --------------------------------------------------------------------------- attaching


@pytest.mark.parametrize("transport", ["ipc", "tcp"])
def test_items_arrive_whole_and_in_order(rig: Any, transport: str) -> None:
    if transport == "tcp":
        rig.endpoint = free_endpoint(20000, "tcp")
    server = rig.server()
    sender = rig.sender(policy="block", deadline=10)
    items = [b"%d" % i if i % 3 else b"Frame %d" % i + bytes(i) for i in range(300)]
    sender.send(items[:150])
    sender.send(items[150:])
    assert sender.flush(10)
    assert server.got == items
    assert sender.state == "attached"
    assert sender.stats == StreamStats(sent=300, displayed=300)


def test_a_receiver_that_comes_later_is_found(rig: Any) -> None:
    sender = rig.sender(attach=False, policy="block", deadline=20)
    assert not sender.wait_attached(0.05)
    assert sender.state == "connecting"
    sent = threading.Thread(target=sender.send, args=([b"x"],))
    sent.start()
    server = rig.server()
    sent.join(10)
    assert not sent.is_alive()
    assert sender.flush(5)
    assert server.got == [b"x"]
    assert sender.attachments == 1


def test_many_senders_share_one_receiver(rig: Any) -> None:
    server = rig.server(window_items=8)
    senders = [rig.sender(policy="block", deadline=20, name=f"worker {i}") for i in range(6)]
    threads = [
        threading.Thread(target=sender.send, args=([b"%d-%d" % (i, j) for j in range(100)],))
        for i, sender in enumerate(senders)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert all(sender.flush(10) for sender in senders)
    assert len(server.got) == 600
    for i in range(6):
        assert [item for item in server.got if item.startswith(b"%d-" % i)] == [
            b"%d-%d" % (i, j) for j in range(100)
        ]
    assert sorted(peer.name for peer in server.peers) == [f"worker {i}" for i in range(6)]


def test_a_sender_that_says_goodbye_is_forgotten_at_once(rig: Any, until: Any) -> None:
    server = rig.server()
    sender = rig.sender()
    assert len(server.peers) == 1
    sender.close()
    until(lambda: len(server.gone) == 1)
    assert not server.peers


# --------------------------------------------------------------------------- losing the receiver


def test_a_new_receiver_on_the_same_endpoint_is_taken(rig: Any, until: Any) -> None:
    sender = rig.sender(attach=False, policy="block", deadline=20)
    for n in range(1, 5):
        server = rig.server()
        assert sender.send([b"%d" % n]) == (1, 0)
        assert sender.flush(10)
        assert server.got == [b"%d" % n]
        assert sender.attachments == n
        server.stop()
        until(lambda: sender.state == "connecting")
    assert sender.stats == StreamStats(sent=4, displayed=4)


@pytest.mark.parametrize("transport", ["ipc", "tcp"])
def test_what_was_on_its_way_to_a_receiver_that_ended_is_counted_lost(
    rig: Any, until: Any, transport: str
) -> None:
    if transport == "tcp":
        rig.endpoint = free_endpoint(20000, "tcp")
    first = rig.server(opened=False)
    encoder = rig.texts()
    sender = rig.sender(encoder, policy="block", deadline=20)
    sender.send([b"%d" % i for i in range(10)])
    until(lambda: len(first.held) == 10)
    first.give(4)
    until(lambda: sender.stats.displayed == 4)
    first.stop()
    until(lambda: sender.stats.lost_in_flight == 6)
    second = rig.server()
    sender.send([b"after"])
    assert sender.flush(10)
    assert second.got == [b"after"]
    assert sender.stats == StreamStats(sent=11, displayed=5, lost_in_flight=6)
    assert encoder.out == 0


def test_waiting_items_go_to_the_next_receiver(rig: Any, until: Any) -> None:
    first = rig.server(opened=False, window_items=1)
    sender = rig.sender(policy="latest")
    sender.send([b"a:"])
    sender.send([b"b:", b"c:"])
    assert sender.stats.queued == 2
    first.stop()
    second = rig.server()
    assert sender.flush(10)
    assert second.got == [b"b:", b"c:"]
    assert sender.stats == StreamStats(sent=3, displayed=2, lost_in_flight=1)


def test_sending_through_a_connection_that_just_broke_raises_nothing(rig: Any) -> None:
    # Between the receiver's end and the moment the keeper notices, every send meets a dead connection.
    sender = rig.sender(attach=False, deadline=0)
    for _ in range(5):
        server = rig.server()
        assert sender.wait_attached(10)
        stopping = threading.Thread(target=server.stop)
        stopping.start()
        while stopping.is_alive():
            sender.send([b"x"] * 3)
        stopping.join()
        assert sender.stats.balanced
    stats = sender.stats
    assert stats.balanced
    assert stats.queued == 0


def test_a_receiver_that_forgot_the_session_is_greeted_anew(rig: Any, until: Any) -> None:
    server = rig.server()
    sender = rig.sender(policy="block", deadline=20)
    assert server._receiver is not None
    for identity in list(server._receiver._peers):
        server._receiver._peers.pop(identity)
    sender.send([b"lost, as nobody knows its sender"])
    until(lambda: sender.attachments == 2)
    sender.send([b"taken"])
    assert sender.flush(10)
    assert server.got[-1] == b"taken"
    assert sender.stats.balanced
    assert sender.stats.sent == 2


def test_a_silent_receiver_is_noticed_and_may_come_back(rig: Any, until: Any) -> None:
    server = rig.server(window_items=4)
    free = threading.Event()
    original = server.items

    def hang(*args: Any) -> None:
        free.wait(30)
        original(*args)

    server.items = hang
    sender = rig.sender(timeouts=QUICK, deadline=0)
    sender.send([b"0"])
    begin = time.monotonic()
    until(lambda: sender.state == "silent", 5)
    assert time.monotonic() - begin < 3
    for _ in range(10):
        sender.send([b"x"])
    assert sender.stats == StreamStats(sent=11, in_flight=4, dropped=7)
    free.set()
    until(lambda: sender.state == "attached")
    assert sender.flush(10)
    # Nothing was lost meanwhile: its process lives, so it is waited for.
    assert sender.stats == StreamStats(sent=11, displayed=4, dropped=7)
    assert sender.attachments == 1


def test_a_silent_receiver_elsewhere_counts_as_gone_after_a_while(
    endpoint: Endpoint, rig: Any, until: Any
) -> None:
    # A receiver on another machine, played by a bare socket: it says welcome once and then nothing.
    far = make_socket(zmq.ROUTER)
    far.bind(endpoint.data_url)
    try:
        sender = rig.sender(attach=False, timeouts=QUICK, deadline=0)
        assert far.poll(10_000)
        identity, data = far.recv_multipart()
        hello = msgspec.msgpack.decode(data)
        assert hello[:3] == [1, PROTOCOL_VERSION, OLDEST_PROTOCOL]
        far.send_multipart([identity, encode_data(Welcome(1, hello[3], 8, 1000, 1, 1, "elsewhere", "", NIL))])
        assert sender.wait_attached(10)
        sender.send([b"x", b"y"])
        until(lambda: sender.state == "silent")
        assert sender.stats.in_flight == 2
        until(lambda: sender.state == "connecting")
        assert sender.stats == StreamStats(sent=2, lost_in_flight=2)
    finally:
        far.close(0)


def test_a_note_that_is_never_answered_is_not_waited_for_forever(rig: Any, until: Any) -> None:
    class Notes(rig.texts):  # type: ignore[name-defined, misc]
        def attached(self, body: bytes, same_machine: bool) -> bytes:
            return b"\xc3"

    server = rig.server()

    def fail(*_: Any) -> bytes:
        raise MemoryError("no answer to this note")

    server.note = fail
    sender = rig.sender(Notes(), attach=False, timeouts=QUICK, policy="block", deadline=20)
    assert not sender.wait_attached(0.5)
    del server.note
    assert sender.send([b"x"]) == (1, 0)
    assert sender.flush(10)


# --------------------------------------------------------------------------- refusals


@pytest.mark.parametrize("protocol, oldest", [(0, 0), (99, 98)])
def test_versions_that_do_not_meet_are_refused_with_both_named(
    rig: Any, raw: Any, until: Any, protocol: int, oldest: int
) -> None:
    server = rig.server()
    answer = raw().hello(protocol=protocol, oldest=oldest)
    assert type(answer) is Refused
    assert answer.code == "version"
    assert (
        f"protocol {oldest} to {protocol}, this server {OLDEST_PROTOCOL} to {PROTOCOL_VERSION}"
        in answer.message
    )
    assert not server.peers


def test_a_newer_sender_that_still_speaks_our_version_is_taken(rig: Any, raw: Any) -> None:
    rig.server()
    answer = raw().hello(protocol=PROTOCOL_VERSION + 1)
    assert type(answer) is Welcome
    assert answer.protocol == PROTOCOL_VERSION


def test_a_sender_refused_for_its_version_raises_under_block_and_goes_on_asking(
    endpoint: Endpoint, rig: Any, until: Any, caplog: pytest.LogCaptureFixture
) -> None:
    old = make_socket(zmq.ROUTER)
    old.bind(endpoint.data_url)
    try:
        sender = rig.sender(attach=False, policy="block", deadline=20)
        for _ in range(2):
            assert old.poll(10_000)
            identity, _data = old.recv_multipart()
            old.send_multipart(
                [identity, encode_data(Refused("version", "you speak 1 to 1, this server 7 to 8"))]
            )
            until(lambda: sender.error is not None)
        first = second = None
        try:
            sender.send([b"x"])
        except VersionMismatchError as error:
            first = error
        try:
            sender.send([b"x"])
        except VersionMismatchError as error:
            second = error
        assert first is not None
        assert second is not None
        assert first is not second
        assert "this server 7 to 8" in str(second)
        assert isinstance(sender.error, VersionMismatchError)
        assert sender.stats == StreamStats(sent=2, dropped=2)
        # Said once, not every second.
        assert sum("7 to 8" in r.getMessage() for r in caplog.records if r.levelno == logging.ERROR) == 1
    finally:
        old.close(0)
    server = rig.server()
    assert sender.wait_attached(10)
    assert sender.error is None
    assert sender.send([b"y"]) == (1, 0)
    assert sender.flush(5)
    assert server.got == [b"y"]


def test_a_receiver_for_something_else_is_a_typed_error(
    rig: Any, until: Any, caplog: pytest.LogCaptureFixture
) -> None:
    class Picky(rig.texts):  # type: ignore[name-defined, misc]
        def attached(self, body: bytes, same_machine: bool) -> None:
            if body == b"\xc0":
                raise ProtocolError("this welcome says nothing")

    rig.server()
    sender = rig.sender(Picky(), attach=False, policy="block", deadline=20)
    until(lambda: sender.error is not None)
    with pytest.raises(ProtocolError, match="no receiver for this stream: this welcome says nothing"):
        sender.send([b"x"])
    assert sender.stats == StreamStats(sent=1, dropped=1)
    assert sender.send([b"x"], policy="drop", deadline=0) == (0, 1)
    assert sender.stats.balanced
    assert sum("says nothing" in r.getMessage() for r in caplog.records if r.levelno == logging.ERROR) == 1
    assert "Traceback" not in caplog.text


def test_items_before_a_hello_are_told_to_say_hello(rig: Any, raw: Any) -> None:
    server = rig.server()
    sender = raw()
    sender.items(0, b"x")
    assert sender.hear() == Refused("unknown-session", "say hello first")
    sender.say(AreYouThere(7))
    assert sender.hear().code == "unknown-session"
    sender.say(Bye("s", 0))  # somebody who leaves need not be greeted
    assert type(sender.hello()) is Welcome
    sender.say(AreYouThere(8))
    assert sender.hear() == IAmHere(8)
    assert server.got == []


def test_garbage_is_refused_and_counted_and_ends_the_session_it_came_in(rig: Any, raw: Any) -> None:
    server = rig.server()
    stranger, known = raw(), raw()
    stranger.say(b"GET / HTTP/1.1\r\n")
    answer = stranger.hear()
    assert answer.code == "protocol"
    assert "protocol 1 message" in answer.message
    assert type(known.hello()) is Welcome
    assert len(server.peers) == 1
    known.say(b"\xff")
    assert known.hear().code == "protocol"
    # What it said may have been items: the numbers do not go on.
    known.items(0, b"x")
    assert known.hear().code == "unknown-session"
    assert server._receiver is not None
    assert server._receiver.rejected == 2


@pytest.mark.parametrize(
    "seq, count",
    [(0, 0), (0, -1), (0, 5), (0, 2**40), (-1, 1)],
    ids=["none", "negative", "over the window", "absurd", "before the first"],
)
def test_wrong_numbers_and_counts_are_refused(rig: Any, raw: Any, seq: int, count: int) -> None:
    rig.server(window_items=4)
    sender = raw()
    sender.hello()
    sender.say(Items(seq, count, NIL))
    assert sender.hear().code == "protocol"


def test_more_items_than_credits_end_the_session(rig: Any, raw: Any, until: Any) -> None:
    server = rig.server(opened=False, window_items=4)
    greedy = raw()
    greedy.hello()
    greedy.items(0, b"0", b"1")
    greedy.items(2, b"2", b"3")
    until(lambda: len(server.held) == 4)
    server.give(1)
    assert greedy.hear() == Returns([0, DISPLAYED | CREDIT])
    greedy.items(4, b"4")
    until(lambda: len(server.held) == 4)
    greedy.items(5, b"5")
    answer = greedy.hear()
    assert type(answer) is Refused
    assert "1 items where 0 of 4 credits are left" in answer.message
    assert not server.peers
    assert len(server.gone) == 1


def test_early_items_wait_for_their_turn_and_duplicates_are_refused(rig: Any, raw: Any, until: Any) -> None:
    server = rig.server()
    sender = raw()
    sender.hello()
    sender.items(2, b"2")
    sender.items(1, b"1")
    sender.items(0, b"0")
    until(lambda: len(server.got) == 3)
    assert server.got == [b"0", b"1", b"2"]
    sender.items(1, b"again")
    while type(answer := sender.hear()) is not Refused:
        assert type(answer) is Returns
    assert "where 3 was expected" in answer.message


def test_a_refused_item_says_why_even_in_words_that_are_no_text(rig: Any, raw: Any, until: Any) -> None:
    server = rig.server(opened=False)
    sender = raw()
    sender.hello()
    sender.items(0, b"0")
    until(lambda: server.held)
    server.give(1, REFUSED | CREDIT, "cannot open /data/\udcff.tif " + "x" * 1000)
    failed = sender.hear()
    assert type(failed) is Failed
    assert failed.message.startswith("cannot open /data/?.tif")
    assert len(failed.message) == 500
    assert sender.hear() == Returns([0, REFUSED | CREDIT])


def test_notes_are_answered(rig: Any, raw: Any) -> None:
    rig.server()
    sender = raw()
    sender.hello()
    sender.say(Note(41, NIL))
    assert sender.hear() == NoteReply(41, NIL)


def test_a_handlers_bug_does_not_end_the_thread_that_answers(rig: Any, raw: Any, until: Any) -> None:
    server = rig.server()

    def fail(*_: Any) -> Any:
        raise RuntimeError("a bug in a hook")

    server.items = server.detach = fail
    sender, other = raw(), raw()
    sender.hello("one")
    sender.items(0, b"x")
    # Nobody knows what became of it: the session is over, so that it counts as lost and nothing waits for ever.
    assert sender.hear() == Refused("unknown-session", "the receiver stumbled over a message")
    sender.hello("two")
    sender.hello("three")  # the old session is forgotten: detach
    sender.say(Bye("three", 0))
    other.hello()
    del server.items, server.detach
    other.items(0, b"y")
    assert other.hear() == Returns([0, DISPLAYED | CREDIT])


def test_names_from_strangers_are_cut(rig: Any, raw: Any) -> None:
    server = rig.server()
    sender = raw()
    sender.say(Hello(1, 1, "s", 0, 0, "", "n" * 100_000, NIL))
    assert type(sender.hear()) is Welcome
    assert len(server.peers[0].name) == 200
    sender.say(Hello(1, 1, "s" * 100_000, 0, 0, "", "", NIL))
    assert sender.hear().code == "protocol"


# --------------------------------------------------------------------------- nothing stays behind


def test_a_sender_whose_connection_broke_is_forgotten_though_its_process_lives(rig: Any, until: Any) -> None:
    server = rig.server(timeouts=QUICK)
    sender = rig.sender(timeouts=QUICK)
    assert server.peers[0].local
    with sender._lock:  # as after an error: the socket goes without a goodbye
        sender._attachment.lose("a test")
    until(lambda: sender.attachments == 2)
    until(lambda: len(server.peers) == 1)
    assert len(server.gone) == 1
    sender.send([b"x"])
    assert sender.flush(5)


def test_a_quiet_sender_is_not_forgotten(rig: Any) -> None:
    server = rig.server(timeouts=QUICK)
    sender = rig.sender(timeouts=QUICK)
    pause = threading.Event()
    pause.wait(3 * QUICK.silence)
    assert len(server.peers) == 1
    assert sender.attachments == 1
    assert sender.state == "attached"


def test_senders_leave_no_descriptor_and_no_thread(rig: Any, until: Any) -> None:
    rig.server()

    def once() -> None:
        sender = rig.sender()
        sender.send([b"x"])
        assert sender.flush(5)
        sender.close()

    def open_files() -> int:
        return len(os.listdir("/proc/self/fd"))

    for _ in range(3):
        once()
    gc.collect()
    before, threads = open_files(), threading.active_count()
    for _ in range(20):
        once()
    gc.collect()
    until(lambda: open_files() <= before + 1, what="descriptors closed")
    assert threading.active_count() <= threads


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_child_must_make_a_sender_of_its_own(rig: Any) -> None:
    rig.server()
    sender = rig.sender()
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(read)
        try:
            sender.send([b"x"])
            os.write(write, b"sent")
        except StreamClosedError as error:
            os.write(write, str(error).encode())
        sender.close()  # the parent's: nothing happens
        os._exit(0)
    os.close(write)
    with os.fdopen(read) as file:
        text = file.read()
    os.waitpid(pid, 0)
    assert f"belongs to process {os.getpid()}, not to its fork {pid}" in text
    sender.send([b"parent goes on"])
    assert sender.flush(5)


def test_closing_tells_the_receiver_although_nothing_was_sent(rig: Any, until: Any) -> None:
    server = rig.server()
    with rig.sender() as sender:
        assert sender.state == "attached"
    assert sender.state == "closed"
    until(lambda: not server.peers)


def test_a_link_that_says_nothing_or_lies_harms_nobody(rig: Any, until: Any) -> None:
    if sys.platform != "linux":
        return
    server = rig.server()
    path = server._receiver._listener.path
    strangers = []
    for hello in (b"", b"wrong session", b"\x00" * 30000):
        link = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        link.connect(path)
        if hello:
            link.send(hello)
        strangers.append(link)
    sender = rig.sender(policy="block", deadline=5)
    sender.send([b"x"])
    assert sender.flush(5)
    for link in strangers:
        link.close()
    until(lambda: len(server._receiver._links) == 1)


def test_a_receiver_stopped_by_a_signal_handler_ends_in_order(rig: Any, until: Any) -> None:
    # `request_shutdown` only asks: a signal handler may call it.
    server = rig.server()
    sender = rig.sender()
    old = signal.signal(signal.SIGUSR1, lambda *_: server.request_shutdown())
    try:
        os.kill(os.getpid(), signal.SIGUSR1)
        assert server.wait(5)
    finally:
        signal.signal(signal.SIGUSR1, old)
    server.stop()
    until(lambda: sender.state == "connecting")
