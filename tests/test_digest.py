"""The digests that are computed without OpenSSL are the standard ones."""

from __future__ import annotations

import hashlib
import hmac

from hypothesis import given
from hypothesis import strategies as st

from fastio_cli.digest import EMPTY, hmac_sha256, sha256


@given(st.binary(max_size=5000))
def test_sha256_is_the_standard_one(data: bytes) -> None:
    assert sha256(data).digest() == hashlib.sha256(data).digest()
    assert sha256().hexdigest() == EMPTY


@given(st.binary(max_size=64), st.binary(max_size=5000))
def test_hmac_is_the_standard_one(key: bytes, message: bytes) -> None:
    assert hmac_sha256(key, message) == hmac.digest(key, message, "sha256")
