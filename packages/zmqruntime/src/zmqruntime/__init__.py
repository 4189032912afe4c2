"""Servers with a data and a control channel over ZeroMQ: handshake, credits, processes.

The names below are loaded on first use; ``import zmqruntime`` itself costs next to nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from zmqruntime.broadcast import Publisher, Subscriber
    from zmqruntime.client import ControlClient
    from zmqruntime.config import Endpoint, Timeouts
    from zmqruntime.discovery import ConnectionInfo, free_endpoint, list_connections
    from zmqruntime.errors import ProtocolError, SendTimeout, ZMQRuntimeError
    from zmqruntime.handshake import ping, wait_until_ready
    from zmqruntime.messages import PROTOCOL_VERSION
    from zmqruntime.process import ServerProcess
    from zmqruntime.security import KeyPair
    from zmqruntime.server import ZMQServer
    from zmqruntime.stream import Encoder, SendReport, StreamHandler, StreamStats
    from zmqruntime.stream_receiver import Peer, StreamReceiver
    from zmqruntime.stream_sender import StreamSender

    __version__: str

_HOMES = {
    "ConnectionInfo": "discovery",
    "ControlClient": "client",
    "Encoder": "stream",
    "Endpoint": "config",
    "KeyPair": "security",
    "PROTOCOL_VERSION": "messages",
    "Peer": "stream_receiver",
    "ProtocolError": "errors",
    "Publisher": "broadcast",
    "SendReport": "stream",
    "SendTimeout": "errors",
    "ServerProcess": "process",
    "StreamHandler": "stream",
    "StreamReceiver": "stream_receiver",
    "StreamSender": "stream_sender",
    "StreamStats": "stream",
    "Subscriber": "broadcast",
    "Timeouts": "config",
    "ZMQRuntimeError": "errors",
    "ZMQServer": "server",
    "free_endpoint": "discovery",
    "list_connections": "discovery",
    "ping": "handshake",
    "wait_until_ready": "handshake",
}

__all__ = [
    "PROTOCOL_VERSION",
    "ConnectionInfo",
    "ControlClient",
    "Encoder",
    "Endpoint",
    "KeyPair",
    "Peer",
    "ProtocolError",
    "Publisher",
    "SendReport",
    "SendTimeout",
    "ServerProcess",
    "StreamHandler",
    "StreamReceiver",
    "StreamSender",
    "StreamStats",
    "Subscriber",
    "Timeouts",
    "ZMQRuntimeError",
    "ZMQServer",
    "__version__",
    "free_endpoint",
    "list_connections",
    "ping",
    "wait_until_ready",
]


def __getattr__(name: str) -> Any:
    import importlib

    if name == "__version__":
        from importlib.metadata import version

        value: Any = version("zmqruntime")
    elif name in _HOMES:
        value = getattr(importlib.import_module(f"zmqruntime.{_HOMES[name]}"), name)
    else:
        raise AttributeError(f"module 'zmqruntime' has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
