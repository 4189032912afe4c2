"""The demo's viewers: how each is sent to, and how it shows what it is sent."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

from openhcs_viewers.demo.pipeline import BLOCK_DEADLINE, ViewerTarget
from openhcs_viewers.launcher import launch
from polystore.components import Component
from polystore.projection.spec import Dimension, DisplaySpec
from zmqruntime.errors import PolicyError
from zmqruntime.stream import POLICIES
from zmqruntime.stream_sender import DEFAULT_DEADLINE

if TYPE_CHECKING:
    from openhcs_viewers.handle import ViewerHandle

TITLE = "openhcs-viewers demo"
"""Of the windows."""

DEFAULT_POLICIES: Mapping[str, str] = {"fiji": "drop"}
"""What becomes of images that a viewer of a kind cannot take in time; ``block`` for the others. The demo waits for
napari, so that every image is seen, and shows with Fiji that no viewer has to be waited for."""

_ALONG = (Component.PLATE, Component.ACQUISITION, Component.WELL, Component.FIELD, Component.T)

HYPERSTACKS = DisplaySpec(colormap="auto", dimensions=dict.fromkeys(_ALONG, Dimension.FRAME))
"""One hyperstack per step: channels as a composite, z as slices, everything else along the frames. By default ImageJ
has a window per well and field, which are many for a whole plate."""

_DISPLAYS: Mapping[str, DisplaySpec] = {"fiji": HYPERSTACKS}
_PLAIN = DisplaySpec(colormap="auto")


def read_policies(texts: Iterable[str], kinds: Iterable[str]) -> dict[str, str]:
    """Return the policy of every kind, from texts such as ``fiji=latest``.

    Raises
    ------
    PolicyError
        A text says nothing, or is about a viewer that is not shown.
    """
    policies = {kind: DEFAULT_POLICIES.get(kind, "block") for kind in kinds}
    for text in texts:
        kind, _, policy = text.partition("=")
        if kind not in policies:
            raise PolicyError(f"--policy {text}: there is no viewer {kind!r} here ({', '.join(policies)})")
        if policy not in POLICIES:
            raise PolicyError(f"--policy {text}: give {kind}=POLICY, one of {', '.join(POLICIES)}")
        policies[kind] = policy
    return policies


def target_of(kind: str, handle: ViewerHandle, policy: str) -> ViewerTarget:
    """Return what the pipeline needs to know of a viewer."""
    deadline = BLOCK_DEADLINE if policy == "block" else DEFAULT_DEADLINE
    return ViewerTarget(kind, handle.endpoint, _DISPLAYS.get(kind, _PLAIN), policy, deadline)


@contextmanager
def starting(kind: str, options: Mapping[str, str], *, virtual: bool) -> Iterator[ViewerHandle]:
    """A viewer being started: on a virtual display a fresh one that ends with us, else one that stays."""
    if not virtual:
        yield launch(kind, title=TITLE, wait=False, options=options)
        return
    handle = launch(
        kind, title=TITLE, detached=False, reuse=False, display="virtual", wait=False, options=options
    )
    try:
        yield handle
    finally:
        handle.sender().close()  # or it would be surprised by the viewer's end
        handle.stop()
