"""Files and variables: where they are looked for, how values are written, what a wrong one says."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from polystore.config import Settings, VFSConfig
from polystore.config_sources import config_files, config_paths, effective, section, variables
from polystore.constants import Backend
from polystore.errors import SettingsError
from polystore.inheritance import Origin, lazy


@section("gadget", "TEST_GADGET")
@dataclass(frozen=True)
class Gadget:
    gadget_port: int = 1
    ratio: float = 0.5
    on: bool = False
    title: str = ""
    store: Backend = Backend.DISK
    limit: int | None = 3
    named: Backend | str = Backend.DISK
    worked_out: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        if not 1 <= self.gadget_port <= 9:
            raise ValueError(f"gadget_port={self.gadget_port}: 1 to 9")


@dataclass(frozen=True)
class Plain:
    gadget: Gadget | None = None
    size: int = 0


def config(tmp_path: Path, text: str) -> dict[str, str]:
    path = tmp_path / "openhcs" / "config.toml"
    path.parent.mkdir(exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return {"XDG_CONFIG_HOME": str(tmp_path), "XDG_CONFIG_DIRS": "/nowhere"}


def test_variables_and_keys_follow_one_rule() -> None:
    assert variables(Gadget)["gadget_port"] == "TEST_GADGET_PORT"  # the section is not said twice
    assert variables(Gadget)["title"] == "TEST_GADGET_TITLE"
    assert "worked_out" not in variables(Gadget)
    assert variables(Plain) == {f"gadget.{name}": variable for name, variable in variables(Gadget).items()}
    assert variables(Settings)["arena_bytes"] == "POLYSTORE_ARENA_BYTES"
    assert variables(VFSConfig) == {"materialization_backend": "POLYSTORE_VFS_MATERIALIZATION_BACKEND"}


@pytest.mark.parametrize(
    ("name", "text", "toml", "value"),
    [
        ("PORT", "7", "7", 7),
        ("RATIO", "0.25", "0.25", 0.25),
        ("RATIO", "2", "2", 2.0),
        ("ON", "yes", "true", True),
        ("ON", "TRUE", '"on"', True),
        ("TITLE", " a b ", '"a b"', "a b"),
        ("STORE", "zarr", '"zarr"', Backend.ZARR),
        ("STORE", "OMERO_LOCAL", '"Omero_Local"', Backend.OMERO_LOCAL),
        ("LIMIT", "none", '"none"', None),
        ("LIMIT", "5", "5", 5),
        ("NAMED", "memory", '"memory"', Backend.MEMORY),
        ("NAMED", "shelf", '"shelf"', "shelf"),
    ],
)
def test_values(name: str, text: str, toml: str, value: Any, tmp_path: Path) -> None:
    attribute = {"PORT": "gadget_port"}.get(name, name.lower())
    found = effective(Gadget, environ={f"TEST_GADGET_{name}": text, "OPENHCS_CONFIG": os.devnull})
    assert getattr(found.value, attribute) == value
    assert type(getattr(found.value, attribute)) is type(value)
    assert found.origin(attribute) == Origin("environment", f"TEST_GADGET_{name}")
    environ = config(tmp_path, f"[gadget]\n{name.lower()} = {toml}\n")
    found = effective(Gadget, environ=environ)
    assert getattr(found.value, attribute) == value
    assert found.origin(attribute) == Origin("file", str(tmp_path / "openhcs" / "config.toml"))


@pytest.mark.parametrize(
    ("name", "text", "complaint"),
    [
        ("PORT", "many", "TEST_GADGET_PORT: 'many' is not allowed; give a whole number"),
        ("PORT", "99", "TEST_GADGET_PORT: gadget_port=99: 1 to 9"),
        ("PORT", "1.5", "give a whole number"),
        ("RATIO", "half", "TEST_GADGET_RATIO: 'half' is not allowed; give a number"),
        ("ON", "perhaps", "TEST_GADGET_ON: 'perhaps' is not allowed; give 1 or 0"),
        ("STORE", "tape", "TEST_GADGET_STORE: 'tape' is not allowed; give one of "),
        ("PORT", "none", "give a whole number"),
    ],
)
def test_a_wrong_variable_is_named_with_what_it_takes(name: str, text: str, complaint: str) -> None:
    with pytest.raises(SettingsError) as caught:
        effective(Gadget, environ={f"TEST_GADGET_{name}": text, "OPENHCS_CONFIG": os.devnull})
    assert complaint in str(caught.value)
    assert isinstance(caught.value, ValueError)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("[gadget]\nport = 99\n", r"config\.toml: \[gadget\] port: gadget_port=99: 1 to 9"),
        ("[gadget]\nport = true\n", r"\[gadget\] port: True is not allowed; give a whole number"),
        ("[gadget]\non = 1\n", r"\[gadget\] on: 1 is not allowed; give 1 or 0"),
        ("[gadget]\ntitle = 3\n", r"\[gadget\] title: 3 is not allowed; give text"),
        ("[gadget]\nport = [1]\n", r"\[gadget\] port: \[1\] is not allowed"),
        ("[gadget]\nprot = 3\n", r"\[gadget\] has no entry 'prot' \(known: limit, named, on, port, ratio"),
        ("[gadget]\ngadget_port = 3\n", r"no entry 'gadget_port'"),
        ("[gadget\nport = 3\n", r"configuration file .*config\.toml: .*line 1"),
        ("gadget = 3\n", r"gadget is a table: write \[gadget\] above its entries"),
    ],
)
def test_a_wrong_file_is_named_with_what_is_wrong(text: str, complaint: str, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=complaint):
        effective(Gadget, environ=config(tmp_path, text))


def test_what_is_no_text_and_what_cannot_be_read(tmp_path: Path) -> None:
    environ = config(tmp_path, "")
    (tmp_path / "openhcs" / "config.toml").write_bytes(b"[gadget]\ntitle = '\xff'\n")
    with pytest.raises(SettingsError, match=r"config\.toml"):
        effective(Gadget, environ=environ)
    (tmp_path / "openhcs" / "config.toml").unlink()
    (tmp_path / "openhcs" / "config.toml").mkdir()
    with pytest.raises(SettingsError, match=r"config\.toml: Is a directory"):
        effective(Gadget, environ=environ)


def test_a_file_from_windows_is_read(tmp_path: Path) -> None:
    environ = config(tmp_path, "")
    (tmp_path / "openhcs" / "config.toml").write_bytes(b"\xef\xbb\xbf[gadget]\r\nport = 4\r\n")
    assert effective(Gadget, environ=environ).value == Gadget(4)


def test_tables_of_others_and_empty_variables_say_nothing(tmp_path: Path) -> None:
    environ = config(tmp_path, "[somebody_elses]\nx = 1\n") | {
        "TEST_GADGET_PORT": "",
        "TEST_GADGET_OTHER": "x",
    }
    assert effective(Gadget, environ=environ).value == Gadget()


def test_the_users_file_outranks_the_machines_field_by_field(tmp_path: Path) -> None:
    user, site, machine = tmp_path / "user", tmp_path / "site", tmp_path / "machine"
    for folder, text in (
        (user, "port = 3"),
        (site, "port = 2\ntitle = 'site'"),
        (machine, "port = 1\ntitle = 'machine'\nratio = 0.1"),
    ):
        folder.mkdir()
        config(folder, f"[gadget]\n{text}\n")
    environ = {"XDG_CONFIG_HOME": str(user), "XDG_CONFIG_DIRS": f"{site}{os.pathsep}{machine}"}
    found = effective(Gadget, environ=environ)
    assert found.value == Gadget(3, 0.1, title="site")
    assert [each.value for each in found.explain()[0].shadowed] == [2, 1, 1]
    one = machine / "openhcs" / "config.toml"
    assert effective(Gadget, environ={**environ, "OPENHCS_CONFIG": str(one)}).value == Gadget(
        1, 0.1, title="machine"
    )


@pytest.mark.skipif(sys.platform == "win32", reason="other folders there")
def test_where_files_are_looked_for() -> None:
    assert config_paths({"HOME": "/home/a"}) == (
        Path("/etc/xdg/openhcs/config.toml"),
        Path("/home/a/.config/openhcs/config.toml"),
    )
    assert config_paths(
        {"HOME": "/home/a", "XDG_CONFIG_HOME": "relative", "XDG_CONFIG_DIRS": "/b:rel:/c:/b"}
    ) == (
        Path("/b/openhcs/config.toml"),
        Path("/c/openhcs/config.toml"),
    )
    assert config_paths({}) == (Path("/etc/xdg/openhcs/config.toml"),)
    assert config_files({"HOME": "/nowhere", "XDG_CONFIG_DIRS": "/nowhere"}) == ()


def test_a_file_that_was_asked_for_must_be_there() -> None:
    with pytest.raises(SettingsError, match="OPENHCS_CONFIG='/no/such': there is no such file"):
        effective(Gadget, environ={"OPENHCS_CONFIG": "/no/such"})


def test_files_and_variables_fill_a_nested_configuration_but_do_not_make_one(tmp_path: Path) -> None:
    environ = config(tmp_path, "[gadget]\nport = 4\n") | {"TEST_GADGET_ON": "1"}
    assert effective(Plain, environ=environ).value == Plain()
    found = effective(Plain, global_config={"gadget": {"title": "x"}}, environ=environ)
    assert found.value.gadget == Gadget(4, on=True, title="x")
    assert found.origin("gadget") == Origin("global")
    assert found.origin("gadget.gadget_port").level == "file"
    assert found.origin("gadget.on").level == "environment"


def test_the_environment_outranks_what_code_configures_and_yields_to_the_call() -> None:
    environ = {"TEST_GADGET_PORT": "7", "OPENHCS_CONFIG": os.devnull}
    complete = Gadget(gadget_port=2)
    found = effective(Gadget, global_config=complete, pipeline=complete, step=complete, environ=environ)
    assert found.value.gadget_port == 7
    assert effective(Gadget, step=complete, call={"gadget_port": 5}, environ=environ).value.gadget_port == 5
    assert effective(Gadget, call={"gadget_port": None}, environ=environ).value.gadget_port == 7


def test_the_settings_of_a_process_come_from_the_file_too(tmp_path: Path) -> None:
    environ = config(tmp_path, '[polystore]\narena_bytes = "16MiB"\nqueue_bytes = 1000\ndurable = true\n')
    environ["POLYSTORE_QUEUE_BYTES"] = "1MiB"
    assert Settings.from_env(environ) == Settings(arena_bytes=16 << 20, queue_bytes=1 << 20, durable=True)
    with pytest.raises(SettingsError, match=r"\[polystore\] arena_bytes: 'huge' is no size"):
        Settings.from_env(config(tmp_path, '[polystore]\narena_bytes = "huge"\n'))


def test_a_section_of_two_classes_takes_the_entries_of_both(tmp_path: Path) -> None:
    @section("pair", "TEST_PAIR")
    @dataclass(frozen=True)
    class First:
        a: int = 1

    @section("pair", "TEST_PAIR")
    @dataclass(frozen=True)
    class Second(First):
        b: int = 1

    environ = config(tmp_path, "[pair]\na = 2\nb = 3\n")
    assert effective(First, environ=environ).value == First(2)
    assert effective(Second, call=lazy(First)(a=5), environ=environ).value == Second(5, 3)
    with pytest.raises(SettingsError, match=r"\(known: a, b\)"):
        effective(First, environ=config(tmp_path, "[pair]\nc = 2\n"))


def test_without_a_file_the_parser_is_not_imported() -> None:
    code = (
        "import sys; from polystore.config import Settings; Settings.from_env({'XDG_CONFIG_DIRS': '/nowhere'});"
        "print([m for m in ('tomllib', 'numpy', 'msgspec', 'zmq') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.strip() == "[]"


def test_a_derived_class_shares_the_section_and_adds_entries(tmp_path: Path) -> None:
    @dataclass(frozen=True)
    class Better(Gadget):
        shine: int = 0

    environ = config(tmp_path, "[gadget]\nport = 2\nshine = 3\n")
    assert effective(Better, environ=environ).value == Better(2, shine=3)
    with pytest.raises(SettingsError, match="no entry 'shine'"):
        effective(Gadget, environ=environ)


@pytest.mark.skipif(sys.platform == "win32", reason="other permissions there")
def test_a_home_this_user_may_not_look_into_has_no_file() -> None:
    code = (
        "import os; from polystore.config import Settings\n"
        "if os.geteuid() == 0: os.setgid(65534); os.setuid(65534)\n"
        "print(Settings.from_env({'HOME': os.environ['HIDDEN']}).arena_bytes)"
    )
    with tempfile.TemporaryDirectory() as hidden:
        path = Path(hidden, ".config", "openhcs", "config.toml")
        path.parent.mkdir(parents=True)
        path.write_text("[polystore]\narena_bytes = 1\n", encoding="utf-8")
        Path(hidden).chmod(0o000)
        environment = {**os.environ, "HIDDEN": hidden}
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, env=environment
        )
        Path(hidden).chmod(0o700)
    assert done.stdout.strip() == str(64 << 20), done.stderr
