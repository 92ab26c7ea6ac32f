"""A folder that came with somebody's files decides nothing before its user says so."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import threading
import warnings
from pathlib import Path

import pytest

from fastio_cli import connect
from fastio_cli.config.projects import Project, make_project, nearest
from fastio_cli.config.settings import ANYWHERE, NEVER, SETTINGS
from fastio_cli.config.sources import Config
from fastio_cli.errors import FastioError, Forbidden
from tests.client.serving import command, fastio

SECRET = "the-users-secret"


@pytest.fixture
def home(tmp_path, monkeypatch):
    for name in list(os.environ):
        if name.startswith(("FASTIO_", "XDG_", "PG")):
            monkeypatch.delenv(name)
    folder = tmp_path / "home"
    folder.mkdir()
    monkeypatch.setenv("HOME", str(folder))
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def cloned(home, monkeypatch):
    """A folder that somebody else filled, and in which the user stands."""
    folder = home / "cloned" / ".fastio"
    folder.mkdir(parents=True)
    monkeypatch.chdir(folder.parent)
    return folder


@pytest.fixture
def listener():
    """An address, and the connections that were made to it."""
    listening = socket.create_server(("127.0.0.1", 0))
    taken = []

    def take():
        while True:
            try:
                connection = listening.accept()[0]
            except OSError:
                return
            taken.append(connection)
            connection.close()

    thread = threading.Thread(target=take, daemon=True)
    thread.start()
    yield f"127.0.0.1:{listening.getsockname()[1]}", taken
    listening.shutdown(socket.SHUT_RDWR)
    listening.close()
    thread.join()


def write(folder, text):
    (folder / "config.toml").write_text(text)


def error(done):
    assert "Traceback" not in done.stderr
    return json.loads(done.stderr.splitlines()[-1])["error"]


def value_of(name):
    """Something that a setting takes, and that is not its default."""
    setting = SETTINGS[name]
    if setting.type is int:
        return "77"
    other = [choice for choice in setting.choices if choice != setting.default]
    return json.dumps(other[0] if other else "443" if setting.ports else "theirs")


def test_every_setting_says_whether_a_project_may_set_it():
    kinds = {name: setting.project for name, setting in SETTINGS.items()}
    assert {name for name, kind in kinds.items() if kind == ANYWHERE} == {"workspace", "format"}
    assert all(kinds[name] == NEVER for name in SETTINGS if SETTINGS[name].secret)
    # Where secrets go, what is trusted, what may be reached: the user's alone.
    for name in kinds:
        if "ca_file" in name or "key_file" in name or name.startswith("egress"):
            assert kinds[name] == NEVER


@pytest.mark.parametrize("name", SETTINGS)
def test_what_each_setting_of_an_untrusted_project_does(cloned, name):
    write(cloned, f"{name} = {value_of(name)}\n")
    config = Config()
    in_force = str(config.lookup(name)[0]) == str(json.loads(value_of(name)))
    assert in_force == (SETTINGS[name].project == ANYWHERE)
    assert (config.ignored is None) == in_force
    nearest().trust()
    config = Config()
    taken = str(config.lookup(name)[0]) == str(json.loads(value_of(name)))
    assert taken == (SETTINGS[name].project != NEVER)
    assert (config.ignored is None) == taken


@pytest.mark.parametrize("name", SETTINGS)
def test_a_store_that_the_user_names_is_not_the_projects(cloned, home, monkeypatch, name):
    write(cloned, f"{name} = {value_of(name)}\n")
    nearest().trust()
    monkeypatch.setenv("FASTIO_STORE", str(home / "mine"))
    in_force = str(Config().lookup(name)[0]) == str(json.loads(value_of(name)))
    assert in_force == (SETTINGS[name].project == ANYWHERE)
    assert Config().store() == str(home / "mine")


def test_its_own_store_by_name_is_the_projects(cloned, monkeypatch):
    """As ``fastio serve`` names it to its further processes."""
    write(cloned, "versions_max = 7\n")
    nearest().trust()
    monkeypatch.setenv("FASTIO_STORE", str(cloned))
    assert Config().number("versions_max") == 7
    write(cloned, 'versions_max = 7\nstore = "data"\n')
    nearest().trust()
    assert Config().number("versions_max") == SETTINGS["versions_max"].default
    monkeypatch.setenv("FASTIO_STORE", str(cloned / "data"))
    assert Config().number("versions_max") == 7


COMMANDS = [
    ("state", "get", "a"),
    ("state", "set", "a", "1"),
    ("file", "list"),
    ("query", "x"),
    ("doctor",),
    ("doctor", "--sweep"),
    ("backup", "new.tar"),
    ("restore", "b.tar", "--yes"),
    ("serve",),
    ("init",),
    ("config", "set", "versions_max", "7", "--project"),
    ("--profile", "local", "state", "list"),
]


def test_its_store_is_not_opened(cloned, home):
    for folder in ("made", "own"):
        fastio("init", "--store", str(home / folder))
    fastio("--store", str(home / "made"), "state", "set", "a", '"theirs"')
    shutil.copytree(home / "made", cloned, dirs_exist_ok=True)
    (cloned.parent / "b.tar").write_bytes(b"")
    before = {f.name: f.read_bytes() for f in cloned.iterdir()}
    for words in COMMANDS:
        refused = error(fastio(*words))
        assert refused["code"] == "forbidden", words
        assert "fastio trust" in refused["hint"]
    assert fastio("state", "get", "a").returncode == 4
    assert {f.name: f.read_bytes() for f in cloned.iterdir()} == before
    assert not (home / ".local").exists()
    with pytest.raises(Forbidden):
        connect()
    # Another store goes on working, also from here, and so does what needs none.
    assert fastio("--store", str(home / "own"), "state", "set", "a", "1").returncode == 0
    assert fastio("config", "show").returncode == 0
    assert json.loads(fastio("trust", "--dry-run").stdout)["trusted"] is False
    assert json.loads(fastio("trust").stdout)["trusted"] is True
    assert fastio("state", "get", "a").stdout == '"theirs"\n'
    fastio("trust", "--revoke")
    assert error(fastio("state", "get", "a"))["code"] == "forbidden"


def test_what_is_ignored_is_said_once(cloned, home):
    write(cloned, 'actor = "mallory"\nchat_url = "http://x"\nformat = "table"\n')
    fastio("init", "--store", str(home / "own"))
    done = fastio("--store", str(home / "own"), "state", "set", "a", "1")
    assert done.returncode == 0
    assert done.stdout.startswith("path")
    assert done.stderr.count("\n") == 1
    assert "actor, chat_url" in done.stderr
    assert str(cloned.parent) in done.stderr
    assert (
        fastio("complete", "words", "--store", str(home / "own"), "state", "get", "=").stderr == ""
    )
    with pytest.warns(UserWarning, match="actor, chat_url"):
        connect(home / "own").close()
    nearest().trust()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        connect(home / "own").close()


@pytest.mark.parametrize("trusted", [False, True])
@pytest.mark.parametrize("scheme", ["postgresql", "postgres", "http", "https"])
def test_secrets_go_to_no_store_that_a_project_names(cloned, home, listener, scheme, trusted):
    address, taken = listener
    write(cloned, f'store = "{scheme}://app@{address}/db"\n')
    (home / ".pgpass").write_text(f"*:*:*:*:{SECRET}\n")
    (home / ".pgpass").chmod(0o600)
    if trusted:
        nearest().trust()
    secrets = {"PGPASSWORD": SECRET, "FASTIO_TOKEN": SECRET, "FASTIO_RETRY_S": "1"}
    done = fastio("state", "get", "a", environ=secrets)
    assert error(done)["code"] in ("forbidden", "invalid")
    assert taken == []
    assert SECRET not in done.stderr
    if trusted and scheme.startswith("postgres"):  # also when there is only ~/.pgpass
        assert error(fastio("state", "get", "a"))["code"] == "forbidden"
        assert taken == []


def test_a_database_that_the_user_knows_may_be_named(cloned, home):
    url = "postgresql://app@db.internal/x"
    write(cloned, f'store = "{url}"\n')
    nearest().trust()
    mine = home / ".config" / "fastio" / "config.toml"
    mine.write_text(f'[profiles.db]\nstore = "{url}"\n')
    assert Config().store() == url


@pytest.mark.parametrize("use", ["chat", "embedding"])
def test_endpoints_of_a_project(cloned, monkeypatch, home, use):
    monkeypatch.setenv(f"FASTIO_{use.upper()}_KEY", SECRET)
    write(cloned, f'{use}_url = "http://elsewhere.example"\n')
    monkeypatch.setenv("FASTIO_STORE", str(home / "mine"))
    assert getattr(Config().search(), f"{use}_url") is None
    nearest().trust()
    # Texts of the user's own store go to nobody whom a project names.
    assert getattr(Config().search(), f"{use}_url") is None
    monkeypatch.delenv("FASTIO_STORE")
    assert getattr(Config().search(), f"{use}_url") == "http://elsewhere.example"
    assert getattr(Config().search(), f"{use}_key") is None


def test_a_store_is_copied_by_the_users_own_settings(cloned, home):
    """The bodies of the user's database would go into the project's bucket."""
    write(cloned, 'blobs = "s3://theirs"\n')
    nearest().trust()
    from fastio_cli.cli.framework.session import Session

    cli = Session({})
    assert cli.config.blobs() == "s3://theirs"
    assert cli.config_for("postgresql://mine/x").blobs() is None


def test_ones_own_project_needs_no_word(home):
    (home / "p" / "deep").mkdir(parents=True)
    os.chdir(home / "p")
    assert json.loads(fastio("init").stdout)["created"] is True
    assert json.loads(fastio("init").stdout)["created"] is False
    os.chdir("deep")
    assert fastio("state", "set", "a", "1", "-q").stdout == "1\n"
    fastio("config", "set", "versions_max", "7", "--project")
    assert Config().number("versions_max") == 7
    fastio("config", "unset", "versions_max", "--project")
    fastio("use", "lab", "--create")
    assert Config().text("workspace") == "lab"
    assert nearest().is_trusted


def test_many_make_one_project(home):
    processes = [
        subprocess.Popen(command("init", "-q"), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        for _ in range(8)
    ]
    assert [(p.communicate()[1], p.returncode) for p in processes] == [(b"", 0)] * 8
    assert nearest().is_trusted


@pytest.mark.parametrize(
    "found",
    [
        {"store.sqlite": ""},
        {"config.toml": 'actor = "x"'},
        {"id": "0" * 32},
        {"blobs/ab/x": ""},
        {"store.sqlite-wal": ""},
    ],
    ids=str,
)
def test_init_does_not_make_others_files_ones_own(cloned, found):
    for name, text in found.items():
        (cloned / name).parent.mkdir(parents=True, exist_ok=True)
        (cloned / name).write_text(text)
    assert error(fastio("init"))["code"] == "forbidden"
    assert not nearest().is_trusted


def test_init_beside_harmless_settings(cloned):
    write(cloned, 'workspace = "team"\n')
    assert fastio("init").returncode == 0
    assert fastio("workspace", "create", "team").returncode == 0
    assert fastio("state", "set", "a", "1", "-q").stdout == "1\n"


def test_init_writes_through_no_link(cloned, home):
    (cloned / ".gitignore").symlink_to(home / "elsewhere")
    assert fastio("init").returncode == 0
    assert not (home / "elsewhere").exists()


def changed_settings(folder):
    write(folder, 'actor = "x"\n')


def replaced(folder):
    shutil.rmtree(folder)
    folder.mkdir(mode=0o700)


def writable_by_others(folder):
    folder.chmod(0o777)


def writable_by_the_group(folder):
    folder.chmod(0o770)


def made_a_link(folder):
    folder.rename(folder.parent / "moved")
    folder.symlink_to("moved")


def of_another_user(folder):
    os.chown(folder, 65534, 65534)


CHANGES = [changed_settings, replaced, writable_by_others, writable_by_the_group, made_a_link]
if hasattr(os, "getuid") and os.getuid() == 0:  # nobody else can give a folder away
    CHANGES.append(of_another_user)


@pytest.mark.parametrize("change", CHANGES)
def test_what_changes_has_to_be_trusted_again(home, change):
    os.chdir(home)
    folder = Path(make_project(str(home)).folder)
    assert nearest().is_trusted
    change(folder)
    assert not nearest().is_trusted
    with pytest.raises(FastioError) as caught:
        Config().store()
    assert "not as it was" in caught.value.message
    nearest().trust()
    assert nearest().is_trusted


def test_what_changes_without_a_consequence(home):
    make_project(str(home))
    write(home / ".fastio", '# a comment\nworkspace = "x"\nformat = "table"\n')
    assert nearest().is_trusted


def test_a_copy_is_not_the_original(home):
    make_project(str(home))
    shutil.copytree(home / ".fastio", home / "other" / ".fastio")
    assert not Project(str(home / "other" / ".fastio")).is_trusted
    (home / "other" / "linked").mkdir()
    (home / "other" / "linked" / ".fastio").symlink_to(home / ".fastio")
    assert not Project(str(home / "other" / "linked" / ".fastio")).is_trusted
    (home / "by-another-name").symlink_to(home)
    assert Project(str(home / "by-another-name" / ".fastio")).is_trusted


def test_where_nobody_expects_a_project(home):
    outer = home.parent / ".fastio"
    outer.mkdir()
    with pytest.raises(FastioError) as caught:
        Config().store()
    assert "above your home folder" in caught.value.message


def a_pipe(file):
    os.mkfifo(file)


def endless(file):
    file.symlink_to("/dev/zero")


def a_link(file):
    file.symlink_to("/etc/passwd")


def large(file):
    file.write_text("#" * (2 * 1024 * 1024))


def broken(file):
    file.write_text("[[[")


def nonsense(file):
    file.write_text("format = 3\nworkspace = []\n")


def a_folder(file):
    file.mkdir()


@pytest.mark.parametrize("kind", [a_pipe, endless, a_link, large, broken, nonsense, a_folder])
@pytest.mark.parametrize("name", ["config.toml", "id"])
def test_files_that_stop_nobody(cloned, home, kind, name):
    kind(cloned / name)
    fastio("init", "--store", str(home / "own"))
    assert fastio("--store", str(home / "own"), "state", "set", "a", "1", "-q").stdout == "1\n"
    assert error(fastio("state", "get", "a"))["code"] == "forbidden"


@pytest.mark.parametrize("text", ["", "[]", "{", '{"folder": 1, "digest": 2}', "null", "\0"])
def test_a_record_that_is_none(home, text):
    make_project(str(home))
    [record] = (home / ".config" / "fastio" / "trusted").iterdir()
    record.write_text(text)
    assert not nearest().is_trusted
    assert fastio("trust", "--list").returncode == 0


def test_a_store_that_fastio_did_not_make_is_not_trusted(cloned):
    (cloned / "store.sqlite").write_bytes(b"not a database" * 100)
    assert error(fastio("trust"))["code"] == "invalid"
    assert not nearest().is_trusted
