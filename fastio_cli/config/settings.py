"""Settings, and where each comes from: flag > environment > project file > user file > default.

The project file is ``config.toml`` in the nearest ``.fastio/`` folder upward; the user file is
``config.toml`` in the user's config folder. Reading them costs nothing when they are not there.

A **profile** is a named set of settings in the user file, ``[profiles.NAME]``: a server, first of
all, made by ``fastio login``. ``--profile``, FASTIO_PROFILE or one of the files says which one is
in force. Its settings come right after those of the flag, variable or project file that names it;
one that the user file names goes before the other settings there. They belong to its store: where
something nearer names another store, none of them counts.
"""

from __future__ import annotations

import os
import sys

from fastio_cli.errors import FastioError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

PROJECT_FOLDER = ".fastio"
FILE = "config.toml"
PROFILES = "profiles"
HIDDEN = "***"  # what a secret that is set looks like
LOCAL = "local"  # the profile that everybody has: the store of this machine


class Setting:
    """One setting: its type, default, what it means, and the values it may take.

    A ``secret`` is never on a command line, in a project's file or in an answer; nor is a password
    in a ``url``. What is the user's ``own`` is not taken from a project's file, which may be
    another's.
    """

    __slots__ = ("choices", "default", "help", "own", "secret", "type", "url")

    def __init__(
        self,
        default: str | int | None,
        help: str,
        choices: tuple[str, ...] = (),
        secret: bool = False,
        own: bool = False,
        url: bool = False,
    ) -> None:
        self.default = default
        self.type = int if isinstance(default, int) else str
        self.help = help
        self.choices = choices
        self.secret = secret
        self.own = own or secret
        self.url = url


FORMATS = ("table", "json", "jsonl", "markdown", "raw")

SETTINGS = {
    "store": Setting(
        None, "The store: a folder, postgresql://USER@HOST/DB, or a server's URL", url=True
    ),
    "profile": Setting(None, "The profile in force: a server known by fastio login, or local"),
    "blobs": Setting(
        None,
        "Where a database's store keeps large files: s3://BUCKET/PREFIX, gs://, az://, a folder",
        url=True,
    ),
    "workspace": Setting("default", "The workspace to work in"),
    "actor": Setting(None, "Who acts, in the event log (default: user@host)"),
    "format": Setting(None, "How results are printed", FORMATS),
    "durability": Setting(
        "full", "What a write survives: full (power loss) or normal (a crash)", ("full", "normal")
    ),
    "file_bytes_max": Setting(1024**3, "The largest file"),
    "storage_bytes_max": Setting(50 * 1024**3, "The most a workspace may hold, history included"),
    "metered": Setting("off", "Whether a server counts credits: one a write", ("off", "on")),
    "credits_per_month": Setting(5000, "Credits that an org has a month where they are counted"),
    "org_bytes_max": Setting(50 * 1024**3, "The most an org may hold on a server, all together"),
    "rate_per_s": Setting(1000, "Requests a second that a server takes from one token"),
    "retry_s": Setting(30, "How long a server that is away is tried again"),
    "ca_file": Setting(None, "Certificate authorities to trust besides the public ones", own=True),
    "versions_max": Setting(100, "How many versions of an object are kept at least"),
    "embedding_url": Setting(
        None, "Base URL of an OpenAI-compatible endpoint for embeddings", url=True
    ),
    "embedding_model": Setting(
        None, "The model of that endpoint; without one all-MiniLM-L6-v2 or multilingual-e5-small"
    ),
    "chat_url": Setting(
        None, "Base URL of an OpenAI-compatible endpoint that answers questions", url=True
    ),
    "chat_model": Setting(None, "The chat model of that endpoint"),
    "egress_allow": Setting(
        None, "Hosts, addresses and networks that requests may go to though they are not public"
    ),
    "egress_ports": Setting("80,443,8080,8443", "The ports that requests may go to"),
    "egress_ca_file": Setting(None, "Certificate authorities to trust besides the public ones"),
    "import_parallel": Setting(8, "How many files are fetched at a time"),
    "import_attempts_max": Setting(5, "How often in a row a transfer may fail without progress"),
    "import_retry_ms": Setting(1000, "The pause before the first further attempt, at most"),
    "import_timeout_s": Setting(3600, "How long one attempt to fetch a file may take"),
    "import_stall_s": Setting(30, "How long a body may come slower than 1 KiB a second"),
    "import_buckets": Setting(
        None, "Buckets that a server reads for its members with its own credentials: s3://BUCKET,…"
    ),
    "import_endpoints": Setting(None, "Other addresses for file services, as OFFICIAL=OTHER,…"),
    "secret_key_file": Setting(
        None, "Key that a server seals its members' logins with (default: secret.key beside these)"
    ),
    "google_client_id": Setting(None, "Your own OAuth client at Google, for private links"),
    "google_client_secret": Setting(None, "Its secret, if it has one", secret=True),
    "onedrive_client_id": Setting(None, "Your own OAuth client at Microsoft"),
    "onedrive_client_secret": Setting(None, "Its secret, if it has one", secret=True),
    "dropbox_client_id": Setting(None, "Your own OAuth client at Dropbox"),
    "dropbox_client_secret": Setting(None, "Its secret, if it has one", secret=True),
    "box_client_id": Setting(None, "Your own OAuth client at Box"),
    "box_client_secret": Setting(None, "Its secret, if it has one", secret=True),
}


