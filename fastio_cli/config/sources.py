"""Which value of a setting applies: flag > environment > project file > user file > default.

The project file is ``config.toml`` in the nearest ``.fastio/`` folder upward; the user file is
``config.toml`` in the user's config folder. A project that the user does not trust, or that stands
where another store was named, sets only what can do no harm (``settings.ANYWHERE``).

A **profile** is a named set of settings in the user file, ``[profiles.NAME]``: above all a server,
as ``fastio login`` adds it. The active profile is the one that ``--profile``, FASTIO_PROFILE or one
of the files names. Its settings come right after the source that names it; one that the user file
names comes before the other settings there. A profile's settings belong to its store: if a source
before it names another store, the whole profile is left out.
"""

from __future__ import annotations

import os

from fastio_cli.config.files import FILE, read_file, user_folder
from fastio_cli.config.projects import nearest
from fastio_cli.config.settings import (
    SETTINGS,
    Limits,
    SearchSettings,
    has_password,
    mask_password,
    parse_value,
)
from fastio_cli.errors import FastioError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    # One source's values by setting name, each with the label that users know the source by.
    Layer = dict[str, tuple[object, str]]

PROFILES = "profiles"
LOCAL = "local"  # the profile that always exists: the store of this machine
FLAG = "flag"
LOOPBACK = ("localhost", "127.0.0.1", "[::1]")
PREFIX = "FASTIO_"  # of the environment variables
DEFAULT = "default"


