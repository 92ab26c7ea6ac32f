"""``python -m fastio_cli`` is ``fastio``."""

from fastio_cli.cli.main import main

if __name__ == "__main__":
    main()
