"""The tokens of locks: secrets that also say which path they are for.

A token is ``lk_`` and 48 hexadecimal digits: 12 of a digest of its path, 28 that nobody can tell
without the store's key, and 8 of a digest of these 40. So a token of another path is told apart
from one of this path that is no longer live, and both from a token that was mistyped.

What has to hold a lock without keeping its token, such as an import, keeps its *proof*: the digest
of the token, behind the digits of its path where there are any.
"""

from fastio_cli.digest import sha256
from fastio_cli.json_text import canonical

PREFIX = "lk_"
PATH_DIGITS = 12
SECRET_DIGITS = 28
CHECK_DIGITS = 8
_LENGTH = len(PREFIX) + PATH_DIGITS + SECRET_DIGITS + CHECK_DIGITS


def derive(key: bytes, workspace_id: int, path: str, fence: int, acquired_at: str) -> str:
    """The token of one grant.

    The time is in it because a store that was restored from a backup gives out fences again.
    """
    grant = canonical(["fastio lock token", workspace_id, path, fence, acquired_at])
    import hmac  # it loads OpenSSL, which no other command of the hot path needs

    secret = hmac.digest(key, grant, "sha256").hex()[:SECRET_DIGITS]
    digits = _path_digits(workspace_id, path) + secret
    return PREFIX + digits + _check_digits(digits)


def token_hash(token: str) -> str:
    """How a lock's token is kept: only its SHA-256."""
    return sha256(token.encode()).hexdigest()


def proof(token: str) -> str:
    """What is kept of a token to check a lock with it later."""
    digits = token[len(PREFIX) : -CHECK_DIGITS]
    is_whole = len(token) == _LENGTH and token == PREFIX + digits + _check_digits(digits)
    return f"{digits[:PATH_DIGITS]}:{token_hash(token)}" if is_whole else token_hash(token)


def hash_in(proof: str) -> str:
    """The token's hash in a proof."""
    return proof.rpartition(":")[2]


def is_of_another(proof: str, workspace_id: int, path: str) -> bool:
    """Whether a proof is of the lock on another path, in this workspace or any other."""
    digits, _, _ = proof.rpartition(":")
    return bool(digits) and digits != _path_digits(workspace_id, path)


def covering_paths(path: str) -> list[str]:
    """The paths whose lock covers this one: itself, then its folders, the nearest first."""
    parts = path.removesuffix("/").split("/")
    return [path, *("/".join(parts[:n]) + "/" for n in range(len(parts) - 1, 0, -1))]


def _path_digits(workspace_id: int, path: str) -> str:
    return sha256(f"{workspace_id}/{path}".encode()).hexdigest()[:PATH_DIGITS]


def _check_digits(digits: str) -> str:
    return sha256(digits.encode()).hexdigest()[:CHECK_DIGITS]
