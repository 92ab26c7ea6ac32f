"""What a server's answers say: records, errors, and answers that no fastio server gives."""

from __future__ import annotations

import re
import time
from contextlib import closing

import httpx

from fastio_cli.errors import KINDS, FastioError
from fastio_cli.json_text import foreign
from fastio_cli.retry import parse_retry_after

TYPE_CHECKING = False

ANSWER_S = 30.0
ANSWER_BYTES_MAX = 256 * 1024 * 1024  # more than a page of the largest documents
BYTES_PER_S_MIN = 1024
# A proxy answers with these while the server behind it is unavailable; our own errors are JSON.
TRANSIENT_STATUSES = (408, 429, 502, 503, 504)


def read_json(response: httpx.Response, url: str) -> object:
    """The JSON of a response, which is closed then. Raises the error that the response holds."""
    with closing(response):
        body = _read_body(response, url)
    if not response.is_success:
        raise problem_error(response, body, url)
    if "json" in response.headers.get("content-type", ""):
        return parse_json(body, response, url)
    raise unexpected_response(response, url)


def read_record(response: httpx.Response, url: str) -> dict[str, object]:
    """As ``read_json``, where every answer is an object."""
    return _checked_record(read_json(response, url), response, url)


def parse_record(text: str, response: httpx.Response, url: str) -> dict[str, object]:
    """As ``parse_json``, where the value is an object."""
    return _checked_record(parse_json(text, response, url), response, url)


def _checked_record(value: object, response: httpx.Response, url: str) -> dict[str, object]:
    if not isinstance(value, dict):
        raise unexpected_response(response, url)
    return value


def parse_json(text: bytes | str, response: httpx.Response, url: str) -> object:
    """The value of a JSON text that a response holds. Raises ``invalid`` if it is none."""
    try:
        return foreign(text)
    except ValueError:
        raise unexpected_response(response, url) from None


def _read_body(response: httpx.Response, url: str) -> bytes:
    """The body, of limited size and not below a minimum speed."""
    parts, size, started = [], 0, time.monotonic()
    for part in response.iter_bytes():
        parts.append(part)
        size += len(part)
        if size > ANSWER_BYTES_MAX:
            raise unexpected_response(response, url)
        lasted_s = time.monotonic() - started
        if lasted_s > ANSWER_S and size < lasted_s * BYTES_PER_S_MIN:
            raise httpx.ReadTimeout("the answer comes too slowly")
    return b"".join(parts)


def problem_error(response: httpx.Response, body: bytes, url: str) -> FastioError:
    """The error that a response holds as problem details (RFC 9457)."""
    try:
        problem = foreign(body) if "json" in response.headers.get("content-type", "") else None
    except ValueError:
        problem = None
    error = parse_problem(problem)
    if error is None:
        error = unexpected_response(response, url)
    error.hint = error.hint.replace("fastio login URL", f"fastio login {url}")
    retry_after_s = parse_retry_after(response.headers.get("retry-after"))
    if retry_after_s is not None and error.code in ("rate_limited", "unavailable"):
        error.details = {"retry_after_s": retry_after_s, **error.details}
    return error


def parse_problem(problem: object) -> FastioError | None:
    """The error that ``FastioError.as_dict`` made this of; None if it is none."""
    if not isinstance(problem, dict):
        return None
    code, hint, details = problem.get("code"), problem.get("hint"), problem.get("details")
    if not isinstance(code, str) or code not in KINDS:
        return None
    error = FastioError(code, str(problem.get("message") or code))
    error.hint = hint if isinstance(hint, str) else error.hint
    error.details = details if isinstance(details, dict) else {}
    return error


def unexpected_response(response: httpx.Response, url: str) -> FastioError:
    """An answer that no fastio server gives: a proxy's error page, a captive portal."""
    status, headers = response.status_code, response.headers
    media_type = headers.get("content-type", "no type").partition(";")[0]
    hint = "Check the address, and whether a proxy or a login page of the network is in between."
    if status in (301, 302, 303, 307, 308):
        media_type = f"on to {headers.get('location', 'nowhere')[:200]}"
    elif status == 407:
        hint = "The proxy wants a password: export HTTPS_PROXY=http://USER:PASSWORD@HOST:PORT"
    return FastioError(
        "unavailable" if status in TRANSIENT_STATUSES else "invalid",
        f"{url} did not answer as a fastio server does: HTTP {status}, {media_type}.",
        hint,
        status=status,
    )


def unreachable(url: str, error: httpx.RequestError) -> FastioError:
    """The error for a request without an answer. Raises it if a retry cannot help."""
    reason = re.sub(r"\[Errno -?\d+\] ", "", str(error)) or type(error).__name__
    failure = FastioError(
        "unavailable",
        f"{url} cannot be reached: {reason.rstrip('.')}.",
        f"Is the address right, and the server up? curl {url}/healthz",
    )
    if "CERTIFICATE_VERIFY_FAILED" in reason:
        failure.hint = "For a private certificate authority: export SSL_CERT_FILE=ca.pem"
    elif "WRONG_VERSION_NUMBER" in reason or "record layer" in reason:
        failure.hint = f"It speaks no TLS there; try http://{url.partition('://')[2]}"
    elif isinstance(error, httpx.ProxyError):
        failure.hint = "Check the proxy: env | grep -i _proxy"
        if "407" not in reason:
            return failure
    elif isinstance(error, httpx.UnsupportedProtocol | httpx.LocalProtocolError):
        failure = FastioError("invalid", f"{url} is not a server's URL: {reason.rstrip('.')}.")
    else:
        return failure
    raise failure from None


def transient(error: FastioError) -> FastioError:
    """The error, if a retry may succeed; raises any other one."""
    if error.code not in ("rate_limited", "unavailable"):
        raise error
    return error


def was_connected(error: Exception) -> bool:
    """Whether a connection existed when the request failed."""
    return not isinstance(error, httpx.ConnectError | httpx.ConnectTimeout | httpx.PoolTimeout)