class Limits:
    """The limits that operations enforce."""

    __slots__ = (
        "credits_per_month",
        "file_bytes_max",
        "metered",
        "org_bytes_max",
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
    ) -> None:
        self.metered = metered
        self.org_bytes_max = org_bytes_max
        self.credits_per_month = credits_per_month
        self.file_bytes_max = file_bytes_max
        self.storage_bytes_max = storage_bytes_max
        self.versions_max = versions_max


class SearchSettings:
    """Where vectors and answers come from, and the keys that say there who asks."""

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


FLAG = "flag"
ENVIRONMENT = "environment"


class Config:
    """The settings in force. ``flags`` are those given on the command line, by setting name.

    Raises ``invalid`` for a setting with a wrong value, naming where it came from.
    """

    def __init__(
        self, flags: dict[str, str] | None = None, environ: Any = os.environ, cwd: str | None = None
    ) -> None:
        self.project_folder = find_project(cwd)
        self._environ = environ
        project = read_file(self.project_file) if self.project_file else {}
        self._user = read_file(self.user_file)
        folder = {"store": self.project_folder} if self.project_folder else {}
        self._sources: list[tuple[str, Any]] = [
            (FLAG, flags or {}),
            (ENVIRONMENT, environ),
            (self.project_file or "", project),
            (self.project_folder or "", folder),
            (self.user_file, self._user),
        ]
        self.profile, self.profile_source = self.lookup("profile")
        if self.profile is not None:
            rank = [_label(s, "profile") for s, _ in self._sources].index(self.profile_source)
            source = (f"profile {self.profile}", self.settings_of(self.profile))
            self._sources.insert(min(rank + 1, len(self._sources) - 1), source)
            if "store" in source[1] and self.lookup("store")[1] != source[0]:
                self._sources.remove(source)

    @property
    def project_file(self) -> str | None:
        return os.path.join(self.project_folder, FILE) if self.project_folder else None

    @property
    def user_file(self) -> str:
        return os.path.join(user_folder("config", self._environ), FILE)

    @property
    def profiles(self) -> dict[str, dict[str, Any]]:
        """The settings of every profile, by its name. Raises ``invalid``."""
        profiles = self._user.get(PROFILES, {})
        if not isinstance(profiles, dict) or not all(
            isinstance(profile, dict) for profile in profiles.values()
        ):
            raise FastioError("invalid", f"{PROFILES} must be tables (from {self.user_file}).")
        return profiles

    @property
    def has_profile(self) -> bool:
        """Whether the profile in force is there, if one is named at all."""
        return self.profile in (None, LOCAL, *self.profiles)

    def settings_of(self, profile: str) -> dict[str, Any]:
        """A profile's settings; none if it is not there."""
        if profile == LOCAL:
            return {"store": self.project_folder or user_folder("data", self._environ)}
        return self.profiles.get(profile, {})

    def get(self, name: str) -> Any:
        """The value in force."""
        return self.lookup(name)[0]

    def lookup(self, name: str) -> tuple[Any, str]:
        """The value in force, and where it comes from."""
        for source, values in self._sources:
            label = _label(source, name)
            value = values.get(label if source == ENVIRONMENT else name)
            if value is None or value == "":
                continue
            if SETTINGS[name].own and source == self.project_file:
                raise FastioError(
                    "invalid",
                    f"{name} is not taken from a project's settings (from {source}).",
                    f"Keep it in your own: fastio config set {name} VALUE",
                )
            return checked(name, value, label), label
        return SETTINGS[name].default, "default"

    def beside(self, name: str) -> tuple[str, tuple[str, ...]]:
        """Where to keep what belongs to a setting in force: a file, and the table in it."""
        source = self.lookup(name)[1]
        if source == f"profile {self.profile}" and self.profile != LOCAL:
            return self.user_file, (PROFILES, str(self.profile))
        return self.project_file or self.user_file, ()

    def store(self) -> str:
        """The store to use: the setting, else the user's data folder. Raises ``invalid`` when the
        profile in force is not there."""
        if not self.has_profile:
            raise FastioError(
                "invalid",
                f"There is no profile {self.profile!r} (from "
                f"{'--profile' if self.profile_source == FLAG else self.profile_source}).",
                "See which there are: fastio profile list",
            )
        return self._place("store") or user_folder("data", self._environ)

    def store_folder(self) -> str:
        """The folder of an embedded store. Raises ``invalid`` when the store is elsewhere."""
        target = self.store()
        if "://" in target:
            raise FastioError(
                "invalid",
                "This works on a store in a folder, not on a server or database.",
                "Name one: --store FOLDER",
            )
        return target

    def secret_key_file(self) -> str:
        """The file of the key that secrets in the store are sealed with."""
        default = os.path.join(os.path.dirname(self.user_file), "secret.key")
        return self._place("secret_key_file") or default

    def blobs(self) -> str | None:
        """Where a store without a folder keeps large files."""
        return self._place("blobs")

    def ca_file(self, url: str) -> str | None:
        """The file with certificate authorities of the user's own that vouch for a server.

        What a profile of the server says counts also when the server was named by its URL; the
        environment goes before it, and what is said of all servers after.
        """
        profile = self.profile_of(url)
        known = self.profiles[profile].get("ca_file") if profile is not None else None
        if known is None or self.lookup("ca_file")[1].startswith("FASTIO_"):
            return self._place("ca_file")
        return self._placed(str(checked("ca_file", known, f"profile {profile}")), self.user_file)

    def profile_of(self, url: str) -> str | None:
        """The profile of a server: the one in force, else the first."""
        names = [name for name, p in self.profiles.items() if p.get("store") == url]
        return self.profile if self.profile in names else next(iter(names), None)

    def _place(self, name: str) -> str | None:
        """A URL as it is, or a folder or file, relative to the file that names it."""
        value: str | None
        value, source = self.lookup(name)
        if value is None or "://" in value:
            return value
        if source == FLAG or source.startswith("FASTIO_"):
            return os.path.expanduser(value)
        return self._placed(value, self.user_file if source.startswith("profile ") else source)

    @staticmethod
    def _placed(value: str, file: str) -> str:
        return os.path.join(os.path.dirname(file), os.path.expanduser(value))

    def limits(self) -> Limits:
        return Limits(**{name: self.get(name) for name in Limits.__slots__})

    def search(self) -> SearchSettings:
        """The endpoints of searching, each with its key: FASTIO_EMBEDDING_KEY, FASTIO_CHAT_KEY.

        A key goes to an address of its user's choice. An address in a project's file may be that
        of whoever wrote the project.
        """
        values: dict[str, Any] = {}
        for use in ("embedding", "chat"):
            url, source = self.lookup(f"{use}_url")
            values[f"{use}_url"] = url
            values[f"{use}_model"] = self.get(f"{use}_model")
            if source != self.project_file:
                values[f"{use}_key"] = self._environ.get(f"FASTIO_{use.upper()}_KEY")
        return SearchSettings(**values)

    def actor(self) -> str:
        """Who acts: the setting, else user@host."""
        value: str | None = self.get("actor")
        if value is not None:
            return value
        user = self._environ.get("USER") or self._environ.get("USERNAME") or f"uid{_uid()}"
        return f"{user}@{_host()}"


