"""What became of every image, added up over the worker processes of a run."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from openhcs_viewers.demo.pipeline import WorkerReport


@dataclass(frozen=True, slots=True)
class ViewerCounts:
    """Images of one viewer; ``sent == displayed + superseded + dropped + lost_in_flight``.

    Attributes
    ----------
    sent
        Images the steps made for this viewer.
    displayed
        Held by its layers, and shown as soon as the sliders are there.
    superseded
        Replaced by a newer image of the same place before they were shown.
    dropped
        Refused or never sent, because there was no credit, or no viewer any more.
    lost_in_flight
        On their way, outcome unknown: the viewer or the worker died.
    publish_block_ms_p50
        How long streaming one batch held the pipeline, in milliseconds, in the median; None without any.
    publish_block_seconds
        How long streaming held all workers together, their last 4,096 batches each.
    policy
        What was to become of images that it could not take in time.
    failure
        Empty, or why this viewer was given up.
    """

    sent: int = 0
    displayed: int = 0
    superseded: int = 0
    dropped: int = 0
    lost_in_flight: int = 0
    publish_block_ms_p50: float | None = None
    failure: str = ""
    publish_block_seconds: float = 0.0
    policy: str = "block"

    @property
    def complete(self) -> bool:
        """Whether every image got there and nothing failed."""
        return not self.failure and self.sent == self.displayed + self.superseded

    @property
    def ok(self) -> bool:
        """Whether it went as its policy says: only ``block`` promises that every image gets there."""
        return self.complete or (not self.failure and self.policy != "block")

    @property
    def remark(self) -> str:
        """What the policy cost, in a sentence for people; empty when every image got there."""
        if self.complete or not self.ok:
            return ""
        missed = [(self.dropped, "dropped"), (self.lost_in_flight, "lost on their way")]
        parts = " and ".join(f"{count} {word}" for count, word in missed if count)
        return (
            f"{parts} of {self.sent} images, because it could not take them in time (policy {self.policy}); "
            f"the workers waited {self.publish_block_seconds:.1f} s for it in all"
        )

    def as_dict(self) -> dict[str, Any]:
        """The numbers, as they stand in ``summary.json``."""
        return {
            "sent": self.sent,
            "displayed": self.displayed,
            "superseded": self.superseded,
            "dropped": self.dropped,
            "lost_in_flight": self.lost_in_flight,
            "publish_block_ms_p50": self.publish_block_ms_p50,
            "publish_block_seconds": round(self.publish_block_seconds, 3),
            "policy": self.policy,
        }


@dataclass(frozen=True, slots=True)
class Unreported:
    """Images of a worker that died before it could report: by viewer, how many it had been given to send."""

    images: Mapping[str, int]


def add_up(
    policies: Mapping[str, str],
    reports: Sequence[WorkerReport],
    unreported: Sequence[Unreported] = (),
    failures: Mapping[str, str] | None = None,
) -> dict[str, ViewerCounts]:
    """Return the counts of every viewer (by kind, with its policy), summed over workers.

    What a worker skipped counts as dropped. What was still on its way when a worker reported, or was in the hands of
    a worker that died, counts as lost: nobody can say that it arrived.
    """
    totals = {}
    for kind, policy in policies.items():
        stats = [report.stats[kind] for report in reports if kind in report.stats]
        skipped = sum(report.skipped.get(kind, 0) for report in reports)
        gone = sum(one.images.get(kind, 0) for one in unreported)
        blocks = [value for report in reports for value in report.block_ms.get(kind, ())]
        totals[kind] = ViewerCounts(
            sent=sum(one.sent for one in stats) + skipped + gone,
            displayed=sum(one.displayed for one in stats),
            superseded=sum(one.superseded for one in stats),
            dropped=sum(one.dropped for one in stats) + skipped,
            lost_in_flight=sum(one.lost_in_flight + one.in_flight + one.queued for one in stats) + gone,
            publish_block_ms_p50=round(statistics.median(blocks), 4) if blocks else None,
            failure=(failures or {}).get(kind, ""),
            publish_block_seconds=sum(report.block_seconds.get(kind, 0.0) for report in reports),
            policy=policy,
        )
    return totals
