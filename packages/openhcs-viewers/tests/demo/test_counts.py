"""Adding up what became of every image: nothing may be counted twice, and nothing forgotten."""

from __future__ import annotations

import pytest

from openhcs_viewers.demo._counts import Unreported, ViewerCounts, add_up
from openhcs_viewers.demo.pipeline import WorkerReport
from zmqruntime.stream import StreamStats


def report(
    pid: int, stats: StreamStats, *, skipped: int = 0, blocks: list[float] | None = None
) -> WorkerReport:
    return WorkerReport(
        pid, {"napari": stats}, {"napari": skipped}, {"napari": blocks or []}, {"napari": True}
    )


def total(counts: ViewerCounts) -> int:
    return counts.displayed + counts.superseded + counts.dropped + counts.lost_in_flight


def test_workers_are_summed() -> None:
    reports = [
        report(1, StreamStats(sent=10, displayed=10), blocks=[1.0, 3.0]),
        report(2, StreamStats(sent=5, displayed=4, superseded=1), blocks=[2.0]),
    ]
    counts = add_up(["napari"], reports)["napari"]
    assert counts.as_dict() == {
        "sent": 15,
        "displayed": 14,
        "superseded": 1,
        "dropped": 0,
        "lost_in_flight": 0,
        "publish_block_ms_p50": 2.0,
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
    counts = add_up(["napari"], [report(1, stats, skipped=skipped)])["napari"]
    assert (counts.sent, counts.displayed, counts.dropped, counts.lost_in_flight) == expected
    assert counts.sent == total(counts)
    assert not counts.complete


def test_images_of_a_dead_worker_are_lost() -> None:
    reports = [report(1, StreamStats(sent=10, displayed=10))]
    counts = add_up(["napari"], reports, [Unreported({"napari": 6})])["napari"]
    assert (counts.sent, counts.displayed, counts.lost_in_flight) == (16, 10, 6)
    assert counts.sent == total(counts)
    assert not counts.complete


def test_a_failed_viewer_is_not_complete() -> None:
    counts = add_up(["napari"], [report(1, StreamStats(sent=1, displayed=1))], (), {"napari": "it died"})[
        "napari"
    ]
    assert not counts.complete


def test_a_viewer_nobody_sent_to_has_zeros() -> None:
    counts = add_up(["napari"], [])["napari"]
    assert counts == ViewerCounts()
    assert counts.publish_block_ms_p50 is None