def _label(source: str, name: str) -> str:
    """What people know a source of a setting by."""
    return f"FASTIO_{name.upper()}" if source == ENVIRONMENT else source


def without_password(value: str) -> str:
    """A URL as people may see it. Whatever stands between the user and the last ``@`` is hidden."""
    if "://" not in value:
        return value
    import re

    value = re.sub(r"(://[^:/@?#]*:).*@", rf"\1{HIDDEN}@", value, flags=re.S)
    return re.sub(r"(?i)([?&](?:ssl)?password=)[^&#]*", rf"\1{HIDDEN}", value)


def shown(name: str, value: Any) -> Any:
    """A setting's value as people may see it."""
    setting = SETTINGS.get(name)
    if setting is not None and setting.secret and value is not None:
        return HIDDEN
    return without_password(value) if isinstance(value, str) else value


def has_password(value: str) -> bool:
    """Whether a URL holds a password."""
    return without_password(value) != value


def checked(name: str, value: object, source: str) -> str | int:
    """A setting's value in its type. Raises ``invalid``."""
    setting = SETTINGS.get(name)
    if setting is None:
        raise FastioError(
            "invalid", f"There is no setting {name!r}.", f"Settings: {', '.join(SETTINGS)}"
        )
    if setting.type is int:
        text = str(value).replace("_", "")
        if isinstance(value, bool) or not text.isdecimal() or int(text) < 1 or len(text) > 18:
            raise FastioError("invalid", f"{name} must be a positive number (from {source}).")
        return int(text)
    if not isinstance(value, str):
        raise FastioError("invalid", f"{name} must be text (from {source}).")
    if setting.choices and value not in setting.choices:
        raise FastioError(
            "invalid", f"{name} must be one of {', '.join(setting.choices)} (from {source})."
        )
    return value


