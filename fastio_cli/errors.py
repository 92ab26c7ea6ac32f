"""The one error type of fastio, and the one table that says what each error code means.

Every failure that a user can cause or meet is a :class:`FastioError`. Its code is stable: programs
can branch on it. The table maps a code to an HTTP status (RFC 9110, RFC 4918 for 423), a process
exit code, and whether the same call may succeed later without any change. Each code has a class.
"""

from __future__ import annotations


class Kind:
    """The meaning of a code: HTTP status, exit code, default hint, whether a retry may succeed."""

    __slots__ = ("exit", "hint", "http", "retryable")

    def __init__(self, http: int, exit: int, hint: str, retryable: bool = False) -> None:
        self.http = http
        self.exit = exit
        self.hint = hint
        self.retryable = retryable


KINDS: dict[str, Kind] = {
    "invalid": Kind(400, 2, "Check the value and try again: fastio help"),
    "schema_violation": Kind(422, 2, "Change the value so that it fits the object's JSON Schema."),
    "unauthenticated": Kind(401, 4, "Log in first."),
    "forbidden": Kind(403, 4, "Ask somebody who may do this to do it, or to give you the role."),
    "blocked_url": Kind(403, 4, "Use a public http or https address."),
    "not_found": Kind(404, 3, "List what is there: fastio file list"),
    "already_exists": Kind(409, 5, "Choose another name, or use what is there."),
    "version_conflict": Kind(412, 5, "Read the object again, then repeat the change."),
    "lock_lost": Kind(412, 5, "Acquire the lock again, read the object, then repeat the change."),
    "locked": Kind(423, 6, "Wait for the lock: fastio lock acquire PATH --wait 60", True),
    "timeout": Kind(408, 7, "Wait longer with --timeout or --wait.", True),
    "quota_exceeded": Kind(402, 8, "Delete what is not needed, or raise the limit."),
    "too_large": Kind(413, 8, "Split the value, or store it as a file."),
    "rate_limited": Kind(429, 8, "Wait a little, then try again.", True),
    "unavailable": Kind(503, 9, "Try again; if it stays so: fastio doctor", True),
    "internal": Kind(500, 1, "Set FASTIO_DEBUG=1 to see where it failed, and report it."),
    "interrupted": Kind(499, 130, "Nothing was left half done. Run the command again."),
}


class FastioError(Exception):
    """A failure with a stable code, a message, a hint that says what to do, and details.

    Parameters: ``code`` is a key of :data:`KINDS`; ``message`` one sentence; ``hint`` a runnable
    suggestion (default: the code's own); ``details`` plain JSON data for programs. A ``path`` or
    ``url`` among them is shell-quoted in the hint, so that a hint can be run safely.

    An error created with a code is an instance of that code's own class, so that Python programs
    can catch :class:`VersionConflict` and read ``error.current_version``.
    """

    def __new__(cls, code: str = "", *args: object, **details: object) -> FastioError:
        return super().__new__(CLASSES.get(code, cls) if cls is FastioError else cls)

    def __init__(self, code: str, message: str, hint: str | None = None, **details: object) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.hint = hint if hint is not None else KINDS[code].hint
        for name in ("path", "url"):
            self.hint = _quoted(self.hint, details.get(name))
        self.details = details

    def __getattr__(self, name: str) -> object:
        """What an error's details say of this name."""
        if name != "details" and name in self.details:
            return self.details[name]
        raise AttributeError(f"{type(self).__name__} has no {name!r}", name=name, obj=self)

    def __str__(self) -> str:
        return self.message  # not what it was created with: a caller may say more in it

    def __reduce__(self) -> tuple[object, ...]:
        return _restored, (self.code, self.message, self.hint, self.details)

    @property
    def kind(self) -> Kind:
        """The row of :data:`KINDS` for this error."""
        return KINDS[self.code]

    @property
    def is_retryable(self) -> bool:
        """Whether the same call may succeed later: never if ``transient`` is false in details."""
        return self.kind.retryable and self.details.get("transient") is not False

    def as_dict(self) -> dict[str, object]:
        """The error as plain JSON data, the same on every surface."""
        return {
            "code": self.code,
            "message": self.message,
            "hint": self.hint,
            "details": self.details,
            "retryable": self.is_retryable,
        }


class Invalid(FastioError):
    """A parameter, setting or request makes no sense."""


class SchemaViolation(FastioError):
    """A value would break the JSON Schema of its object, at ``pointer``."""

    path: str
    pointer: str


class Unauthenticated(FastioError):
    """There is no token, or it is not, or no longer, valid."""


class Forbidden(FastioError):
    """The token or its member may not do this."""


class BlockedUrl(FastioError):
    """A request would go to an address that is not public."""


class NotFound(FastioError):
    """There is no such thing."""


class AlreadyExists(FastioError):
    """There is one already, or the request was done before."""


class VersionConflict(FastioError):
    """The object is at ``current_version``, not at ``expected_version``."""

    path: str
    current_version: int
    expected_version: int


class LockLost(FastioError):
    """The lock ended: it expired, or was released or broken."""

    path: str
    holder: str | None
    fence: int | None


class Locked(FastioError):
    """Somebody else holds the lock."""

    path: str
    holder: str
    purpose: str
    fence: int | None
    expires_at: str
    retry_after_s: float
    queue_position: int


class Timeout(FastioError):
    """What was waited for did not happen in time."""


class QuotaExceeded(FastioError):
    """A limit of storage or credits is reached."""


class TooLarge(FastioError):
    """A value or request is larger than what is taken."""


class RateLimited(FastioError):
    """There were too many requests; ``retry_after_s`` says when to come again."""

    retry_after_s: float


class Unavailable(FastioError):
    """The store, server or service cannot be reached or used."""


class Internal(FastioError):
    """A fault in fastio itself."""


class Interrupted(FastioError):
    """The work was stopped."""


CLASSES: dict[str, type[FastioError]] = {
    "invalid": Invalid,
    "schema_violation": SchemaViolation,
    "unauthenticated": Unauthenticated,
    "forbidden": Forbidden,
    "blocked_url": BlockedUrl,
    "not_found": NotFound,
    "already_exists": AlreadyExists,
    "version_conflict": VersionConflict,
    "lock_lost": LockLost,
    "locked": Locked,
    "timeout": Timeout,
    "quota_exceeded": QuotaExceeded,
    "too_large": TooLarge,
    "rate_limited": RateLimited,
    "unavailable": Unavailable,
    "internal": Internal,
    "interrupted": Interrupted,
}


def _restored(code: str, message: str, hint: str, details: dict[str, object]) -> FastioError:
    error = FastioError(code, message, hint)
    error.hint, error.details = hint, details  # whose names may be anything
    return error


def _quoted(hint: str, value: object) -> str:
    """The hint with this word of its command quoted for a POSIX shell."""
    sentence, colon, command = hint.partition(": fastio ")
    if not isinstance(value, str) or all(c.isalnum() or c in "@%+=:,./_-" for c in value):
        return hint
    word = "'" + value.replace("'", "'\\''") + "'"
    return sentence + colon + command.replace(f" {value}", f" {word}")
