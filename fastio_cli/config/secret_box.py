"""Secrets that a server uses again, encrypted with a key that is not in the store.

AES-256 in Galois counter mode with a random nonce (NIST SP 800-38D). The owner of a secret is its
associated data: moved to another row, it does not decrypt. The key file is a key ring of one key a
line, readable by its owner alone. The first key encrypts, all of them decrypt: to rotate, a new one
is put first, and the old one removed when nothing is encrypted with it any more.
"""

from __future__ import annotations

import base64
import json
import os

from fastio_cli.errors import FastioError
from fastio_cli.filesystem import make_private_folder

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

KEY_BITS = 256
NONCE_BYTES = 12
FILE_BYTES_MAX = 64 * 1024


class SecretBox:
    """Encrypts and decrypts with the keys in a file, which is made if it is not there.

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

    def encrypt(self, text: str, owner: list[str]) -> str:
        """A secret as it may be stored; only the same ``owner`` decrypts it again."""
        nonce = os.urandom(NONCE_BYTES)
        encrypted = self._ciphers[0].encrypt(nonce, text.encode(), _associated(owner))
        return base64.b64encode(nonce + encrypted).decode()

    def decrypt(self, encrypted: str, owner: list[str]) -> str:
        """The secret. Raises ``unauthenticated`` when none of the keys decrypts it."""
        from cryptography.exceptions import InvalidTag

        raw = base64.b64decode(encrypted)
        for cipher in self._ciphers:
            try:
                text: bytes = cipher.decrypt(
                    raw[:NONCE_BYTES], raw[NONCE_BYTES:], _associated(owner)
                )
                return text.decode()
            except InvalidTag:
                continue
        raise FastioError(
            "unauthenticated",
            f"A secret is encrypted with a key that is not in {self._file}.",
            "Name the file with its key: FASTIO_SECRET_KEY_FILE",
        )


def _associated(owner: list[str]) -> bytes:
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
    """Create the file atomically, with mode 0600; if it exists already, it is used."""
    make_private_folder(os.path.dirname(file) or ".")
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
