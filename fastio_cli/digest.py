"""SHA-256 without the price of ``hashlib``, where that matters.

``hashlib`` loads OpenSSL, which takes a quarter of the time that a bare Python takes to start. Most
commands hash nothing, or only a few bytes, for which the function that CPython has itself will do.
"""

import sys

SMALL_BYTES_MAX = 4096  # OpenSSL is several times as fast, which tells from here on

TYPE_CHECKING = False
if TYPE_CHECKING:
    from hashlib import sha256 as sha256
else:

    def sha256(data: bytes = b""):
        """``hashlib.sha256``."""
        is_small = 0 < len(data) <= SMALL_BYTES_MAX
        return (_small() if is_small and "hashlib" not in sys.modules else _any())(data)

    def _any():
        from hashlib import sha256

        return sha256

    def _small():
        try:
            if sys.version_info >= (3, 12):
                from _sha2 import sha256
            else:
                from _sha256 import sha256
        except ImportError:  # a Python that was built without them
            return _any()
        return sha256


EMPTY = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"  # of no bytes