class Config:
    """The settings that apply, resolved once.

    ``flags`` are those of the command line, by setting name; an empty one is ``invalid``. A wrong
    value is reported (``invalid``) when its setting is read, so that it stops no command that does
    not use it.
    """

    def __init__(
        self,
        flags: Mapping[str, str] | None = None,
        environ: Mapping[str, str] = os.environ,
        cwd: str | None = None,
    ) -> None:
        self.project = nearest(cwd, environ)
        self._environ = environ
        self._user = read_file(self.user_file)
        _refuse_empty(flags or {})
        self._named = self._store_named(_layer(flags or {}, FLAG), _environment_layer(environ))
        layers = self._layers(flags or {})
        self.profile, self.profile_source = self._apply_profile(layers)
        self._resolved: Layer = {}
        for layer in reversed(layers):
            self._resolved.update(layer)
        self._store: str | None = None

    @property
    def project_file(self) -> str | None:
        return self.project.file if self.project else None

    @property
    def is_refused(self) -> bool:
        """Whether the store would be that of a project that the user does not trust."""
        return self.project is not None and not self.project.is_trusted and self._named is None

    @property
    def ignored(self) -> str | None:
        """What to tell the user about settings of the project that are not in force, if any."""
        project = self.project
        if project is None:
            return None
        if project.is_trusted:
            names = project.forbidden
            reason = (
                "this is taken from no project. Keep it in your own: fastio config set NAME VALUE"
            )
        else:
            names = sorted(project.restricted)
            reason = (
                f"it is not trusted. See what it would set: fastio trust {project.home} --dry-run"
            )
        return f"Not in force: {', '.join(names)} of {project.file}: {reason}" if names else None

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
    def profile_exists(self) -> bool:
        """Whether the active profile exists, or none is named at all."""
        return self.profile in (None, LOCAL, *self.profiles)

    def settings_of(self, profile: str) -> dict[str, object]:
        """A profile's settings, empty if there is no such profile."""
        if profile == LOCAL:
            trusted = self.project is not None and self.project.is_trusted
            folder = self.project.folder if self.project and trusted else None
            return {"store": folder or user_folder("data", self._environ)}
        return self.profiles.get(profile, {})

    def lookup(self, name: str) -> tuple[str | int | None, str]:
        """The value that applies, and the label of its source. Raises ``invalid``."""
        if name not in self._resolved:
            return SETTINGS[name].default, DEFAULT
        value, source = self._resolved[name]
        return parse_value(name, value, source), source

    def get(self, name: str) -> str | None:
        """The text that applies, if any. Raises ``invalid``."""
        value = self.lookup(name)[0]
        return None if value is None else str(value)

    def text(self, name: str) -> str:
        """The text that applies, of a setting that has a default. Raises ``invalid``."""
        return str(self.lookup(name)[0])

    def number(self, name: str) -> int:
        """The number that applies. Raises ``invalid``."""
        return int(self.lookup(name)[0] or 0)

    def file_for(self, name: str) -> tuple[str, tuple[str, ...]]:
        """Where to keep a choice that goes with a setting's value: a file, and the table in it."""
        source = self.lookup(name)[1]
        if source == f"profile {self.profile}" and self.profile != LOCAL:
            return self.user_file, (PROFILES, str(self.profile))
        trusted = self.project is not None and self.project.is_trusted
        return self.project.file if self.project and trusted else self.user_file, ()

    def store(self) -> str:
        """The store to use: the setting, else the user's data folder.

        Raises ``invalid`` if the active profile does not exist, or for what is no place;
        ``forbidden`` if the store is that of a project that the user does not trust, or a database
        that only a project names: passwords of the environment would be sent there.
        """
        if self._store is None:
            self._check_profile()
            refuse_address(*self.lookup("store"))
            store = self._path("store") or user_folder("data", self._environ)
            if self.project is not None and self.is_refused:
                raise self.project.refusal(mask_password(store))
            if "://" in store and not store.startswith(("https://", "http://")):
                self.check_address(store, "No password is")
            self._store = store
        return self._store

    def check_address(self, url: str, secret: str) -> None:
        """Raise ``forbidden`` if a project, and nothing of the user's own, names a store that a
        ``secret`` would be sent to."""
        own = [self._user.get("store"), *(p.get("store") for p in self.profiles.values())]
        if self.lookup("store")[1] == self.project_file and url not in own:
            raise FastioError(
                "forbidden",
                f"This project's settings name the store {mask_password(url)}, which you did not "
                f"choose. {secret} sent there.",
                "If it is yours, keep it in your own settings: fastio config set store @FILE"
                if has_password(url)
                else f"If it is yours: export FASTIO_STORE={url}",
            )

    @property
    def names_store(self) -> bool:
        """Whether the command line or the environment names the store."""
        source = self.lookup("store")[1]
        return source == FLAG or source.startswith(PREFIX)

    @property
    def is_default_store(self) -> bool:
        """Whether nobody named the store: it is the one in the user's data folder."""
        source = self.lookup("store")[1]
        is_local = source == f"profile {LOCAL}" and self.project is None
        return source == DEFAULT or is_local

    def store_folder(self) -> str:
        """The folder of an embedded store. Raises ``invalid`` for a server or database."""
        target = self.store()
        if "://" in target:
            raise FastioError(
                "invalid",
                "This works on a store in a folder, not on a server or database.",
                "Name one: --store FOLDER",
            )
        return target

    def secret_key_file(self) -> str:
        """The file with the key that secrets in the store are encrypted with."""
        default = os.path.join(os.path.dirname(self.user_file), "secret.key")
        return self._path("secret_key_file") or default

    def blobs(self) -> str | None:
        """Where a store without a folder keeps large files."""
        return self._path("blobs")

    def ca_file(self, url: str) -> str | None:
        """The file with additional certificate authorities to trust for a server.

        The environment comes first, then the profile of the server (also if the server was named by
        its URL), then the setting for all servers.
        """
        profile = self.profile_for(url)
        file = self.profiles[profile].get("ca_file") if profile is not None else None
        if file is None or self.lookup("ca_file")[1].startswith(PREFIX):
            return self._path("ca_file")
        text = str(parse_value("ca_file", file, f"profile {profile}"))
        return _relative_to(self.user_file, text)

    def profile_for(self, url: str) -> str | None:
        """The profile of a server: the active one, else the first."""
        names = [name for name, p in self.profiles.items() if p.get("store") == url]
        return self.profile if self.profile in names else next(iter(names), None)

    def limits(self) -> Limits:
        return Limits(
            file_bytes_max=self.number("file_bytes_max"),
            storage_bytes_max=self.number("storage_bytes_max"),
            versions_max=self.number("versions_max"),
            credits_per_month=self.number("credits_per_month"),
            metered=self.text("metered"),
            org_bytes_max=self.number("org_bytes_max"),
            org_create_role=self.text("org_create_role"),
            orgs_max=self.number("orgs_max"),
        )

    def search(self) -> SearchSettings:
        """The endpoints of search, each with its key: FASTIO_EMBEDDING_KEY, FASTIO_CHAT_KEY."""
        return SearchSettings(
            embedding_url=self.get("embedding_url"),
            embedding_model=self.get("embedding_model"),
            embedding_key=self._endpoint_key("embedding"),
            chat_url=self.get("chat_url"),
            chat_model=self.get("chat_model"),
            chat_key=self._endpoint_key("chat"),
        )

    def actor(self) -> str:
        """Who acts: the setting, else user@host."""
        user = self._environ.get("USER") or self._environ.get("USERNAME") or f"uid{_uid()}"
        return self.get("actor") or f"{user}@{_host()}"

    def _layers(self, flags: Mapping[str, str]) -> list[Layer]:
        """The sources besides profiles and defaults, the first to apply first."""
        folder, file = (self.project.folder, self.project.file) if self.project else ("", "")
        project: Mapping[str, object] = {}
        if self.project is not None and self._is_projects_store():
            left_out = self.project.forbidden
            project = {n: v for n, v in self.project.settings.items() if n not in left_out}
        elif self.project is not None:
            folder, project = "", self.project.harmless
        return [
            _layer(flags, FLAG),
            _environment_layer(self._environ),
            _layer(project, file),
            _layer({"store": folder}, folder),
            _layer(self._user, self.user_file),
        ]

    def _store_named(self, *layers: Layer) -> str | None:
        """The store that the user names for this command: by a flag or in the environment, as such
        or by a profile. ``local`` is none where the project is not trusted."""
        profile = None
        for layer in layers:
            if "store" in layer:
                return os.path.expanduser(str(layer["store"][0]))
            if "profile" in layer and profile is None:
                profile = str(layer["profile"][0])
                if profile == LOCAL and self.project is not None:
                    return self.project.folder if self.project.is_trusted else None
                store = self.settings_of(profile).get("store")
                if store:
                    return str(store)
        return None

    def _is_projects_store(self) -> bool:
        """Whether the store in force is the project's own: its settings are for no other."""
        if self.project is None or not self.project.is_trusted:
            return False
        if self._named is None:
            return True
        own = self.project.settings.get("store")
        own = _relative_to(self.project.file, str(own)) if own else self.project.folder
        return self._named == own or os.path.abspath(self._named) == os.path.abspath(own)

    def _apply_profile(self, layers: list[Layer]) -> tuple[str | None, str]:
        """Insert the active profile after the layer that names it; its name and that source."""
        position = next((i for i, layer in enumerate(layers) if "profile" in layer), None)
        if position is None:
            return None, DEFAULT
        value, source = layers[position]["profile"]
        profile = str(parse_value("profile", value, source))
        settings = _layer(self.settings_of(profile), f"profile {profile}")
        before = min(position + 1, len(layers) - 1)
        if not ("store" in settings and any("store" in layer for layer in layers[:before])):
            layers.insert(before, settings)
        return profile, source

    def _check_profile(self) -> None:
        if not self.profile_exists:
            raise FastioError(
                "invalid",
                f"There is no profile {self.profile!r} (from "
                f"{'--profile' if self.profile_source == FLAG else self.profile_source}).",
                "See which there are: fastio profile list",
            )

    def _endpoint_key(self, use: str) -> str | None:
        # A project's file may be somebody else's: the user's key is not sent to its address.
        if self.lookup(f"{use}_url")[1] == self.project_file:
            return None
        return self._environ.get(f"FASTIO_{use.upper()}_KEY")

    def _path(self, name: str) -> str | None:
        """A setting that is a URL, or a path relative to the file that holds it."""
        value, source = self.get(name), self.lookup(name)[1]
        if value is None or "://" in value:
            return value
        if source == FLAG or source.startswith(PREFIX):
            return os.path.expanduser(value)
        return _relative_to(self.user_file if source.startswith("profile ") else source, value)


