"""The table of settings: the type, default and meaning of each, and which values it may take.

Where a value comes from is decided in ``sources.py``.
"""

from __future__ import annotations

from fastio_cli.errors import FastioError

MASK = "***"  # stands for a secret where a value is shown


# Whether a setting may come from a project (``projects.py``), whose author may be somebody else.
ANYWHERE = "always"  # it can do no harm
TRUSTED = "trusted"  # from one that the user trusts, and for that project's own store only
NEVER = "never"  # it says where secrets go, or what may be reached


class Setting:
    """One setting: its type, default, meaning, and the values it may take.

    ``project`` says whether it may come from a project's file: ``always``, once the user has
    ``trusted`` it, or ``never``. A ``secret`` is moreover never taken from a command line and never
    shown; nor is a password in a ``url``. ``ports`` is a list of port numbers.
    """

    __slots__ = ("choices", "default", "help", "ports", "project", "secret", "type", "url")

    def __init__(
        self,
        default: str | int | None,
        help: str,
        project: str,
        choices: tuple[str, ...] = (),
        *,
        secret: bool = False,
        url: bool = False,
        ports: bool = False,
    ) -> None:
        self.default = default
        self.type = int if isinstance(default, int) else str
        self.help = help
        self.project = project
        self.choices = choices
        self.secret = secret
        self.url = url
        self.ports = ports


FORMATS = ("table", "json", "jsonl", "csv", "markdown", "raw")

SETTINGS = {
    "store": Setting(
        None, "The store: a folder, postgresql://USER@HOST/DB, or a server's URL", TRUSTED, url=True
    ),
    "profile": Setting(
        None, "The profile in force: a server known by fastio login, or local", TRUSTED
    ),
    "blobs": Setting(
        None,
        "Where a database's store keeps large files: s3://BUCKET/PREFIX, gs://, az://, a folder",
        TRUSTED,
        url=True,
    ),
    "workspace": Setting("default", "The workspace to work in", ANYWHERE),
    "actor": Setting(None, "Who acts, in the event log (default: user@host)", TRUSTED),
    "format": Setting(None, "How results are printed", ANYWHERE, FORMATS),
    "durability": Setting(
        "full",
        "What a write survives: full (power loss) or normal (a crash)",
        TRUSTED,
        ("full", "normal"),
    ),
    "file_bytes_max": Setting(1024**3, "The largest file", TRUSTED),
    "storage_bytes_max": Setting(
        50 * 1024**3, "The most a workspace may hold, history included", TRUSTED
    ),
    "metered": Setting(
        "off", "Whether a server counts credits: one a write", TRUSTED, ("off", "on")
    ),
    "credits_per_month": Setting(
        5000, "Credits that an org has a month where they are counted", TRUSTED
    ),
    "org_bytes_max": Setting(
        50 * 1024**3, "The most an org may hold on a server, all together", TRUSTED
    ),
    "org_create_role": Setting(
        "admin",
        "The role in a server's first org that creates orgs (member: any member of any org)",
        TRUSTED,
        ("owner", "admin", "editor", "viewer", "member"),
    ),
    "orgs_max": Setting(1000, "How many orgs a server has at most", TRUSTED),
    "rate_per_s": Setting(1000, "Requests a second that a server takes from one member", TRUSTED),
    "retry_s": Setting(30, "How long a server that is away is tried again", TRUSTED),
    "ca_file": Setting(None, "Certificate authorities to trust besides the public ones", NEVER),
    "versions_max": Setting(100, "How many versions of an object are kept at least", TRUSTED),
    "embedding_url": Setting(
        None, "Base URL of an OpenAI-compatible endpoint for embeddings", TRUSTED, url=True
    ),
    "embedding_model": Setting(
        None,
        "The model of that endpoint; without one all-MiniLM-L6-v2 or multilingual-e5-small",
        TRUSTED,
    ),
    "chat_url": Setting(
        None, "Base URL of an OpenAI-compatible endpoint that answers questions", TRUSTED, url=True
    ),
    "chat_model": Setting(None, "The chat model of that endpoint", TRUSTED),
    "egress_allow": Setting(
        None,
        "Hosts, addresses and networks that requests may go to though they are not public",
        NEVER,
    ),
    "egress_ports": Setting(
        "80,443,8080,8443", "The ports that requests may go to", NEVER, ports=True
    ),
    "egress_ca_file": Setting(
        None, "Certificate authorities to trust besides the public ones", NEVER
    ),
    "import_parallel": Setting(8, "How many files are fetched at a time", TRUSTED),
    "import_attempts_max": Setting(
        5, "How often in a row a transfer may fail without progress", TRUSTED
    ),
    "import_retry_ms": Setting(
        1000, "The pause before the first further attempt, at most", TRUSTED
    ),
    "import_timeout_s": Setting(3600, "How long one attempt to fetch a file may take", TRUSTED),
    "import_stall_s": Setting(30, "How long a body may come slower than 1 KiB a second", TRUSTED),
    "import_buckets": Setting(
        None,
        "Buckets that a server reads for its members with its own credentials: s3://BUCKET,…",
        NEVER,
    ),
    "import_endpoints": Setting(
        None, "Other addresses for file services, as OFFICIAL=OTHER,…", NEVER
    ),
    "secret_key_file": Setting(
        None, "Key that encrypts a server's stored logins (default: secret.key beside these)", NEVER
    ),
    "google_client_id": Setting(None, "Your own OAuth client at Google, for private links", NEVER),
    "google_client_secret": Setting(None, "Its secret, if it has one", NEVER, secret=True),
    "onedrive_client_id": Setting(None, "Your own OAuth client at Microsoft", NEVER),
    "onedrive_client_secret": Setting(None, "Its secret, if it has one", NEVER, secret=True),
    "dropbox_client_id": Setting(None, "Your own OAuth client at Dropbox", NEVER),
    "dropbox_client_secret": Setting(None, "Its secret, if it has one", NEVER, secret=True),
    "box_client_id": Setting(None, "Your own OAuth client at Box", NEVER),
    "box_client_secret": Setting(None, "Its secret, if it has one", NEVER, secret=True),
}


