"""Adding up what became of every image: nothing may be counted twice, and nothing forgotten."""

from __future__ import annotations

import pytest

from openhcs_viewers.demo._counts import Unreported, ViewerCounts, add_up
from openhcs_viewers.demo.pipeline import WorkerReport
from zmqruntime.stream import StreamStats

POLICY = {"napari": "block"}


def report(
    pid: int, stats: StreamStats, *, skipped: int = 0, blocks: list[float] | None = None
) -> WorkerReport:
    return WorkerReport(
        pid,
        {"napari": stats},
        {"napari": skipped},
        {"napari": blocks or []},
        {"napari": True},
        {"napari": sum(blocks or []) / 1000},
    )


def total(counts: ViewerCounts) -> int:
    return counts.displayed + counts.superseded + counts.dropped + counts.lost_in_flight


def test_workers_are_summed() -> None:
    reports = [
        report(1, StreamStats(sent=10, displayed=10), blocks=[1.0, 3.0]),
        report(2, StreamStats(sent=5, displayed=4, superseded=1), blocks=[2.0]),
    ]
    counts = add_up(POLICY, reports)["napari"]
    assert counts.as_dict() == {
        "sent": 15,
        "displayed": 14,
        "superseded": 1,
        "dropped": 0,
        "lost_in_flight": 0,
        "publish_block_ms_p50": 2.0,
        "publish_block_seconds": 0.006,
        "policy": "block",
    }
    assert counts.complete


@pytest.mark.parametrize(
    "stats, skipped, expected",
    [
        (StreamStats(sent=4, displayed=3, dropped=1), 0, (4, 3, 1, 0)),
        (StreamStats(sent=4, displayed=3, lost_in_flight=1), 0, (4, 3, 0, 1)),
        (StreamStats(sent=4, displayed=2, in_flight=1, queued=1), 0, (4, 2, 0, 2)),
        (StreamStats(sent=4, displayed=4), 3, (7, 4, 3, 0)),
    ],
)
def test_what_did_not_arrive_is_dropped_or_lost(
    stats: StreamStats, skipped: int, expected: tuple[int, int, int, int]
) -> None:
    counts = add_up(POLICY, [report(1, stats, skipped=skipped)])["napari"]
    assert (counts.sent, counts.displayed, counts.dropped, counts.lost_in_flight) == expected
    assert counts.sent == total(counts)
    assert not counts.complete


def test_images_of_a_dead_worker_are_lost() -> None:
    reports = [report(1, StreamStats(sent=10, displayed=10))]
    counts = add_up(POLICY, reports, [Unreported({"napari": 6})])["napari"]
    assert (counts.sent, counts.displayed, counts.lost_in_flight) == (16, 10, 6)
    assert counts.sent == total(counts)
    assert not counts.complete


def test_a_failed_viewer_is_not_complete() -> None:
    counts = add_up(POLICY, [report(1, StreamStats(sent=1, displayed=1))], (), {"napari": "it died"})[
        "napari"
    ]
    assert not counts.complete


def test_a_viewer_nobody_sent_to_has_zeros() -> None:
    counts = add_up(POLICY, [])["napari"]
    assert counts == ViewerCounts()
    assert counts.publish_block_ms_p50 is None


@pytest.mark.parametrize("policy", ["drop", "latest"])
def test_only_block_promises_that_every_image_arrives(policy: str) -> None:
    reports = [report(1, StreamStats(sent=9, displayed=5, dropped=3, lost_in_flight=1), blocks=[1200.0])]
    counts = add_up({"napari": policy}, reports)["napari"]
    assert not counts.complete
    assert counts.ok
    assert counts.remark == (
        "3 dropped and 1 lost on their way of 9 images, because it could not take them in time "
        f"(policy {policy}); the workers waited 1.2 s for it in all"
    )
    assert not add_up(POLICY, reports)["napari"].ok
    assert not add_up({"napari": policy}, reports, (), {"napari": "it died"})["napari"].ok
    whole = add_up({"napari": policy}, [report(1, StreamStats(sent=2, displayed=1, superseded=1))])["napari"]
    assert (whole.ok, whole.remark) == (True, "")
