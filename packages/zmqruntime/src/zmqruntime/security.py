"""CURVE keys: who may talk to a server that other machines can reach.

What each choice gives:

* **No keys.** Messages are neither encrypted nor checked. Allowed on ipc (the socket file and its folder
  belong to the user) and on tcp over the loopback interface, where every user of this machine can connect.
  Beyond that, binding is refused (`require_key_for`).
* **`KeyPair`.** Traffic is encrypted and authenticated, and a client knows that it talks to the server it
  means. Any client that knows the server's *public* key is let in: hand that key out as you would a
  password, for it is all that keeps strangers away.
* **`ServerKeys` with `allowed_clients`.** The same, and only clients whose own public key is on the list are
  let in, whatever else they know. Each client needs a `KeyPair` of its own.

A peer that is refused sees no error: ZeroMQ closes its connection, nothing it sends is delivered, and its
requests time out. A client that is not on the list is not tried again by ZeroMQ either: once it is on it,
make a new client.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import zmq

from zmqruntime.errors import InsecureBindError, KeyFileError

if TYPE_CHECKING:
    from zmqruntime.config import Endpoint

KEY_LENGTH = 40
"""Characters of a key in Z85, the text form of its 32 bytes."""

MAX_KEY_FILE = 64 * 1024
"""A larger file is no key file."""

_Z85 = re.compile(rb"[0-9a-zA-Z.\-:+=^!/*?&<>()\[\]{}@%$#]{40}")
_FIELD = re.compile(rb'^\s*(public|secret)-key\s*=\s*"([^"\n]*)"\s*$', re.MULTILINE)


def check_key(key: bytes | str, what: str = "key") -> bytes:
    """Return `key` as 40 bytes of Z85.

    Raises
    ------
    KeyFileError
        It is no CURVE key.
    """
    data = key.encode() if isinstance(key, str) else bytes(key)
    if not _Z85.fullmatch(data):
        raise KeyFileError(
            f"the {what} is not a CURVE key: {KEY_LENGTH} characters of Z85 expected, got {len(data)}"
        )
    return data


class KeyPair:
    """A public and a secret CURVE key.

    Parameters
    ----------
    public, secret : bytes
        Z85, 40 bytes each.

    Notes
    -----
    The secret shows in no repr, and the pair refuses to be pickled: hand over the path of its file.

    Raises
    ------
    KeyFileError
        They are not keys, or do not belong together.
    """

    __slots__ = ("_public", "_secret")

    def __init__(self, public: bytes, secret: bytes) -> None:
        self._public = check_key(public, "public key")
        self._secret = check_key(secret, "secret key")
        if zmq.curve_public(self._secret) != self._public:
            raise KeyFileError(f"the secret key does not belong to the public key {self._public.decode()}")

    @staticmethod
    def generate() -> KeyPair:
        """Return a new pair from the system's random numbers."""
        return KeyPair(*zmq.curve_keypair())

    @staticmethod
    def load(path: Path | str) -> KeyPair:
        """Return the pair in a file that `save` wrote.

        Raises
        ------
        KeyFileError
            The file is missing, belongs to or can be read by others, or holds no secret key.
        """
        fields = _read_fields(Path(path), private=True)
        if "public" not in fields or "secret" not in fields:
            raise KeyFileError(
                f"{str(path)!r} holds no key pair: make one with KeyPair.generate().save(path)"
            )
        return KeyPair(fields["public"], fields["secret"])

    def save(self, path: Path | str) -> Path:
        """Write the pair to a new file that only its owner can read, in the format of `zmq.auth`.

        Raises
        ------
        KeyFileError
            The file exists already (it is never overwritten), or cannot be written.
        """
        return _write_new(Path(path), self._fields() + f'    secret-key = "{self._secret.decode()}"\n', 0o600)

    def save_public(self, path: Path | str) -> Path:
        """Write the public key alone to a new file, for the other side. See `save` for the errors."""
        return _write_new(Path(path), self._fields(), 0o644)

    def _fields(self) -> str:
        return f'# CURVE key of zmqruntime\ncurve\n    public-key = "{self._public.decode()}"\n'

    @property
    def public(self) -> bytes:
        """The public key, Z85."""
        return self._public

    @property
    def secret(self) -> bytes:
        """The secret key, Z85."""
        return self._secret

    def guard(self, sock: zmq.Socket[Any]) -> None:
        """Restrict who may connect to the server socket `sock`; called before it is bound.

        Here nothing: every client that knows the public key may.
        """

    def __repr__(self) -> str:
        return f"{type(self).__name__}(public={self._public.decode()!r}, secret=<hidden>)"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, KeyPair) and other._public == self._public

    def __hash__(self) -> int:
        return hash(self._public)

    def __reduce__(self) -> NoReturn:
        raise TypeError("a secret key is never pickled: hand over the path of its file and load it there")


