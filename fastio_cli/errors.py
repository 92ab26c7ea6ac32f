"""The one error type of fastio, and the one table that says what each error code means.

Every failure that a user can cause or meet is a :class:`FastioError`. Its code is stable, so that
programs can branch on it. The table maps a code to an HTTP status (RFC 9110, RFC 4918 for 423), a
process exit code, and whether the same call may succeed later without any change.
"""


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
    """

    def __init__(self, code: str, message: str, hint: str | None = None, **details: object) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.hint = hint if hint is not None else KINDS[code].hint
        for name in ("path", "url"):
            self.hint = _quoted(self.hint, details.get(name))
        self.details = details

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


def _quoted(hint: str, value: object) -> str:
    """The hint with this word of its command quoted for a POSIX shell."""
    sentence, colon, command = hint.partition(": fastio ")
    if not isinstance(value, str) or all(c.isalnum() or c in "@%+=:,./_-" for c in value):
        return hint
    word = "'" + value.replace("'", "'\\''") + "'"
    return sentence + colon + command.replace(f" {value}", f" {word}")
