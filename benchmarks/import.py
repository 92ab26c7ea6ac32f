"""``fastio import`` against curl: one large file, and a thousand small ones, from loopback.

Run with the Python of the environment that fastio is installed in: .venv/bin/python
benchmarks/import.py. Measured work and peer take turns; figures are medians over the rounds.
"""

from __future__ import annotations

import os
import shutil
import socket
import statistics
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from harness import FASTIO, Budget, arguments, median_ratio, run, run_parts, worker

MIB = 1024 * 1024
SMALL_BYTES = 4096


@contextmanager
def server(folder: str) -> Iterator[int]:
    """A server of the folder's files in a process of its own; its port."""
    process = worker([os.path.abspath(__file__), "serve", folder])
    assert process.stdout is not None
    try:
        yield int(process.stdout.readline())
    finally:
        process.kill()
        process.wait()


def serve(folder: str) -> None:
    """HTTP/1.1 with keep-alive and sendfile, and nothing that would slow the client down."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=128)
    print(listener.getsockname()[1], flush=True)
    while True:
        connection, _ = listener.accept()
        threading.Thread(target=answer, args=(connection, folder), daemon=True).start()


def answer(connection: socket.socket, folder: str) -> None:
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    requests = connection.makefile("rb")
    while line := requests.readline():
        name = line.split()[1].decode().strip("/")
        while requests.readline().strip():
            pass
        with open(os.path.join(folder, name), "rb") as f:
            size = os.fstat(f.fileno()).st_size
            head = f'HTTP/1.1 200 OK\r\nETag: "{name}"\r\nContent-Length: {size}\r\n\r\n'
            connection.sendall(head.encode())
            connection.sendfile(f)


def large(folder: str, quick: bool) -> Iterator[Budget]:
    """1 GiB: curl, sha256sum and sync, one after the other, as a careful person would."""
    size = (128 if quick else 1024) * MIB
    with open(os.path.join(folder, "large.bin"), "wb") as f:
        for _ in range(size // MIB):
            f.write(os.urandom(MIB))
    pairs, memory = [], []
    with server(folder) as port:
        url = f"http://127.0.0.1:{port}/large.bin"
        target = os.path.join(folder, "copy.bin")
        script = f"curl -sS -o {target} {url} && sha256sum {target} && sync {target}"
        for _ in range(2 if quick else 5):
            peer = run(["/bin/sh", "-c", script], folder)
            os.unlink(target)
            ended = import_into(folder, [url])
            pairs.append((peer.seconds, ended.seconds))
            memory.append(ended.memory_bytes)
    name = f"import of {size // MIB} MiB: speed by curl + sha256sum + sync"
    note = f"{size / MIB / statistics.median(ours for _, ours in pairs):.0f} MiB/s"
    yield Budget(name, median_ratio(pairs), 0.7, at_least=True, note=note)
    yield Budget("its peak memory", max(memory) / MIB, 80, "MiB")


def small(folder: str, quick: bool) -> Iterator[Budget]:
    """1,000 files by --from-file: eight curls at a time."""
    count = 200 if quick else 1000
    listing = os.path.join(folder, "urls.txt")
    for n in range(count):
        with open(os.path.join(folder, f"{n}.bin"), "wb") as f:
            f.write(os.urandom(SMALL_BYTES))
    pairs = []
    with server(folder) as port:
        with open(listing, "w", encoding="utf-8") as f:
            f.writelines(f"http://127.0.0.1:{port}/{n}.bin\n" for n in range(count))
        copies = os.path.join(folder, "copies")
        script = f"mkdir {copies} && cd {copies} && xargs -P8 -n1 curl -sS -O < {listing}"
        for _ in range(2 if quick else 5):
            peer = run(["/bin/sh", "-c", script], folder)
            assert len(os.listdir(copies)) == count
            shutil.rmtree(copies)
            ended = import_into(folder, ["--from-file", listing])
            pairs.append((peer.seconds, ended.seconds))
    note = f"{count / statistics.median(ours for _, ours in pairs):.0f} files/s"
    name = f"import of {count:,} small files: speed by xargs -P8 curl"
    yield Budget(name, median_ratio(pairs), 0.7, at_least=True, note=note)


def import_into(folder: str, what: list[str]):  # type: ignore[no-untyped-def]
    """One command into a fresh store."""
    store = os.path.join(folder, "store")
    subprocess.run([FASTIO, "init", "--store", store, "-q"], stdout=subprocess.DEVNULL, check=True)
    allow = ["/usr/bin/env", "FASTIO_EGRESS_ALLOW=127.0.0.1"]
    ended = run([*allow, FASTIO, "import", *what, "--store", store, "-q"], folder)
    listed = subprocess.run(
        [FASTIO, "import", "list", "--store", store, "--state", "done", "-q"],
        stdout=subprocess.PIPE,
        check=True,
    )
    assert listed.stdout
    shutil.rmtree(store)
    return ended


if __name__ == "__main__":
    if sys.argv[1:2] == ["serve"]:
        serve(sys.argv[2])
    else:
        sys.exit(run_parts(arguments(__doc__).parse_args(), {"large": large, "small": small}))