def _refuse_empty(flags: Mapping[str, str]) -> None:
    """Raise ``invalid`` for a flag without a value: what the shell makes of an unset variable."""
    for name, value in flags.items():
        if value == "":
            raise FastioError(
                "invalid",
                f"--{name.replace('_', '-')} is empty.",
                f"Is the variable set that it comes from? Leave it out, or name the {name}.",
            )


def refuse_address(store: object, source: str) -> None:
    """Raise ``invalid`` for a store named by host and port alone."""
    if not isinstance(store, str) or "/" in store or ":" not in store:
        return
    host, _, port = store.rpartition(":")
    if not port.isdecimal() or not host or (":" in host and not host.startswith("[")):
        return
    scheme = "http" if host in LOOPBACK else "https"
    raise FastioError(
        "invalid",
        f"{store!r} (from {'--store' if source == FLAG else source}) is neither a folder nor a "
        "URL.",
        f"Name the server by its URL, as --store {scheme}://{store}; a folder as ./{store}",
    )


def _environment_layer(environ: Mapping[str, str]) -> Layer:
    return {
        variable.removeprefix(PREFIX).lower(): (value, variable)
        for variable, value in environ.items()
        if variable.startswith(PREFIX) and variable.isupper() and value
    }


def _layer(values: Mapping[str, object], source: str) -> Layer:
    return {name: (value, source) for name, value in values.items() if value not in (None, "")}


def _relative_to(file: str, path: str) -> str:
    return os.path.join(os.path.dirname(file), os.path.expanduser(path))


def _uid() -> int:
    return os.getuid() if hasattr(os, "getuid") else 0


def _host() -> str:
    if hasattr(os, "uname"):
        return os.uname().nodename
    import platform

    return platform.node()
