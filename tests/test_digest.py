"""The digests that are computed without OpenSSL are the standard ones."""

from __future__ import annotations

import hashlib

from hypothesis import given
from hypothesis import strategies as st

from fastio_cli.digest import EMPTY, sha256


@given(st.binary(max_size=5000))
def test_sha256_is_the_standard_one(data: bytes) -> None:
    assert sha256(data).digest() == hashlib.sha256(data).digest()
    assert sha256().hexdigest() == EMPTY