def find_project(cwd: str | None = None) -> str | None:
    """The nearest ``.fastio/`` folder upward."""
    try:
        folder = cwd or os.getcwd()
    except FileNotFoundError:
        return None
    while True:
        candidate = os.path.join(folder, PROJECT_FOLDER)
        if os.path.isdir(candidate):
            return candidate
        parent = os.path.dirname(folder)
        if parent == folder:
            return None
        folder = parent


def user_folder(what: str, environ: Any = os.environ) -> str:
    """The user's folder for ``config`` or ``data``, by the XDG Base Directory Specification.

    Elsewhere than on Linux platformdirs answers. On Linux the same answer is computed here, because
    its import would be a tenth of a command's time; ``tests/test_config.py`` compares the two.
    """
    if sys.platform != "linux":
        import platformdirs

        dirs = platformdirs.PlatformDirs("fastio", appauthor=False)
        return dirs.user_config_dir if what == "config" else dirs.user_data_dir
    variable, default = {
        "config": ("XDG_CONFIG_HOME", "~/.config"),
        "data": ("XDG_DATA_HOME", "~/.local/share"),
    }[what]
    base = environ.get(variable, "").strip() or os.path.expanduser(default)
    return os.path.join(base, "fastio")


def read_file(path: str) -> dict[str, Any]:
    """A config file's values, empty when there is no such file. Raises ``invalid``."""
    if not os.path.exists(path):
        return {}
    import tomllib

    try:
        with open(path, "rb") as f:
            return tomllib.load(f)
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as e:
        raise FastioError(
            "invalid", f"{path} is not valid TOML: {e}.", "Mend the file by hand, or remove it."
        ) from None
    except OSError as e:
        raise FastioError(
            "unavailable", f"{path} cannot be read: {e.strerror}.", "Check its permissions."
        ) from None


def change_file(path: str, name: str, value: Any, table: tuple[str, ...] = ()) -> None:
    """Set (or with None remove) one value of a config file: whole or not at all, one at a time.

    ``table`` are the names of the tables around it, from the outermost.
    """
    import tomli_w
    from filelock import FileLock

    try:
        os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
        with FileLock(path + ".lock", timeout=10):
            values = here = read_file(path)
            for part in table:
                here = here.setdefault(part, {})
            here.pop(name, None)
            if value is not None:
                here[name] = value
            temporary = f"{path}.{os.getpid()}"
            # Some of these files hold tokens: nobody else may read them, also not for a moment.
            with open(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as f:
                tomli_w.dump(values, f)
                f.flush()
                os.fsync(f.fileno())
            os.replace(temporary, path)
    except OSError as e:
        raise FastioError(
            "unavailable",
            f"{path} cannot be written: {e.strerror or e}.",
            "Check the folder's permissions.",
        ) from None


def _uid() -> int:
    return os.getuid() if hasattr(os, "getuid") else 0


def _host() -> str:
    if hasattr(os, "uname"):
        return os.uname().nodename
    import platform

    return platform.node()