class Limits:
    """The limits that operations enforce."""

    __slots__ = (
        "credits_per_month",
        "file_bytes_max",
        "metered",
        "org_bytes_max",
        "org_create_role",
        "orgs_max",
        "storage_bytes_max",
        "versions_max",
    )

    def __init__(
        self,
        file_bytes_max: int = 1024**3,
        storage_bytes_max: int = 50 * 1024**3,
        versions_max: int = 100,
        credits_per_month: int = 5000,
        metered: str = "off",
        org_bytes_max: int = 50 * 1024**3,
        org_create_role: str = "admin",
        orgs_max: int = 1000,
    ) -> None:
        self.metered = metered
        self.org_bytes_max = org_bytes_max
        self.org_create_role = org_create_role
        self.orgs_max = orgs_max
        self.credits_per_month = credits_per_month
        self.file_bytes_max = file_bytes_max
        self.storage_bytes_max = storage_bytes_max
        self.versions_max = versions_max


class SearchSettings:
    """The endpoints for embeddings and answers, and the API key for each."""

    __slots__ = (
        "chat_key",
        "chat_model",
        "chat_url",
        "embedding_key",
        "embedding_model",
        "embedding_url",
    )

    def __init__(
        self,
        embedding_url: str | None = None,
        embedding_model: str | None = None,
        chat_url: str | None = None,
        chat_model: str | None = None,
        *,
        embedding_key: str | None = None,
        chat_key: str | None = None,
    ) -> None:
        self.embedding_url = embedding_url
        self.embedding_model = embedding_model
        self.embedding_key = embedding_key
        self.chat_url = chat_url
        self.chat_model = chat_model
        self.chat_key = chat_key


def parse_value(name: str, value: object, source: str) -> str | int:
    """A setting's value, checked, in its type. ``source`` names its origin in errors.

    Raises ``invalid``.
    """
    setting = SETTINGS.get(name)
    if setting is None:
        raise FastioError(
            "invalid", f"There is no setting {name!r}.", f"Settings: {', '.join(SETTINGS)}"
        )
    if setting.type is int:
        return _parse_number(name, value, source)
    if not isinstance(value, str):
        raise FastioError("invalid", f"{name} must be text (from {source}).")
    if setting.choices and value not in setting.choices:
        raise FastioError(
            "invalid", f"{name} must be one of {', '.join(setting.choices)} (from {source})."
        )
    if setting.ports:
        port_numbers(name, value, source)
    return value


def port_numbers(name: str, value: str, source: str) -> frozenset[int]:
    """The ports that a setting lists. Raises ``invalid``."""
    ports = [port.strip() for port in value.split(",")]
    if not all(port.isdecimal() and 0 < int(port) < 65536 for port in ports):
        raise FastioError("invalid", f"{name} must be port numbers, as 80,443 (from {source}).")
    return frozenset(map(int, ports))


def masked(name: str, value: object) -> object:
    """A setting's value as it may be shown."""
    setting = SETTINGS.get(name)
    if setting is not None and setting.secret and value is not None:
        return MASK
    return mask_password(value) if isinstance(value, str) else value


def mask_password(value: str) -> str:
    """A URL with its password masked: whatever is between the user and the last ``@``."""
    if "://" not in value:
        return value
    import re

    value = re.sub(r"(://[^:/@?#]*:).*@", rf"\1{MASK}@", value, flags=re.S)
    return re.sub(r"(?i)([?&](?:ssl)?password=)[^&#]*", rf"\1{MASK}", value)


def has_password(value: str) -> bool:
    """Whether a URL holds a password."""
    return mask_password(value) != value


def _parse_number(name: str, value: object, source: str) -> int:
    text = str(value).replace("_", "")
    if isinstance(value, bool) or not text.isdecimal() or int(text) < 1 or len(text) > 18:
        raise FastioError("invalid", f"{name} must be a positive number (from {source}).")
    return int(text)
