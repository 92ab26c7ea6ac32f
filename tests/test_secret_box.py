"""Encrypted secrets, and the file of the keys."""

from __future__ import annotations

import base64
import os
import stat
import sys
import threading
from pathlib import Path

import pytest

from fastio_cli.config.secret_box import SecretBox
from fastio_cli.errors import FastioError

OWNER = ["account", "acme", "ada", "box"]


@pytest.fixture
def file(tmp_path: Path) -> str:
    return str(tmp_path / "made" / "secret.key")


def test_what_was_encrypted_decrypts_for_its_owner_alone(file: str) -> None:
    encrypted = SecretBox(file).encrypt("at-1 ü", OWNER)
    assert "at-1" not in encrypted
    assert SecretBox(file).decrypt(encrypted, OWNER) == "at-1 ü"
    for other in (["account", "acme", "bob", "box"], ["account", "acme/ada", "box"], []):
        with pytest.raises(FastioError, match="not in"):
            SecretBox(file).decrypt(encrypted, other)


def test_the_same_secret_never_looks_the_same(file: str) -> None:
    box = SecretBox(file)
    assert len({box.encrypt("at-1", OWNER) for _ in range(100)}) == 100


@pytest.mark.parametrize("at", [0, 11, 12, 20, -1])
def test_a_changed_text_does_not_decrypt(file: str, at: int) -> None:
    raw = bytearray(base64.b64decode(SecretBox(file).encrypt("a secret", OWNER)))
    raw[at] ^= 1
    with pytest.raises(FastioError) as caught:
        SecretBox(file).decrypt(base64.b64encode(raw).decode(), OWNER)
    assert caught.value.code == "unauthenticated"
    assert "FASTIO_SECRET_KEY_FILE" in str(caught.value.hint)


def test_the_file_is_made_once_and_private(file: str) -> None:
    """Whoever comes at the same time uses the same key."""
    start = threading.Barrier(8)
    encrypted: list[str] = []

    def encrypt() -> None:
        start.wait()
        encrypted.append(SecretBox(file).encrypt("x", OWNER))

    threads = [threading.Thread(target=encrypt) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert [SecretBox(file).decrypt(s, OWNER) for s in encrypted] == ["x"] * 8
    assert stat.S_IMODE(os.stat(file).st_mode) == 0o600
    assert os.listdir(os.path.dirname(file)) == ["secret.key"]
    assert len(base64.b64decode(Path(file).read_bytes())) == 32


def test_a_new_key_is_put_before_the_old_one(file: str) -> None:
    old = SecretBox(file).encrypt("old", OWNER)
    lines = Path(file).read_bytes()
    Path(file).write_bytes(base64.b64encode(os.urandom(32)) + b"\n" + lines)
    new = SecretBox(file).encrypt("new", OWNER)
    assert SecretBox(file).decrypt(old, OWNER) == "old"
    Path(file).write_bytes(Path(file).read_bytes().splitlines()[0])
    assert SecretBox(file).decrypt(new, OWNER) == "new"
    with pytest.raises(FastioError, match="not in"):
        SecretBox(file).decrypt(old, OWNER)


@pytest.mark.parametrize("text", ["", "nonsense", "AAAA", "\xff", "A" * 43])
def test_what_is_no_key_is_refused(tmp_path: Path, text: str) -> None:
    file = tmp_path / "secret.key"
    file.write_bytes(text.encode("latin-1"))
    file.chmod(0o600)
    with pytest.raises(FastioError, match="not a file of keys"):
        SecretBox(str(file))


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o666])
def test_a_file_that_others_may_read_is_refused(file: str, mode: int) -> None:
    SecretBox(file)
    os.chmod(file, mode)
    with pytest.raises(FastioError, match="read by others") as caught:
        SecretBox(file)
    assert caught.value.hint == f"Run: chmod 600 {file}"


def test_places_where_no_file_can_be(tmp_path: Path) -> None:
    (tmp_path / "f").write_text("")
    for file in (tmp_path / "f" / "secret.key", tmp_path):
        with pytest.raises(FastioError) as caught:
            SecretBox(str(file))
        assert caught.value.code in ("unavailable", "invalid")


def test_without_the_library_it_says_what_to_install(
    file: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "cryptography.hazmat.primitives.ciphers.aead", None)
    with pytest.raises(FastioError, match="extra package") as caught:
        SecretBox(file)
    assert "fastio-durable[server]" in str(caught.value.hint)
