"""Starts fastio mcp, for a desktop program that unpacked this bundle."""

import os
import subprocess

if not os.environ.get("FASTIO_STORE"):
    os.environ.pop("FASTIO_STORE", None)
else:
    subprocess.run(["fastio", "init", "--quiet"], stdout=subprocess.DEVNULL, check=False)
os.execvp("fastio", ["fastio", "mcp"])
