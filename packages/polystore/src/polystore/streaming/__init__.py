"""Images between processes: `ImageSender` on one side, `ImageReceiver` on the other.

Needs ``pip install 'polystore[streaming]'``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from polystore.streaming.messages import BatchContext, StreamItem
    from polystore.streaming.receiver import ImageReceiver, ReceivedImage
    from polystore.streaming.sender import ImageSender, close_senders, sender_for

_HOMES = {
    "BatchContext": "messages",
    "ImageReceiver": "receiver",
    "ImageSender": "sender",
    "ReceivedImage": "receiver",
    "StreamItem": "messages",
    "close_senders": "sender",
    "sender_for": "sender",
}

__all__ = [
    "BatchContext",
    "ImageReceiver",
    "ImageSender",
    "ReceivedImage",
    "StreamItem",
    "close_senders",
    "sender_for",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'polystore.streaming' has no attribute {name!r}")
    import importlib

    try:
        module = importlib.import_module(f"polystore.streaming.{_HOMES[name]}")
    except ModuleNotFoundError as error:
        if error.name is not None and error.name.partition(".")[0] in {"zmqruntime", "zmq"}:
            from polystore.errors import MissingExtraError

            raise MissingExtraError("streaming needs: pip install 'polystore[streaming]'") from error
        raise
    value = getattr(module, name)
    globals()[name] = value
    return value
