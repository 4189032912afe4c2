"""What happens without credit: block, drop and latest, each item counted once whatever comes."""

from __future__ import annotations

import logging
import threading
import time
from typing import Any

import pytest

from zmqruntime.errors import PolicyError, SendTimeout, StreamClosedError
from zmqruntime.messages import CREDIT, DISPLAYED, REFUSED, SUPERSEDED
from zmqruntime.stream import StreamStats, check_policy

WINDOW = 4


def texts(count: int, start: int = 0) -> list[bytes]:
    return [b"%d" % i for i in range(start, start + count)]


def warnings_in(caplog: pytest.LogCaptureFixture, part: str) -> list[str]:
    return [r.getMessage() for r in caplog.records if r.levelno >= logging.WARNING and part in r.getMessage()]


# --------------------------------------------------------------------------- words


def test_only_three_policies_are_known(rig: Any) -> None:
    with pytest.raises(PolicyError, match="'oldest'.*block, drop, latest"):
        check_policy("oldest")
    with pytest.raises(ValueError, match="unknown policy"):
        rig.sender(attach=False, policy="oldest")
    with pytest.raises(PolicyError):
        rig.sender(attach=False).send([b"x"], policy="")


def test_stats_know_whether_they_are_balanced() -> None:
    assert StreamStats().balanced
    assert StreamStats(
        sent=6, displayed=1, superseded=1, dropped=1, lost_in_flight=1, in_flight=1, queued=1
    ).balanced
    assert not StreamStats(sent=1).balanced
    assert not StreamStats(displayed=1).balanced


# --------------------------------------------------------------------------- drop


def test_drop_waits_once_per_stall_and_warns_once(
    rig: Any, until: Any, caplog: pytest.LogCaptureFixture
) -> None:
    server = rig.server(opened=False, window_items=WINDOW)
    sender = rig.sender(deadline=0.3)
    assert sender.send(texts(WINDOW)) == (WINDOW, 0)
    for _ in range(2):
        begin = time.monotonic()
        assert sender.send([b"waits"]) == (0, 1)
        assert 0.25 < time.monotonic() - begin < 3
        # From now on dropped at once: a hundred do not take a second, let alone a hundred deadlines.
        begin = time.monotonic()
        for _ in range(100):
            assert sender.send([b"no more"]) == (0, 1)
        assert time.monotonic() - begin < 1
        until(lambda: len(server.held) == WINDOW)
        server.give(1)
        until(lambda: sender.stats.displayed and sender.stats.in_flight == WINDOW - 1)
        assert sender.send([b"fills up"]) == (1, 0)
    assert len(warnings_in(caplog, "takes nothing")) == 2
    assert len(warnings_in(caplog, "takes items again; 101 were dropped")) == 2
    stats = sender.stats
    assert stats.balanced
    assert (stats.sent, stats.dropped, stats.displayed) == (WINDOW + 2 * 102, 202, 2)


def test_drop_with_a_deadline_of_zero_never_waits(rig: Any) -> None:
    rig.server(opened=False, window_items=1)
    sender = rig.sender(deadline=0)
    assert sender.send([b"0"]) == (1, 0)
    begin = time.monotonic()
    assert sender.send(texts(50)) == (0, 50)
    assert time.monotonic() - begin < 0.2
    assert sender.stats.balanced


def test_drop_sends_what_there_is_credit_for_and_drops_the_newest(rig: Any, until: Any) -> None:
    server = rig.server(opened=False, window_items=WINDOW)
    sender = rig.sender(deadline=0.1)
    assert sender.send(texts(10)) == (WINDOW, 6)
    until(lambda: len(server.got) == WINDOW)
    assert server.got == texts(WINDOW)
    assert sender.stats.balanced


def test_drop_goes_on_at_once_when_a_credit_returns_during_the_wait(rig: Any, until: Any) -> None:
    server = rig.server(opened=False, window_items=1)
    sender = rig.sender(deadline=30)
    sender.send([b"0"])
    until(lambda: server.held)
    timer = threading.Timer(0.1, server.give)
    timer.start()
    begin = time.monotonic()
    assert sender.send([b"1"]) == (1, 0)
    assert time.monotonic() - begin < 5
    timer.join()


