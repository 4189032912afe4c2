"""Images on their way to the screen: each gets one credit and one outcome."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np

from polystore.components import ImageKey

__all__ = ["Arrival", "Ticket"]


class Arrival(Protocol):
    """An image as it arrives (`polystore.streaming.receiver.ReceivedImage`)."""

    array: np.ndarray[Any, Any] | None
    key: ImageKey
    context: Any
    kind: str
    contrast: tuple[float, float] | None
    path: str
    name: str
    rois: list[Any] | None
    owned: bool

    def intact(self) -> bool: ...
    def credit(self) -> None: ...
    def resolve(self, outcome: str, reason: str = "") -> None: ...
    def finish(self, outcome: str, reason: str = "") -> None: ...


class Ticket:
    """An image on its way to the screen; its planes may get there one by one."""

    __slots__ = ("credited", "image", "outcome", "parts", "reason")

    def __init__(self, image: Arrival, parts: int) -> None:
        self.image = image
        self.parts = parts
        self.outcome = "displayed"
        self.reason = ""
        self.credited = False

    def part(self, outcome: str, reason: str = "") -> bool:
        """Count one part's outcome, the worst wins; True when it was the last. Called with the scene's lock."""
        if outcome == "dropped" or (outcome == "superseded" and self.outcome == "displayed"):
            self.outcome, self.reason = outcome, reason
        self.parts -= 1
        return self.parts == 0

    def credit(self) -> None:
        """Give the memory back to the sender before the outcome is known, and look at it no more.

        A view kept until then would hold all shared memory of a sender that may be gone.
        """
        self.credited = True
        self.image.credit()
        self.image.array = None

    def send(self) -> None:
        """Tell the sender the outcome, with the credit if it did not have that yet."""
        if self.credited:
            self.image.resolve(self.outcome, self.reason)
        else:
            self.credited = True
            self.image.finish(self.outcome, self.reason)
            self.image.array = None
