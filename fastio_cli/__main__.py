"""Where the program begins: ``python -m fastio_cli`` is ``fastio``."""

# At hand in every process; signal itself would be an import.
import _signal  # type: ignore[import-not-found]

# Until a command can say that it was interrupted, Ctrl-C ends the process as it ends any other,
# without Python's traceback. main takes it over.
if _signal.getsignal(_signal.SIGINT) is _signal.default_int_handler:
    _signal.signal(_signal.SIGINT, _signal.SIG_DFL)

from fastio_cli.cli.main import main

if __name__ == "__main__":
    main()
