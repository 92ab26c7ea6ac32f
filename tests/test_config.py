"""Settings: where each comes from, what is accepted, and files changed by many at once."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib

import platformdirs
import pytest

from fastio_cli.config.credentials import find_token
from fastio_cli.config.files import change_file, find_project, user_folder
from fastio_cli.config.projects import Project
from fastio_cli.config.settings import NEVER, SETTINGS, has_password, mask_password, parse_value
from fastio_cli.config.sources import Config
from fastio_cli.errors import FastioError


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A home without settings, and a project folder below it to stand in."""
    for name in list(os.environ):
        if name.startswith(("FASTIO_", "XDG_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    project = tmp_path / "project"
    project.mkdir()
    monkeypatch.chdir(project)
    return tmp_path


def write(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def write_project(home, text):
    """The settings of a project that its user trusts."""
    file = write(home / "project" / ".fastio" / "config.toml", text)
    Project(str(file.parent)).trust()
    return file


def user_file(home):
    return home / ".config" / "fastio" / "config.toml"


def refused(code, work, *arguments, **named):
    with pytest.raises(FastioError) as caught:
        work(*arguments, **named)
    assert caught.value.code == code
    assert caught.value.message
    return caught.value


def test_each_source_goes_before_the_next(home, monkeypatch):
    assert Config().lookup("workspace") == ("default", "default")
    file = write(user_file(home), 'workspace = "by-user"')
    assert Config().lookup("workspace") == ("by-user", str(file))
    project = write_project(home, 'workspace = "by-project"')
    assert Config().lookup("workspace") == ("by-project", str(project))
    monkeypatch.setenv("FASTIO_WORKSPACE", "by-environment")
    assert Config().lookup("workspace") == ("by-environment", "FASTIO_WORKSPACE")
    assert Config({"workspace": "by-flag"}).lookup("workspace") == ("by-flag", "flag")


@pytest.mark.parametrize("use", ["chat", "embedding"])
def test_a_key_goes_to_no_address_that_a_project_names(home, monkeypatch, use):
    monkeypatch.setenv(f"FASTIO_{use.upper()}_KEY", "secret")
    write_project(home, f'{use}_url = "http://127.0.0.1:1/v1"')
    settings = Config().search()
    assert getattr(settings, f"{use}_url") == "http://127.0.0.1:1/v1"
    assert getattr(settings, f"{use}_key") is None
    monkeypatch.setenv(f"FASTIO_{use.upper()}_URL", "http://127.0.0.1:2/v1")
    assert getattr(Config().search(), f"{use}_key") == "secret"
    assert getattr(Config({f"{use}_url": "http://x"}).search(), f"{use}_key") == "secret"


def test_an_empty_variable_is_no_setting(home, monkeypatch):
    monkeypatch.setenv("FASTIO_WORKSPACE", "")
    assert Config().get("workspace") == "default"


def test_the_project_is_found_upward(home):
    deep = home / "project" / "a" / "b"
    deep.mkdir(parents=True)
    assert find_project(str(deep)) is None
    (home / "project" / ".fastio").mkdir()
    assert find_project(str(deep)) == str(home / "project" / ".fastio")
    (home / "project" / "a" / ".fastio").mkdir()
    assert find_project(str(deep)) == str(home / "project" / "a" / ".fastio")
    write(home / "project" / "a" / "b" / ".fastio", "a file is not a project")
    assert find_project(str(deep)) == str(home / "project" / "a" / ".fastio")


def test_a_folder_that_was_removed_has_no_project(home, monkeypatch):
    gone = home / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    assert find_project() is None


def test_the_store_folder(home, monkeypatch):
    assert Config().store_folder() == str(home / ".local" / "share" / "fastio")
    write_project(home, "")
    assert Config().store_folder() == str(home / "project" / ".fastio")
    project = write_project(home, 'store = "elsewhere"')
    assert Config().store_folder() == str(project.parent / "elsewhere")
    write_project(home, 'store = "~/in-home"')
    assert Config().store_folder() == str(home / "in-home")
    monkeypatch.setenv("FASTIO_STORE", "~/by-environment")
    assert Config().store_folder() == str(home / "by-environment")
    assert Config({"store": "by-flag"}).store_folder() == "by-flag"


def test_the_key_of_secrets_is_beside_the_users_settings_or_where_it_is_named(home, monkeypatch):
    assert Config().secret_key_file() == str(user_file(home).parent / "secret.key")
    write(user_file(home), 'secret_key_file = "keys/fastio"')
    assert Config().secret_key_file() == str(user_file(home).parent / "keys" / "fastio")
    monkeypatch.setenv("FASTIO_SECRET_KEY_FILE", "/run/secrets/fastio")
    assert Config().secret_key_file() == "/run/secrets/fastio"


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere platformdirs itself is asked")
@pytest.mark.parametrize(
    "environ",
    [
        {},
        {"XDG_CONFIG_HOME": "/x/config", "XDG_DATA_HOME": "/x/data"},
        {"XDG_CONFIG_HOME": "", "XDG_DATA_HOME": "  "},
        {"XDG_CONFIG_HOME": "/x/with space/ü"},
        {"HOME": "/somewhere/else"},
    ],
)
def test_user_folders_are_those_of_platformdirs(home, monkeypatch, environ):
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    dirs = platformdirs.PlatformDirs("fastio", appauthor=False)
    assert user_folder("config") == dirs.user_config_dir
    assert user_folder("data") == dirs.user_data_dir


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("file_bytes_max", "0"),
        ("file_bytes_max", "-1"),
        ("file_bytes_max", "1.5"),
        ("file_bytes_max", "many"),
        ("file_bytes_max", "1" * 19),
        ("file_bytes_max", True),
        ("file_bytes_max", 1.5),
        ("file_bytes_max", [1]),
        ("format", "xml"),
        ("format", 5),
        ("durability", "none"),
        ("workspace", 5),
        ("workspace", ["a"]),
        ("nothing", "x"),
    ],
)
def test_what_is_not_a_setting(name, value):
    error = refused("invalid", parse_value, name, value, "the test")
    assert name in error.message


def test_numbers_may_be_written_readably(home, monkeypatch):
    monkeypatch.setenv("FASTIO_FILE_BYTES_MAX", "1_000_000")
    assert Config().limits().file_bytes_max == 1_000_000


@pytest.mark.parametrize("name", SETTINGS)
def test_every_setting_has_a_default_that_is_accepted(home, name):
    value, source = Config().lookup(name)
    assert source == "default"
    assert value is None or parse_value(name, value, source) == value
    assert SETTINGS[name].help


@pytest.mark.parametrize(
    "text", ["workspace = ", "[[[", "a = 1\na = 2", "\0", "x = 2026-99-99", "[a]\n[a]"]
)
def test_a_file_that_is_no_toml(home, text):
    file = write(user_file(home), text)
    assert str(file) in refused("invalid", Config).message


def test_a_file_that_is_no_text(home):
    write(user_file(home), "").write_bytes(b"workspace = '\xff'")
    refused("invalid", Config)


def test_a_file_that_is_a_folder(home):
    user_file(home).mkdir(parents=True)
    refused("unavailable", Config)


def test_a_wrong_value_says_where_it_stands(home):
    file = write(user_file(home), "workspace = 5")
    assert str(file) in refused("invalid", Config().get, "workspace").message


def test_unknown_keys_are_left_alone(home):
    file = write(user_file(home), 'future = "x"\n[table]\na = 1\n')
    change_file(str(file), "workspace", "team")
    values = tomllib.loads(file.read_text())
    assert values == {"future": "x", "table": {"a": 1}, "workspace": "team"}
    assert Config().get("workspace") == "team"


def test_change_and_remove(home):
    path = str(user_file(home))
    change_file(path, "workspace", 'it\'s "ü"\n\\')
    assert tomllib.loads(user_file(home).read_text())["workspace"] == 'it\'s "ü"\n\\'
    change_file(path, "versions_max", 7)
    assert Config().limits().versions_max == 7
    change_file(path, "workspace", None)
    change_file(path, "nothing", None)
    assert tomllib.loads(user_file(home).read_text()) == {"versions_max": 7}
    assert sorted(os.listdir(os.path.dirname(path)))[0] == "config.toml"


def test_a_broken_file_is_not_overwritten(home):
    file = write(user_file(home), "[[[")
    refused("invalid", change_file, str(file), "workspace", "team")
    assert file.read_text() == "[[["


def test_a_folder_that_cannot_be(home):
    write(home / ".config", "in the way")
    refused("unavailable", change_file, str(user_file(home)), "workspace", "team")


def test_changes_by_many_processes_are_all_there(home):
    path = str(user_file(home))
    program = (
        "import sys\nfrom fastio_cli.config.files import change_file\n"
        "for n in range(10): change_file(sys.argv[1], f'k{sys.argv[2]}_{n}', n)"
    )
    processes = [subprocess.Popen([sys.executable, "-c", program, path, str(n)]) for n in range(8)]
    for process in processes:
        assert process.wait(60) == 0
    values = tomllib.loads(user_file(home).read_text())
    assert values == {f"k{p}_{n}": n for p in range(8) for n in range(10)}
    left = set(os.listdir(os.path.dirname(path)))
    assert left <= {"config.toml", "config.toml.lock"}


def test_the_actor(home, monkeypatch):
    monkeypatch.setenv("USER", "ada")
    assert Config().actor() == f"ada@{os.uname().nodename}"
    monkeypatch.setenv("FASTIO_ACTOR", "agent:7")
    assert Config().actor() == "agent:7"
    assert Config({"actor": "me"}).actor() == "me"
    for name in ("FASTIO_ACTOR", "USER"):
        monkeypatch.delenv(name)
    monkeypatch.delenv("USERNAME", raising=False)
    assert Config().actor().startswith("uid")


PROFILES = """
workspace = "of-user"
store = "https://user.example"
{named}
[profiles.work]
store = "https://work.example"
workspace = "of-work"
[profiles.bare]
format = "table"
"""


def with_profiles(home, named=""):
    return write(user_file(home), PROFILES.format(named=named))


def test_a_profile_comes_right_after_what_names_it(home, monkeypatch):
    with_profiles(home)
    assert Config().store() == "https://user.example"
    assert Config({"profile": "work"}).lookup("store") == ("https://work.example", "profile work")
    assert Config({"profile": "work", "store": "/f"}).store() == "/f"
    monkeypatch.setenv("FASTIO_WORKSPACE", "of-environment")
    assert Config({"profile": "work"}).get("workspace") == "of-work"
    monkeypatch.setenv("FASTIO_PROFILE", "work")
    assert Config().get("workspace") == "of-environment"
    assert Config().store() == "https://work.example"
    monkeypatch.setenv("FASTIO_STORE", "/by-environment")
    assert Config().store() == "/by-environment"


def test_the_users_profile_goes_before_the_rest_of_the_users_file(home):
    with_profiles(home, 'profile = "work"')
    assert Config().store() == "https://work.example"
    assert Config().get("workspace") == "of-work"
    assert Config({"profile": "local"}).store() == str(home / ".local/share/fastio")


def test_a_folder_with_a_store_goes_before_the_users_profile(home):
    with_profiles(home, 'profile = "work"')
    write_project(home, "")
    assert Config().store() == str(home / "project" / ".fastio")
    # What else the profile says is about its own store.
    assert Config().get("workspace") == "of-user"
    write_project(home, 'profile = "work"')
    assert Config().store() == "https://work.example"
    write_project(home, 'profile = "work"\nworkspace = "of-project"')
    assert Config().get("workspace") == "of-project"
    assert Config({"profile": "local"}).store() == str(home / "project" / ".fastio")


def test_a_profile_without_a_store_counts_wherever_it_is_named(home):
    with_profiles(home, 'profile = "bare"')
    write_project(home, "")
    assert Config().get("format") == "table"
    assert Config().store() == str(home / "project" / ".fastio")


def test_a_profile_that_is_not_there(home, monkeypatch):
    with_profiles(home)
    config = Config({"profile": "none"})
    assert config.get("workspace") == "of-user"
    assert "'none' (from --profile)" in refused("invalid", config.store).message
    monkeypatch.setenv("FASTIO_PROFILE", "none")
    assert "(from FASTIO_PROFILE)" in refused("invalid", Config().store).message


@pytest.mark.parametrize("text", ["profiles = 1", "[profiles]\nwork = 1"])
def test_profiles_that_are_none(home, text):
    write(user_file(home), text)
    refused("invalid", lambda: Config({"profile": "work"}).store())


def test_a_profiles_files_are_relative_to_the_users_file(home):
    write(user_file(home), '[profiles.p]\nstore = "s"\nca_file = "ca.pem"')
    config = Config({"profile": "p"})
    folder = user_file(home).parent
    assert (config.store(), config.ca_file("s")) == (str(folder / "s"), str(folder / "ca.pem"))


def test_a_server_named_by_its_url_is_trusted_as_its_profile_says(home, monkeypatch):
    file = user_file(home)
    profiles = "".join(
        f'[profiles.{name}]\nstore = "https://{name}.example"\n{rest}\n'
        for name, rest in (("a", 'ca_file = "a.pem"'), ("b", 'ca_file = "b.pem"'), ("c", ""))
    )
    write(file, f'profile = "b"\nca_file = "all.pem"\n{profiles}')
    for name, trusted in (("a", "a"), ("b", "b"), ("c", "all"), ("d", "all")):
        url = f"https://{name}.example"
        assert Config({"store": url}).ca_file(url) == str(file.parent / f"{trusted}.pem")
    monkeypatch.setenv("FASTIO_CA_FILE", "/e.pem")
    assert Config({"store": "https://a.example"}).ca_file("https://a.example") == "/e.pem"
    named = Config({"profile": "a"})
    assert named.ca_file("https://a.example") == str(file.parent / "a.pem")


def test_where_a_workspace_is_chosen_for(home):
    file = str(with_profiles(home))
    assert Config().file_for("store") == (file, ())
    assert Config({"profile": "work"}).file_for("store") == (file, ("profiles", "work"))
    project = write_project(home, "")
    assert Config().file_for("store") == (str(project), ())
    assert Config({"profile": "work"}).file_for("store") == (file, ("profiles", "work"))


@pytest.mark.parametrize("name", [n for n, s in SETTINGS.items() if s.project == NEVER])
def test_what_is_the_users_own_is_not_taken_from_a_project(home, name):
    mine = "443" if SETTINGS[name].ports else "mine"
    write(user_file(home), f'{name} = "{mine}"')
    assert Config().get(name) == mine
    write_project(home, f'{name} = "theirs"')
    assert Config().get(name) == mine
    assert name in Config().ignored


def test_values_in_tables(home):
    path = str(user_file(home))
    change_file(path, "store", "s", ("profiles", "a"))
    change_file(path, "b", {"store": "t"}, ("profiles",))
    change_file(path, "store", None, ("profiles", "a"))
    assert tomllib.loads(user_file(home).read_text()) == {
        "profiles": {"a": {}, "b": {"store": "t"}}
    }


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql://ann:hush@db/x", "postgresql://ann:***@db/x"),
        ("postgresql://ann:hu@sh/h@db:5432/x?a=1", "postgresql://ann:***@db:5432/x?a=1"),
        ("postgresql://:hush@db/x", "postgresql://:***@db/x"),
        ("postgresql://ann@db/x?password=hush&a=1", "postgresql://ann@db/x?password=***&a=1"),
        ("postgresql://db/x?SSLpassword=hush", "postgresql://db/x?SSLpassword=***"),
        ("https://ann:hush@host/v1", "https://ann:***@host/v1"),
        ("postgresql://ann@db/x", "postgresql://ann@db/x"),
        ("https://host:8787", "https://host:8787"),
        ("folder:with@signs", "folder:with@signs"),
    ],
)
def test_passwords_are_hidden(url, shown):
    assert mask_password(url) == shown
    assert has_password(url) == (url != shown)


def test_a_token_in_a_file_may_begin_with_a_byte_order_mark(home):
    file = home / "token"
    file.write_bytes(b"\xef\xbb\xbffio_abc\r\n")
    environ = {"FASTIO_TOKEN_FILE": str(file)}
    url = "http://127.0.0.1:1"
    assert find_token(Config({"store": url}), url, environ) == "fio_abc"
