"""Secrets that have to be kept for a while: sealed with a key that is not in the store, or hidden
from all but who asked for them.

``Key`` is for what a server uses again: AES-256 in Galois counter mode with a random nonce (NIST
SP 800-38D). To whom a secret belongs is part of its seal: moved to another row, it does not open.
The key file holds one key a line and is readable by its owner alone. The first key seals, all of
them open: a new one is put first, and the old one removed when nothing is sealed with it any more.

``Veil`` is for results that are kept for whoever repeats a request.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os

from fastio_cli.errors import FastioError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

KEY_BITS = 256
NONCE_BYTES = 12
FILE_BYTES_MAX = 64 * 1024


class Key:
    """The keys in a file, which is made if it is not there.

    Raises ``unavailable`` when the file cannot be read or written, and ``invalid`` when others may
    read it, it holds no keys, or the library is missing.
    """

    def __init__(self, file: str) -> None:
        aead = _library()
        self._file = file
        try:
            if not os.path.exists(file):
                _create(file, aead.generate_key(KEY_BITS))
            with open(file, "rb") as f:
                if os.name == "posix" and os.fstat(f.fileno()).st_mode & 0o077:
                    raise FastioError(
                        "invalid", f"{file} can be read by others.", f"Run: chmod 600 {file}"
                    )
                lines = f.read(FILE_BYTES_MAX).split()
        except OSError as e:
            raise FastioError(
                "unavailable",
                f"The key file {file} cannot be used: {e.strerror}.",
                "Check its permissions, or name another: FASTIO_SECRET_KEY_FILE",
            ) from None
        try:
            self._ciphers = [aead(base64.b64decode(line, validate=True)) for line in lines]
        except ValueError:
            self._ciphers = []
        if not self._ciphers:
            raise FastioError(
                "invalid",
                f"{file} is not a file of keys.",
                "Restore it from a backup, or name another: FASTIO_SECRET_KEY_FILE",
            )

    def seal(self, text: str, owner: list[str]) -> str:
        """A secret as it may be stored; only the same ``owner`` opens it again."""
        nonce = os.urandom(NONCE_BYTES)
        sealed = self._ciphers[0].encrypt(nonce, text.encode(), _bound(owner))
        return base64.b64encode(nonce + sealed).decode()

    def open(self, sealed: str, owner: list[str]) -> str:
        """The secret. Raises ``unauthenticated`` when none of the keys opens it."""
        from cryptography.exceptions import InvalidTag

        raw = base64.b64decode(sealed)
        for cipher in self._ciphers:
            try:
                opened: bytes = cipher.decrypt(raw[:NONCE_BYTES], raw[NONCE_BYTES:], _bound(owner))
                return opened.decode()
            except InvalidTag:
                continue
        raise FastioError(
            "unauthenticated",
            f"A secret is sealed with a key that is not in {self._file}.",
            "Name the file it was sealed with: FASTIO_SECRET_KEY_FILE",
        )


class Veil:
    """Hides the result of a request behind the idempotency key that it came with.

    The key is stored nowhere: ``name`` is a hash by which the result is found again. What hides the
    result is a pad drawn from key and nonce by SHAKE-256 (FIPS 202), never twice the same. It is as
    strong as the key, of which our own client draws 128 random bits. It needs no library, as locks
    are acquired where there is none.
    """

    def __init__(self, key: str) -> None:
        self._key = key.encode()
        self.name = hashlib.sha256(b"name\0" + self._key).hexdigest()

    def hide(self, text: str) -> str:
        nonce = os.urandom(NONCE_BYTES)
        return base64.b64encode(nonce + self._padded(nonce, text.encode())).decode()

    def show(self, hidden: str) -> str:
        raw = base64.b64decode(hidden)
        return self._padded(raw[:NONCE_BYTES], raw[NONCE_BYTES:]).decode()

    def _padded(self, nonce: bytes, data: bytes) -> bytes:
        pad = hashlib.shake_256(b"pad\0" + nonce + self._key).digest(len(data))
        return (int.from_bytes(data) ^ int.from_bytes(pad)).to_bytes(len(data))


def _bound(owner: list[str]) -> bytes:
    return json.dumps(owner).encode()


def _library() -> Any:
    try:
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM
    except ImportError:
        raise FastioError(
            "invalid",
            "Keeping a secret needs an extra package.",
            "Install it where the store is: pip install 'fastio-durable[server]'",
        ) from None
    return AESGCM


def _create(file: str, key: bytes) -> None:
    """Make the file whole, of mode 0600; whoever comes second uses the first one's."""
    os.makedirs(os.path.dirname(file) or ".", mode=0o700, exist_ok=True)
    temporary = f"{file}.{os.getpid()}.{os.urandom(4).hex()}"
    with open(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as f:
        f.write(base64.b64encode(key) + b"\n")
        f.flush()
        os.fsync(f.fileno())
    try:
        os.link(temporary, file)
    except FileExistsError:
        pass
    finally:
        os.unlink(temporary)