class ServerKeys(KeyPair):
    """A server's pair, with the list of clients it lets in.

    Parameters
    ----------
    keys : KeyPair
        The server's own.
    allowed_clients : iterable of bytes or str, optional
        Public keys (Z85). None lets every client in that knows the server's public key; an empty list
        lets nobody in.

    Raises
    ------
    KeyFileError
        An entry is no key.
    """

    __slots__ = ("allowed_clients",)

    def __init__(self, keys: KeyPair, allowed_clients: Iterable[bytes | str] | None = None) -> None:
        super().__init__(keys.public, keys.secret)
        self.allowed_clients: frozenset[bytes] | None = None
        if allowed_clients is not None:
            self.allowed_clients = frozenset(check_key(key, "client's key") for key in allowed_clients)

    def guard(self, sock: zmq.Socket[Any]) -> None:
        """Let only the allowed clients connect to `sock`; called before it is bound."""
        if self.allowed_clients is not None:
            from zmqruntime import _zap

            _zap.restrict(sock, self.allowed_clients)


def read_public_key(text: str) -> bytes:
    """Return the public key that `text` is, or that stands in the file named `text`.

    Raises
    ------
    KeyFileError
        It is neither a key nor a file with one.
    """
    if _Z85.fullmatch(text.encode()) and not Path(text).exists():
        return text.encode()
    fields = _read_fields(Path(text), private=False)
    if "public" not in fields:
        raise KeyFileError(f"{text!r} holds no public key: KeyPair.save_public writes such a file")
    return check_key(fields["public"], "public key")


def require_key_for(endpoint: Endpoint, keys: KeyPair | None) -> None:
    """Return when a server may listen on `endpoint` with these keys.

    Raises
    ------
    InsecureBindError
        Other machines can reach it, and there is no key.
    """
    if keys is None and not endpoint.is_loopback:
        raise InsecureBindError(
            f"refusing to listen on {endpoint} without a key, other machines could reach it: give a CURVE key "
            "(--key FILE; keys=KeyPair.load(...) in Python), or listen on localhost and use an ssh tunnel "
            f"(ssh -L {endpoint.data_port}:localhost:{endpoint.data_port} "
            f"-L {endpoint.control_port}:localhost:{endpoint.control_port} HOST)"
        )


def _read_fields(path: Path, *, private: bool) -> dict[str, bytes]:
    try:
        with path.open("rb") as file:
            info = os.fstat(file.fileno())
            if private and hasattr(os, "getuid"):
                if info.st_uid not in (os.getuid(), 0):
                    raise KeyFileError(
                        f"{str(path)!r} belongs to user {info.st_uid}: use a key file of your own"
                    )
                if stat.S_IMODE(info.st_mode) & 0o077:
                    raise KeyFileError(f"{str(path)!r} can be read by others: run 'chmod 600 {path}'")
            data = file.read(MAX_KEY_FILE + 1)
    except KeyFileError:
        raise
    except OSError as error:
        raise KeyFileError(f"cannot read the key file {str(path)!r}: {error.strerror}") from error
    if len(data) > MAX_KEY_FILE:
        raise KeyFileError(f"{str(path)!r} is larger than any key file")
    return {name.decode(): value for name, value in _FIELD.findall(data)}


def _write_new(path: Path, text: str, mode: int) -> Path:
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0)
        with os.fdopen(os.open(path, flags, mode), "w", encoding="ascii") as file:
            file.write(text)
    except FileExistsError as error:
        raise KeyFileError(
            f"{str(path)!r} exists and is not overwritten: remove it, or give another path"
        ) from error
    except OSError as error:
        raise KeyFileError(f"cannot write the key file {str(path)!r}: {error.strerror}") from error
    return path