def test_nobody_there_costs_one_deadline_and_is_counted(rig: Any, caplog: pytest.LogCaptureFixture) -> None:
    sender = rig.sender(attach=False, deadline=0.3)
    begin = time.monotonic()
    assert sender.send(texts(5)) == (0, 5)
    first = time.monotonic() - begin
    assert sender.send(texts(5)) == (0, 5)
    assert 0.25 < first < 2
    assert time.monotonic() - begin - first < 0.2
    assert sender.state == "connecting"
    assert sender.stats == StreamStats(sent=10, dropped=10)
    assert len(warnings_in(caplog, "takes nothing (connecting)")) == 1


# --------------------------------------------------------------------------- block


def test_block_raises_with_the_reason_and_counts_what_was_not_sent(rig: Any) -> None:
    rig.server(opened=False, window_items=WINDOW)
    sender = rig.sender(policy="block", deadline=0.2)
    with pytest.raises(
        SendTimeout, match=r"within 0\.2 s \(attached\): 6 of 10 items were not sent.*policy 'drop'"
    ) as caught:
        sender.send(texts(10))
    assert isinstance(caught.value, TimeoutError)
    stats = sender.stats
    assert stats.balanced
    assert (stats.sent, stats.in_flight, stats.dropped) == (10, WINDOW, 6)


def test_block_without_anybody_there_raises_within_its_deadline(rig: Any) -> None:
    sender = rig.sender(attach=False, policy="block", deadline=0.3)
    for _ in range(2):
        begin = time.monotonic()
        with pytest.raises(SendTimeout, match="connecting"):
            sender.send([b"x"])
        assert 0.25 < time.monotonic() - begin < 2
    assert sender.stats == StreamStats(sent=2, dropped=2)


def test_block_waits_as_long_as_credits_keep_coming(rig: Any, until: Any) -> None:
    # Slow is not stalled: 40 items at 25 ms each take several deadlines.
    server = rig.server(opened=False, window_items=1)
    sender = rig.sender(policy="block", deadline=0.4)
    stop = threading.Event()

    def trickle() -> None:
        while not stop.wait(0.025):
            server.give(1)

    thread = threading.Thread(target=trickle)
    thread.start()
    try:
        assert sender.send(texts(40)) == (40, 0)
    finally:
        stop.set()
        thread.join()
    server.open()
    assert sender.flush(5)
    assert server.got == texts(40)


def test_policy_and_deadline_of_one_call_outrank_the_senders_own(rig: Any) -> None:
    rig.server(opened=False, window_items=1)
    sender = rig.sender(policy="drop", deadline=30)
    sender.send([b"0"])
    assert sender.send([b"1"], deadline=0) == (0, 1)
    with pytest.raises(SendTimeout):
        sender.send([b"2"], policy="block", deadline=0)
    assert sender.send([b"k:3"], policy="latest") == (1, 0)
    assert sender.stats.balanced


# --------------------------------------------------------------------------- latest


def test_latest_keeps_the_newest_of_each_key_and_never_waits(rig: Any, until: Any) -> None:
    server = rig.server(opened=False, window_items=1)
    sender = rig.sender(policy="latest", deadline=30)
    begin = time.monotonic()
    for i in range(100):
        assert sender.send([b"a:%d" % i, b"b:%d" % i]) == (2, 0)
    assert time.monotonic() - begin < 5
    stats = sender.stats
    # One is on its way, one of each key waits, the rest was replaced.
    assert (stats.sent, stats.in_flight, stats.queued, stats.superseded) == (200, 1, 2, 197)
    assert stats.balanced
    until(lambda: server.held)
    server.open()
    assert sender.flush(5)
    assert server.got == [b"a:0", b"a:99", b"b:99"] or server.got == [b"a:0", b"b:99", b"a:99"]
    stats = sender.stats
    assert (stats.displayed, stats.superseded, stats.dropped) == (3, 197, 0)


def test_latest_without_anybody_there_keeps_one_of_each_key_for_the_one_who_comes(rig: Any) -> None:
    sender = rig.sender(attach=False, policy="latest")
    for i in range(10):
        assert sender.send([b"a:%d" % i]) == (1, 0)
    server = rig.server()
    assert sender.flush(10)
    assert server.got == [b"a:9"]
    assert sender.stats == StreamStats(sent=10, displayed=1, superseded=9)


