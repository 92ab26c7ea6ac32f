"""fastio lock"""

from __future__ import annotations

from contextlib import contextmanager

from fastio_cli.cli.framework.command import Arg, Flag, Opt, command
from fastio_cli.cli.framework.listing import show_list
from fastio_cli.cli.framework.options import (
    ALL,
    CURSOR,
    KEY,
    LIMIT,
    LOCK_TOKEN,
    PATH,
    PREFIX,
    TTL,
    WAIT,
    given,
)
from fastio_cli.cli.shell_commands import SHELLS, fail, forget, remember
from fastio_cli.errors import KINDS, FastioError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from fastio_cli.cli.framework.session import Session

TAKE_OVER = "As: fastio lock acquire PATH --take-over --reason TEXT"
PURPOSE = Opt("--purpose", help="Why, shown to those who wait", metavar="TEXT")


EXPORT = Flag("--export", help='Print commands for the shell, for eval "$(...)"')
SHELL = Opt("--shell", help="Which shell they are for (default: sh)", choices=SHELLS)
REASON = Opt("--reason", help="Why, for the audit log", metavar="TEXT")


@command(
    "lock acquire",
    PATH,
    TTL,
    WAIT,
    PURPOSE,
    Flag("--take-over", help="Break the lock that somebody holds, and take it; for admins"),
    REASON,
    EXPORT,
    SHELL,
    KEY,
    op=("lock.acquire", "lock.take_over"),
)
def acquire(
    cli: Session,
    ttl: float | None,
    wait: float | None,
    take_over: bool,
    reason: str | None,
    export: bool,
    shell: str | None,
    **params: object,
) -> None:
    """Changes need the token of the lock, by --lock-token or FASTIO_LOCK_TOKEN. A token for one
    path says nothing about another.

    Examples:
    fastio lock acquire plan.json --ttl 60 --wait 30 --purpose drafting
    eval "$(fastio lock acquire plan.json --export)"
    fastio lock acquire plan.json --take-over --reason "its holder died"
    """
    with _for_shell(cli, export, shell) as shell:
        if not take_over:
            if reason is not None:
                raise FastioError("invalid", "--reason says why a lock is taken over.", TAKE_OVER)
            lock = cli.call("lock.acquire", **given(ttl_s=ttl, wait_s=wait, **params))
        else:
            if wait is not None:
                raise FastioError(
                    "invalid", "--take-over does not wait: leave --wait out.", TAKE_OVER
                )
            lock = cli.call("lock.take_over", **given(ttl_s=ttl, reason=reason, **params))
    if shell is None:
        cli.out.record(lock, essential="token")
    else:
        cli.out.line(remember(shell, lock))


@command("lock renew", PATH, TTL, LOCK_TOKEN, KEY, op="lock.renew")
def renew(cli: Session, ttl: float | None, **params: object) -> None:
    cli.out.record(
        cli.call("lock.renew", **_held(given(ttl_s=ttl), params)), essential="expires_at"
    )


@command("lock release", PATH, EXPORT, SHELL, LOCK_TOKEN, KEY, op="lock.release")
def release(cli: Session, export: bool, shell: str | None, **params: object) -> None:
    """Example:
    eval "$(fastio lock release plan.json --export)"
    """
    with _for_shell(cli, export, shell) as shell:
        lock = cli.call("lock.release", **_held({}, params))
    if shell is None:
        cli.out.record(lock, essential="fence")
    else:
        cli.out.line(forget(shell))


@command("lock show", PATH, op="lock.show")
def show(cli: Session, path: str) -> None:
    cli.out.record(cli.call("lock.show", path=path), essential="holder")


@command(
    "lock list",
    PREFIX,
    LIMIT,
    CURSOR,
    ALL,
    op="lock.list",
)
def list_(cli: Session, **params: object) -> None:
    columns = "path,holder,purpose,fence,expires_at,waiters"
    show_list(cli, "lock.list", params, columns=columns, essential="path")


@command(
    "lock break",
    PATH,
    REASON,
    KEY,
    op="lock.break",
)
def break_(cli: Session, **params: object) -> None:
    cli.out.record(cli.call("lock.break", **given(**params)), essential="holder")


@command(
    "lock run",
    PATH,
    Arg("command", "The command and its arguments, after --", many=True, complete="command"),
    TTL,
    WAIT,
    PURPOSE,
    op=("lock.acquire", "lock.renew", "lock.release"),
    help="Run a command while holding a lock.",
)
def run(
    cli: Session,
    path: str,
    command: list[str],
    ttl: float | None,
    wait: float | None,
    **params: object,
) -> None:
    """The lock is renewed while the command runs and released when it ends; its exit code is
    passed on. FASTIO_LOCK_TOKEN, FASTIO_LOCK_PATH and FASTIO_LOCK_FENCE are set for it.

    The command is covered with all that it starts: signals reach its whole process group, and what
    still runs when it ends is ended before the lock is released (TERM, after five seconds KILL). If
    the lock is lost, or cannot be renewed in time, everything is stopped.

    Example:
    fastio lock run plan.json --wait 60 -- python step.py
    """
    from fastio_cli.cli.lock_run import run_locked

    run_locked(cli, command, given(path=path, ttl_s=ttl, wait_s=wait, **params))


@contextmanager
def _for_shell(cli: Session, export: bool, shell: str | None) -> Iterator[str | None]:
    """The shell to print commands for, if any: when there is an error, those that fail too."""
    shell = shell or ("sh" if export else None)
    try:
        yield shell
    except FastioError as e:
        if shell is not None:
            if e.code == "lock_lost":
                cli.out.line(forget(shell))
            cli.out.line(fail(shell, KINDS[e.code].exit))
        raise


def _held(extra: dict[str, object], params: dict[str, object]) -> dict[str, object]:
    from fastio_cli.cli.framework.session import lock_token

    token = params["lock_token"] or lock_token()
    if not token:
        raise FastioError(
            "invalid",
            "The lock's token is missing.",
            "Give it as FASTIO_LOCK_TOKEN or with --lock-token @FILE.",
        )
    return {**params, **extra, "lock_token": token}
