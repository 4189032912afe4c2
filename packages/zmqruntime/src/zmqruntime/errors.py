"""Every error this package raises.

* ZMQRuntimeError
  + EndpointError
    - EndpointFormatError (also ValueError)
    - IpcPathError (also ValueError)
    - AddressInUseError (also OSError)
    - EndpointUnusableError (also OSError)
    - InsecureBindError (also PermissionError)
  + ProtocolError (also ValueError)
    - VersionMismatchError
    - MessageTooLargeError
  + PeerError
    - HandshakeTimeout (also TimeoutError)
    - RequestTimeout (also TimeoutError)
    - RemoteError
    - PeerBusyError
  + StreamError
    - SendTimeout (also TimeoutError)
    - StreamClosedError
    - PolicyError (also ValueError)
  + ProcessError
    - ProcessStartError
    - NotOursError
  + KeyFileError (also OSError)
  + ConnectionFileError (also OSError)

A message says what failed, with which value, and what to do about it.
"""

from __future__ import annotations

__all__ = [
    "AddressInUseError",
    "ConnectionFileError",
    "EndpointError",
    "EndpointFormatError",
    "EndpointUnusableError",
    "HandshakeTimeout",
    "InsecureBindError",
    "IpcPathError",
    "KeyFileError",
    "MessageTooLargeError",
    "NotOursError",
    "PeerBusyError",
    "PeerError",
    "PolicyError",
    "ProcessError",
    "ProcessStartError",
    "ProtocolError",
    "RemoteError",
    "RequestTimeout",
    "SendTimeout",
    "StreamClosedError",
    "StreamError",
    "VersionMismatchError",
    "ZMQRuntimeError",
]


class ZMQRuntimeError(Exception):
    """Root of this package's errors."""


class EndpointError(ZMQRuntimeError):
    """An endpoint cannot be used."""


class EndpointFormatError(EndpointError, ValueError):
    """A host, port or transport is not one."""


class IpcPathError(EndpointError, ValueError):
    """An ipc socket path is longer than the operating system allows (107 bytes on Linux)."""


class AddressInUseError(EndpointError, OSError):
    """Another process already listens on the endpoint."""


class EndpointUnusableError(EndpointError, OSError):
    """Nobody can listen on the endpoint here: no such interface, folder or permission."""


class InsecureBindError(EndpointError, PermissionError):
    """A server was asked to listen beyond this machine without a CURVE key."""


class ProtocolError(ZMQRuntimeError, ValueError):
    """A message is not what the protocol says it must be."""


class VersionMismatchError(ProtocolError):
    """The peer speaks no protocol version this package speaks."""


class MessageTooLargeError(ProtocolError):
    """A message is larger than the stated limit."""


class PeerError(ZMQRuntimeError):
    """The other side did not do its part."""


class HandshakeTimeout(PeerError, TimeoutError):
    """No peer answered the handshake in time."""


class RequestTimeout(PeerError, TimeoutError):
    """A control request had no answer in time."""


class RemoteError(PeerError):
    """The server answered a request with an error.

    Parameters
    ----------
    code : str
        Short stable name of the error, such as ``"unknown-command"``.
    message : str
        What failed, in the server's words.
    remedy : str
        What to do about it; may be empty.
    """

    def __init__(self, code: str, message: str, remedy: str = "") -> None:
        super().__init__(f"{message} ({remedy})" if remedy else message)
        self.code = code
        self.message = message
        self.remedy = remedy


class PeerBusyError(PeerError):
    """The peer's queue is full; the message was refused, not lost silently."""


class StreamError(ZMQRuntimeError):
    """A stream cannot carry an item."""


class SendTimeout(StreamError, TimeoutError):
    """No credit came within the deadline and the policy is ``block``."""


class StreamClosedError(StreamError):
    """The stream was closed."""


class PolicyError(StreamError, ValueError):
    """A stream policy is not one of ``block``, ``drop`` and ``latest``."""


class ProcessError(ZMQRuntimeError):
    """A server process cannot be handled."""


class ProcessStartError(ProcessError):
    """A server process ended or stayed silent before it was ready."""


class NotOursError(ProcessError):
    """The process that has this pid now is not the one that was meant."""


class KeyFileError(ZMQRuntimeError, OSError):
    """A key file is missing, malformed or readable by others."""


class ConnectionFileError(ZMQRuntimeError, OSError):
    """A connection file, or the folder of them, cannot be used."""