def test_latest_replaces_a_waiting_item_also_when_the_newer_one_goes_at_once(rig: Any, until: Any) -> None:
    encoder = rig.texts(room=1)
    server = rig.server(opened=False, window_items=8)
    sender = rig.sender(encoder, policy="latest")
    sender.send([b"x:0"])
    sender.send([b"a:old"])  # credit, but no room
    assert sender.stats.queued == 1
    encoder.room = 8
    sender.send([b"a:new"])
    until(lambda: len(server.held) >= 2)  # three when the keeper found the room first
    server.open()
    assert sender.flush(5)
    assert server.got[-1] == b"a:new"
    assert sender.stats.balanced
    assert sender.stats.superseded + sender.stats.displayed == 3


def test_latest_within_its_byte_budget_drops_the_oldest_keys(rig: Any) -> None:
    sender = rig.sender(attach=False, policy="latest", queue_bytes=100)
    for i in range(10):
        assert sender.send([b"%d:" % i + bytes(18)]) == (1, 0)  # 20 bytes each: five fit
    stats = sender.stats
    assert (stats.queued, stats.dropped) == (5, 5)
    assert sender.send([b"large:" + bytes(200)]) == (0, 1)
    assert sender.stats.balanced
    server = rig.server()
    assert sender.flush(10)
    assert all(item.startswith((b"5", b"6", b"7", b"8", b"9")) for item in server.got)


def test_latest_takes_a_copy_because_the_caller_goes_on_writing(rig: Any) -> None:
    encoder = rig.texts()
    sender = rig.sender(encoder, attach=False, policy="latest")
    sender.send([b"a:1"])
    assert encoder.retained == 1
    sender.send([b"a:2"], deferred=True)
    assert encoder.retained == 1


# --------------------------------------------------------------------------- queue while starting


def test_items_wait_while_the_receiver_starts_and_arrive_in_order(rig: Any) -> None:
    sender = rig.sender(attach=False, starting=True, deadline=0)
    for i in range(300):
        assert sender.send([b"%d" % i]) == (1, 0)
    assert sender.stats == StreamStats(sent=300, queued=300)
    server = rig.server(window_items=WINDOW)
    assert sender.flush(10)
    assert server.got == texts(300)
    assert not sender.starting
    assert sender.stats == StreamStats(sent=300, displayed=300)


@pytest.mark.parametrize("policy", ["drop", "block", "latest"])
def test_what_waits_while_starting_stays_within_the_byte_budget(rig: Any, policy: str) -> None:
    sender = rig.sender(attach=False, starting=True, deadline=0.05, queue_bytes=50, policy=policy)
    accepted = 0
    for i in range(20):
        try:
            accepted += sender.send([b"%09d:" % i]).accepted  # 10 bytes each
        except SendTimeout:
            assert policy == "block"
    assert accepted == 5
    assert sender.stats == StreamStats(sent=20, queued=5, dropped=15)
    server = rig.server()
    assert sender.flush(10)
    assert len(server.got) == 5


def test_a_start_that_failed_drops_what_waited_and_says_so(
    rig: Any, caplog: pytest.LogCaptureFixture
) -> None:
    sender = rig.sender(attach=False, starting=True)
    sender.send(texts(7))
    sender.started(ok=False)
    assert sender.stats == StreamStats(sent=7, dropped=7)
    assert len(warnings_in(caplog, "7 items waited")) == 1
    assert sender.send([b"x"], deadline=0) == (0, 1)
    assert sender.stats.balanced


def test_newer_items_do_not_overtake_those_that_waited(rig: Any) -> None:
    sender = rig.sender(attach=False, starting=True, policy="block", deadline=10)
    sender.send(texts(50))
    server = rig.server(window_items=2)
    sender.send(texts(50, start=50))
    assert sender.flush(10)
    assert server.got == texts(100)


# --------------------------------------------------------------------------- deferred


def test_deferred_returns_at_once_and_keeps_the_order(rig: Any) -> None:
    server = rig.server()
    sender = rig.sender(policy="block", deadline=10)
    for start in range(0, 100, 10):
        assert sender.send(texts(10, start), deferred=True) == (10, 0)
    sender.send(texts(5, 100))
    assert sender.flush(10)
    assert server.got == texts(105)


def test_deferred_beyond_the_budget_waits_like_any_other(rig: Any) -> None:
    rig.server(opened=False, window_items=1)
    sender = rig.sender(deadline=0.05, queue_bytes=10)
    sender.send([b"0"])
    assert sender.send([b"12345"] * 4, deferred=True) == (2, 2)
    assert sender.stats.balanced


# --------------------------------------------------------------------------- outcomes


