"""The line to a server: its one connection, what is trusted, how long it is tried again, and what
its answers say or fail to say."""

from __future__ import annotations

import json
import os
import re
import time
from contextlib import closing
from urllib.parse import urlsplit

import httpx

from fastio_cli import __version__
from fastio_cli.errors import KINDS, FastioError
from fastio_cli.retry import FOREVER, Retries, RetryPolicy, parse_retry_after

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

CONNECT_S = 10.0
ANSWER_S = 30.0
# A request that was held for longer than this before it was cut was with a server that lived.
UPTIME_MIN_S = 1.0
BACKOFF_S = 0.1
BACKOFF_MAX_S = 5.0
NOTE_AFTER_S = 0.8  # from a longer bound of a pause on, who looks on is told what is waited for
ANSWER_BYTES_MAX = 256 * 1024 * 1024  # more than a page of the largest documents
BYTES_PER_S_MIN = 1024
# Answers of proxies whose server is away for a moment; our own say it in JSON.
TRANSIENT_STATUSES = (408, 429, 502, 503, 504)


def server_url(text: str) -> str:
    """A server's URL in the form it is kept in. Raises ``invalid``."""
    url = text.strip().rstrip("/")
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError as e:
        raise FastioError("invalid", f"{text!r} is not a server's URL: {e}.") from None
    if parts.scheme not in ("http", "https") or not host:
        raise FastioError(
            "invalid", f"{text!r} is not a server's URL.", "As in: https://fastio.example.org"
        )
    if "@" in parts.netloc or parts.query or parts.fragment:
        raise FastioError(
            "invalid",
            "A server's URL holds no user, password or query.",
            f"Who you are is said by the token: fastio login {parts.scheme}://{host}",
        )
    return url


def open_client(url: str, token: str | None, ca_file: str | None) -> httpx.Client:
    """The connection to a server, opened at the first request. Raises ``invalid``.

    ``ca_file`` holds certificate authorities to trust besides the public ones. Proxies and
    SSL_CERT_FILE are taken from the environment, as httpx does.
    """
    headers = {"user-agent": f"fastio/{__version__}", "accept-encoding": "identity"}
    if token is not None:
        headers["authorization"] = f"Bearer {token}"
    try:
        # Certificates are loaded only where they are used; redirects are not followed.
        verify: Any = url.startswith("https://")
        if verify and ca_file is not None:
            verify = httpx.create_ssl_context()
            verify.load_verify_locations(ca_file)
        return httpx.Client(headers=headers, timeout=within(ANSWER_S), verify=verify)
    except ImportError as e:  # a SOCKS proxy
        raise FastioError("invalid", str(e), "Install it: pip install socksio") from None
    except (httpx.InvalidURL, ValueError, OSError) as e:
        given = ca_file or os.environ.get("SSL_CERT_FILE") or os.environ.get("SSL_CERT_DIR")
        where = f" (certificates: {given})" if given else ""
        raise FastioError(
            "invalid",
            f"A proxy or certificate setting is wrong: {e}{where}.",
            "Look at: env | grep -i -e _proxy -e SSL_CERT",
        ) from None


def within(answer_s: float, connect_s: float = CONNECT_S) -> httpx.Timeout:
    """Time limits of a request."""
    return httpx.Timeout(answer_s, connect=connect_s)


def retries(
    away_s: float, total_s: float = FOREVER, note: Callable[[str], None] | None = None
) -> Retries:
    """The attempts of a request while the server is away, for ``away_s`` in a row.

    A ``note`` is told once that it is being waited for, if that takes longer than a moment.
    """
    policy = RetryPolicy(BACKOFF_S, BACKOFF_MAX_S, deadline_s=away_s)
    return Retries(policy, total_s=total_s, on_wait=note and _telling(note, away_s))


def _telling(note: Callable[[str], None], away_s: float) -> Callable[[FastioError, float], None]:
    is_told = False

    def tell(failure: FastioError, bound_s: float) -> None:
        nonlocal is_told
        if not is_told and bound_s > NOTE_AFTER_S:
            is_told = True
            note(f"{failure.message} Trying again for up to {away_s:g} seconds.")

    return tell


def json_of(response: httpx.Response, url: str) -> Any:
    """The record that a response holds; the response is closed. Raises the error it tells."""
    with closing(response):
        body = _read(response, url)
    if not response.is_success:
        raise problem_of(response, body, url)
    try:
        if "json" in response.headers.get("content-type", ""):
            return json.loads(body)
    except ValueError:
        pass
    raise unexpected_response(response, url)


def _read(response: httpx.Response, url: str) -> bytes:
    """The body; neither endless, nor endlessly slow."""
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


def problem_of(response: httpx.Response, body: bytes, url: str) -> FastioError:
    """The error that a response tells as problem details."""
    try:
        problem = json.loads(body) if "json" in response.headers.get("content-type", "") else None
    except ValueError:
        problem = None
    error = error_of(problem)
    if error is None:
        error = unexpected_response(response, url)
    error.hint = error.hint.replace("fastio login URL", f"fastio login {url}")
    retry_after_s = parse_retry_after(response.headers.get("retry-after"))
    if retry_after_s is not None and error.code in ("rate_limited", "unavailable"):
        error.details = {"retry_after_s": retry_after_s, **error.details}
    return error


def error_of(problem: Any) -> FastioError | None:
    """The error that its ``as_dict`` made; None if this is none."""
    if not isinstance(problem, dict) or problem.get("code") not in KINDS:
        return None
    code, hint, details = problem["code"], problem.get("hint"), problem.get("details")
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
    """Why there was no answer. Raises it at once when trying again would not help."""
    reason = re.sub(r"\[Errno -?\d+\] ", "", str(error)) or type(error).__name__
    failure = FastioError(
        "unavailable",
        f"{url} cannot be reached: {reason.rstrip('.')}.",
        f"Is the address right, and the server up? curl {url}/healthz",
    )
    if "CERTIFICATE_VERIFY_FAILED" in reason:
        failure.hint = "For an authority of your own: export SSL_CERT_FILE=ca.pem"
    elif "WRONG_VERSION_NUMBER" in reason or "record layer" in reason:
        failure.hint = f"It speaks no TLS there; try http://{url.partition('://')[2]}"
    elif isinstance(error, httpx.ProxyError):
        failure.hint = "Look at the proxy: env | grep -i _proxy"
        if "407" not in reason:
            return failure
    elif isinstance(error, httpx.UnsupportedProtocol | httpx.LocalProtocolError):
        failure = FastioError("invalid", f"{url} is not a server's URL: {reason.rstrip('.')}.")
    else:
        return failure
    raise failure from None


def was_connected(error: Exception) -> bool:
    """Whether somebody had taken the request before it failed."""
    return not isinstance(error, httpx.ConnectError | httpx.ConnectTimeout | httpx.PoolTimeout)
