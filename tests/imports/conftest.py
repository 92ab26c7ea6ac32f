from __future__ import annotations

import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme

from fastio_cli.egress.client import Egress
from fastio_cli.egress.rules import EgressRules

from .importing import Importing
from .site import Site


@pytest.fixture
def site() -> Iterator[Site]:
    site = Site()
    yield site
    site.close()


@pytest.fixture
def egress() -> Iterator[Egress]:
    """Outgoing requests that may reach this machine's own 127.0.0.1."""
    egress = Egress(EgressRules(allow="127.0.0.1", read_s=10))
    yield egress
    egress.close()


@pytest.fixture(scope="session")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def ca_file(authority: trustme.CA, tmp_path: Path) -> str:
    file = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(str(file))
    return str(file)


def secure_site(authority: trustme.CA, *names: str) -> Site:
    """An https site whose certificate is for these names."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(*names).configure_cert(context)
    return Site(context=context)


@pytest.fixture
def importing(tmp_path: Path) -> Iterator[Importing]:
    importing = Importing(tmp_path / "store")
    yield importing
    importing.engine.store.close()
