"""SHA-256, loaded when it is first needed.

``hashlib`` loads OpenSSL, which costs a quarter of the time that a bare Python takes to start; a
command that only reads, help, errors and completions need no hash.
"""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from hashlib import sha256 as sha256
else:

    def sha256(data: bytes = b""):
        """``hashlib.sha256``."""
        import hashlib

        return hashlib.sha256(data)


EMPTY = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"  # of no bytes
