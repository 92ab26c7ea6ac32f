"""``python -m fastio_cli`` is ``fastio``."""

# Built in; importing signal takes time.
import _signal  # type: ignore[import-not-found]

# Until a command can report the interruption, Ctrl-C ends the process without a traceback.
if _signal.getsignal(_signal.SIGINT) is _signal.default_int_handler:
    _signal.signal(_signal.SIGINT, _signal.SIG_DFL)

from fastio_cli.cli.main import main

if __name__ == "__main__":
    main()
