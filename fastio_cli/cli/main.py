"""The entry point: parse the command line, run the command, print, exit.

A command flushes its output and exits at once: an orderly shutdown of the interpreter takes as long
as a small command, and nothing is lost, because writes are durable before they are acknowledged.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]  # see __main__
import errno
import os
import sys

from fastio_cli.cli.framework.exit import Exit
from fastio_cli.errors import KINDS, FastioError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

BROKEN_PIPE = 141  # what a shell reports for a process ended by SIGPIPE


def main() -> NoReturn:
    """The ``fastio`` command."""
    import gc

    gc.set_threshold(50_000)  # a short command ends before a collection would pay
    if None in (sys.stdin, sys.stdout, sys.stderr):
        _open_missing_streams()
    if sys.stdout.errors in ("strict", "surrogateescape") and hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(errors="replace")  # what its encoding cannot say is no failure
    code = run(sys.argv[1:])
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        code = BROKEN_PIPE
    except KeyboardInterrupt:
        code = KINDS["interrupted"].exit
    except OSError as e:
        code = _print_error(as_fastio_error(e), as_json=False)
    try:
        sys.stderr.flush()
    except OSError:
        pass  # stderr is closed; the exit code remains
    if os.environ.get("FASTIO_NO_FAST_EXIT"):
        _close_quietly()
        sys.exit(code)
    os._exit(code)


def run(argv: list[str]) -> int:
    """Run one command line; its exit code. Every failure is reported with a code and a hint."""
    flags = _requested_format(argv)
    parsed = None
    try:
        _install_signal_handlers()
        from fastio_cli.cli.framework.parse import VERSION_LINE, parse

        if argv == ["--version"]:  # which would not be worth importing Typer for
            print(VERSION_LINE)
            return 0
        parsed = parse(argv)
        if parsed is None:
            from fastio_cli.cli.framework import typer_app

            parsed = typer_app.parse(argv)
        if parsed is None:
            return 0
        flags = parsed.flags
        from fastio_cli.cli.framework.session import Session

        session = Session(flags, parsed.command)
        session.check_selection()
        parsed.command.run(session, **parsed.command.convert(parsed.values))
        if not session.out.selection.is_used:
            session.out.note("--fields and --query had no effect: this command prints no record.")
        return 0
    except Exit as e:
        return e.code
    except BrokenPipeError:
        return BROKEN_PIPE
    except KeyboardInterrupt:
        _signal.signal(_signal.SIGINT, _signal.SIG_DFL)  # a second Ctrl-C ends the process
        return _print_error(FastioError("interrupted", "Interrupted."), _as_json(flags))
    except Exception as e:
        return _print_error(as_fastio_error(e), _as_json(flags))


def _install_signal_handlers() -> None:
    """Make Ctrl-C raise ``KeyboardInterrupt``; before, it ends the process."""
    if _signal.getsignal(_signal.SIGINT) == _signal.SIG_DFL:
        _signal.signal(_signal.SIGINT, _signal.default_int_handler)


def as_fastio_error(e: Exception) -> FastioError:
    """Any exception as a :class:`FastioError`; unexpected ones as ``internal``."""
    if isinstance(e, FastioError):
        return e
    if isinstance(e, OSError) and e.filename is not None:
        return FastioError("invalid", f"{e.filename}: {e.strerror}.", "Check the file's name.")
    if isinstance(e, OSError):
        hint = "Free some disk space." if e.errno == errno.ENOSPC else None
        return FastioError("unavailable", f"Input or output failed: {e.strerror or e}.", hint)
    if os.environ.get("FASTIO_DEBUG"):
        import traceback

        traceback.print_exc()
    return FastioError(
        "internal", f"Something went wrong in fastio itself: {type(e).__name__}: {e}."
    )


def _print_error(error: FastioError, as_json: bool) -> int:
    from fastio_cli.cli.framework.output import fail

    try:
        fail(error, as_json, sys.stderr)
    except OSError:
        pass  # stderr is closed; the exit code remains
    return KINDS[error.code].exit


def _requested_format(argv: list[str]) -> dict[str, object]:
    """The format of errors, before the command line is parsed."""
    flags: dict[str, object] = {"json": "--json" in argv}
    for word, following in zip(argv, [*argv[1:], ""], strict=False):
        if word == "--format":
            flags["format"] = following
        elif word.startswith("--format="):
            flags["format"] = word.partition("=")[2]
    return flags


def _as_json(flags: dict[str, object]) -> bool:
    from fastio_cli.cli.framework.output import wants_json

    return wants_json(flags)


def _open_missing_streams() -> None:
    """Open the null device for closed streams, before a file of the store gets their numbers.

    Output there is discarded; reading from a closed standard input fails.
    """
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:
            fd = os.open(os.devnull, os.O_WRONLY)  # the lowest free number, which is this one
            setattr(sys, name, os.fdopen(fd, "r" if number == 0 else "w", encoding="utf-8"))


def _close_quietly() -> None:
    """Close stdout, so that a normal exit does not report it again."""
    try:
        sys.stdout.close()
    except OSError:
        pass