def test_each_outcome_is_counted_under_its_own_name(
    rig: Any, until: Any, caplog: pytest.LogCaptureFixture
) -> None:
    server = rig.server(opened=False)
    sender = rig.sender()
    sender.send(texts(6))
    until(lambda: len(server.held) == 6)
    server.give(1, DISPLAYED | CREDIT)
    server.give(2, SUPERSEDED | CREDIT)
    server.give(3, REFUSED | CREDIT, "because")
    assert sender.flush(5)
    assert sender.stats == StreamStats(sent=6, displayed=1, superseded=2, dropped=3, refused=3)
    assert len(warnings_in(caplog, "because")) == 1  # one line for a burst


def test_credit_and_outcome_may_come_apart_in_either_order(rig: Any, until: Any) -> None:
    encoder = rig.texts()
    server = rig.server(opened=False, window_items=2)
    sender = rig.sender(encoder)
    sender.send(texts(2))
    until(lambda: len(server.held) == 2)
    (peer, first), (_, second) = server.held
    peer.give(first, CREDIT)
    until(lambda: sender.stats and encoder.released == [b"0"])
    assert sender.stats.in_flight == 2
    peer.give(first, DISPLAYED)
    until(lambda: sender.stats.displayed == 1)
    peer.give(second, DISPLAYED)
    until(lambda: sender.stats.displayed == 2)
    assert encoder.released == [b"0"]
    peer.give(second, CREDIT)
    until(lambda: sender.stats and encoder.released == [b"0", b"1"])
    # Once more is once too often, and counts nothing.
    peer.give(second, DISPLAYED | CREDIT)
    assert sender.send(texts(2)) == (2, 0)
    assert sender.stats.balanced
    assert sender.stats.displayed == 2


def test_the_receiver_counts_the_same(rig: Any, until: Any) -> None:
    server = rig.server(opened=False)
    sender = rig.sender(name="camera")
    sender.send(texts(5))
    until(lambda: len(server.held) == 5)
    server.give(2)
    assert server._receiver is not None
    until(lambda: server._receiver.counters()["displayed"] == 2)
    sender.close()
    until(lambda: server.gone)
    # What is shown after its sender left counts too.
    server.open()
    until(
        lambda: server._receiver.counters() == {"received": 5, "displayed": 5, "superseded": 0, "refused": 0}
    )


# --------------------------------------------------------------------------- windows


def test_a_batch_larger_than_the_window_goes_in_parts(rig: Any) -> None:
    server = rig.server(window_items=3)
    sender = rig.sender(policy="block", deadline=10)
    assert sender.send(texts(100)) == (100, 0)
    assert sender.flush(10)
    assert server.got == texts(100)
    assert max(server.messages) <= 3


def test_a_batch_larger_than_the_room_goes_in_parts(rig: Any) -> None:
    encoder = rig.texts(room=2)
    server = rig.server()
    sender = rig.sender(encoder, policy="block", deadline=10)
    assert sender.send(texts(51)) == (51, 0)
    assert sender.flush(10)
    assert server.got == texts(51)
    assert encoder.out == 0


def test_frames_wait_for_the_byte_window(rig: Any, until: Any) -> None:
    server = rig.server(opened=False, window_bytes=1000)
    sender = rig.sender(rig.texts(batch=1), deadline=0.1)
    items = [b"F" + bytes(399) for _ in range(10)]
    # 400, 800, 1200: the third one begins below the window, the fourth does not.
    assert sender.send(items) == (3, 7)
    until(lambda: len(server.held) == 3)
    server.give(1)
    until(lambda: sender.stats.displayed == 1)
    assert sender.send(items[:2]) == (1, 1)
    server.open()
    assert sender.flush(5)
    assert sender._frame_bytes == 0
    assert sender.stats.balanced


def test_empty_sends_and_empty_frames_are_fine(rig: Any) -> None:
    server = rig.server()
    sender = rig.sender()
    assert sender.send([]) == (0, 0)
    sender.send([b"", b"F", b""])
    assert sender.flush(5)
    assert server.got == [b"", b"F", b""]


# --------------------------------------------------------------------------- counters under threads


def test_counters_are_balanced_whenever_anybody_looks(rig: Any) -> None:
    server = rig.server(window_items=8)
    sender = rig.sender(deadline=0.01)
    done = threading.Event()
    unbalanced: list[StreamStats] = []
    looks = 0

    def look() -> None:
        nonlocal looks
        while not done.is_set():
            stats = sender.stats
            looks += 1
            if not stats.balanced:
                unbalanced.append(stats)

    def send(policy: str) -> None:
        for i in range(150):
            try:
                sender.send([b"%s:%d" % (policy.encode(), i % 5), b"F:%d" % i, b"z:"], policy=policy)
            except SendTimeout:
                assert policy == "block"

    readers = [threading.Thread(target=look) for _ in range(2)]
    writers = [
        threading.Thread(target=send, args=(policy,)) for policy in ("drop", "block", "latest", "latest")
    ]
    for thread in readers + writers:
        thread.start()
    # Now and then the receiver takes nothing for a moment.
    pause = threading.Event()
    for _ in range(10):
        server.opened = False
        pause.wait(0.02)
        server.open()
    for thread in writers:
        thread.join(60)
        assert not thread.is_alive()
    server.open()
    assert sender.flush(10)
    done.set()
    for thread in readers:
        thread.join(10)
    assert unbalanced == []
    assert looks > 50
    stats = sender.stats
    assert stats.sent == 4 * 150 * 3
    assert stats.in_flight == stats.queued == 0


def test_a_reader_of_stats_is_not_locked_out_by_a_sender_that_waits(rig: Any) -> None:
    rig.server(opened=False, window_items=1)
    sender = rig.sender(policy="block", deadline=3)
    sender.send([b"0"])

    def wait_in_vain() -> None:
        with pytest.raises(SendTimeout):
            sender.send([b"1"])

    waiting = threading.Thread(target=wait_in_vain)
    waiting.start()
    slowest = 0.0
    looks = 0
    while waiting.is_alive():
        begin = time.monotonic()
        stats = sender.stats
        slowest = max(slowest, time.monotonic() - begin)
        looks += 1
        assert stats.balanced
    waiting.join()
    assert looks > 20
    assert slowest < 0.5


# --------------------------------------------------------------------------- errors


def test_an_item_that_cannot_be_encoded_is_counted_and_its_neighbours_go(rig: Any) -> None:
    server = rig.server()
    sender = rig.sender(rig.texts(batch=1), policy="block", deadline=5)
    with pytest.raises(ValueError, match="bad cannot be encoded"):
        sender.send([b"good", b"bad", b"never reached"])
    stats = sender.stats
    assert stats.balanced
    assert stats.sent == 3
    assert stats.dropped == 2
    sender.send([b"next"])
    assert sender.flush(5)
    assert server.got == [b"good", b"next"]


@pytest.mark.parametrize("way", ["deferred", "starting", "latest"])
def test_a_waiting_item_that_cannot_be_encoded_does_not_hold_up_the_others(
    rig: Any, way: str, caplog: pytest.LogCaptureFixture
) -> None:
    sender = rig.sender(
        attach=False, starting=way == "starting", policy="latest" if way == "latest" else "drop"
    )
    sender.send([b"a:", b"bad", b"b:"], deferred=way == "deferred")
    server = rig.server()
    assert sender.flush(10)
    assert sorted(server.got) == [b"a:", b"b:"]
    stats = sender.stats
    assert (stats.sent, stats.displayed, stats.dropped) == (3, 2, 1)
    assert sender.attachments == 1
    assert "bad cannot be encoded" in caplog.text


def test_a_closed_sender_says_so(rig: Any) -> None:
    rig.server(opened=False)
    sender = rig.sender()
    sender.send(texts(3))
    sender.close()
    sender.close()
    assert sender.state == "closed"
    assert sender.stats == StreamStats(sent=3, lost_in_flight=3)
    with pytest.raises(StreamClosedError, match="closed"):
        sender.send([b"x"])
    assert sender.stats.sent == 3
    assert not sender.wait_attached(1)


def test_closing_ends_a_wait_in_another_thread(rig: Any) -> None:
    rig.server(opened=False, window_items=1)
    sender = rig.sender(policy="block", deadline=30)
    sender.send([b"0"])
    caught: list[BaseException] = []

    def wait() -> None:
        try:
            sender.send([b"1", b"2"])
        except StreamClosedError as error:
            caught.append(error)

    thread = threading.Thread(target=wait)
    thread.start()
    while sender.stats.queued != 2:
        pass
    sender.close()
    thread.join(5)
    assert not thread.is_alive()
    assert len(caught) == 1
    assert sender.stats == StreamStats(sent=3, lost_in_flight=1, dropped=2)
