"""What the environment names wins, wherever Dagster is started."""

import os
import runpy
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from dagster import DagsterInstance
from dagster._core.secrets.env_file import get_env_var_dict
from dagster._utils.interrupts import setup_interrupt_handlers

from alpha_assets.config.folders import write_project
from alpha_assets.defs import launch
from alpha_assets.defs.launch import hear_signals, prepare

ROOT = Path(__file__).parents[2]
NAMES = ("DAGSTER_HOME", "ALPHA_STORAGE", "ALPHA_DAGSTER_DIR")


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the Makefile, where `.venv` counts as made."""
    for name in NAMES:
        monkeypatch.delenv(name, raising=False)
    folder = tmp_path / "a checkout"
    (folder / ".venv").mkdir(parents=True)
    shutil.copy(ROOT / "Makefile", folder)
    for name in ("pyproject.toml", "constraints.txt", ".venv/.installed"):
        (folder / name).touch()
        os.utime(folder / name, (1e9, 1e9))
    return folder


def make(folder: Path, **environment: str) -> None:
    subprocess.run(
        ["make", "-s", "setup"], cwd=folder, env={**os.environ, **environment}, check=True
    )


def test_env_holds_defaults_that_give_way(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Made while the environment names a storage for once: that is not kept.
    make(checkout, ALPHA_STORAGE="/for/once")
    assert get_env_var_dict(str(checkout)) == {
        "DAGSTER_HOME": str(checkout),
        "ALPHA_STORAGE": f"{checkout}/storage",
        "ALPHA_DAGSTER_DIR": f"{checkout}/storage/_dagster",
    }
    for name in NAMES:
        monkeypatch.setenv(name, f"/mine/{name}")
    assert get_env_var_dict(str(checkout)) == {name: f"/mine/{name}" for name in NAMES}


def test_an_env_of_an_earlier_version_is_mended_and_the_rest_of_it_kept(
    checkout: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (checkout / ".env").write_text("ALPHA_STORAGE=/old one/storage\nJQUANTS_API_KEY=abc\n")
    make(checkout)
    make(checkout)
    old = {"ALPHA_STORAGE": "/old one/storage", "JQUANTS_API_KEY": "abc"}
    assert get_env_var_dict(str(checkout)) == old
    monkeypatch.setenv("ALPHA_STORAGE", "/mine")
    assert get_env_var_dict(str(checkout)) == {**old, "ALPHA_STORAGE": "/mine"}


def test_a_launch_of_ours_leaves_the_folder_of_env_and_keeps_its_paths(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".env").write_text("ALPHA_STORAGE=/elsewhere\n")
    for name, value in {
        "DAGSTER_HOME": "mine/_dagster",
        "ALPHA_DAGSTER_DIR": "mine/_dagster",
        "ALPHA_STORAGE": "mine",
        "ALPHA_PIPELINES": "pipelines",
    }.items():
        monkeypatch.setenv(name, value)
    (tmp_path / "mine" / "_dagster").mkdir(parents=True)
    assert prepare() == []
    assert os.environ["ALPHA_STORAGE"] == str(tmp_path / "mine")
    assert os.environ["ALPHA_PIPELINES"] == str(tmp_path / "pipelines")
    assert get_env_var_dict(str(Path.cwd())) == {}


def test_a_launch_of_ours_finds_the_files_that_its_command_line_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))
    monkeypatch.setenv("ALPHA_DAGSTER_DIR", str(tmp_path / "runs"))
    given = ["dev", "-w", "workspace.yaml", "--workspace=b.yaml", "-f", "/c.py", "-h", "127.0.0.1"]
    monkeypatch.setattr(sys, "argv", ["launch", *given])
    seen: list[str] = []
    monkeypatch.setattr(launch, "hear_signals", lambda: None)
    monkeypatch.setattr(runpy, "run_module", lambda *_, **__: seen.extend(sys.argv[1:]))
    launch.main()
    assert Path.cwd() == tmp_path / "runs"
    here = str(tmp_path)
    assert seen == [
        "dev", "-w", f"{here}/workspace.yaml", f"--workspace={here}/b.yaml",
        "-f", "/c.py", "-h", "127.0.0.1",
    ]  # fmt: skip


def test_any_command_of_dagster_in_a_project_folder_finds_its_home_without_telemetry(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in NAMES:
        monkeypatch.delenv(name, raising=False)
    mine = tmp_path / "my own"
    write_project(mine)
    found = get_env_var_dict(str(mine))
    assert found == {
        "DAGSTER_HOME": str(mine),
        "ALPHA_STORAGE": f"{mine}/storage",
        "ALPHA_DAGSTER_DIR": f"{mine}/storage/_dagster",
    }
    for name, value in found.items():
        monkeypatch.setenv(name, value)
    with DagsterInstance.get() as instance:
        assert not instance.telemetry_enabled
    assert (mine / "storage" / "_dagster").is_dir()
    monkeypatch.setenv("ALPHA_STORAGE", "/mine")
    assert get_env_var_dict(str(mine))["ALPHA_STORAGE"] == "/mine"


@pytest.mark.parametrize("file", [None, "dagster.yaml", "dagster.yml"])
def test_a_launch_of_ours_has_no_telemetry_in_a_home_of_the_user(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, file: str | None
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))
    monkeypatch.delenv("ALPHA_DAGSTER_DIR", raising=False)
    monkeypatch.setenv("DAGSTER_DISABLE_TELEMETRY", "")
    if file:
        (tmp_path / file).write_text("nux: {enabled: false}\n")
    prepare()
    assert os.environ["DAGSTER_DISABLE_TELEMETRY"] == "yes"
    if file:  # whatever a user has configured stays as it is
        assert (tmp_path / file).read_text() == "nux: {enabled: false}\n"
        assert len(list(tmp_path.glob("dagster.y*ml"))) == 1
        return
    made = yaml.safe_load((tmp_path / "dagster.yaml").read_text())
    assert made == {"telemetry": {"enabled": False}}
    with DagsterInstance.get() as instance:
        assert not instance.telemetry_enabled


def test_what_a_script_starts_in_the_background_can_be_ended() -> None:
    before = {name: signal.getsignal(name) for name in (signal.SIGINT, signal.SIGTERM)}
    try:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # as a shell without job control leaves it
        setup_interrupt_handlers()
        assert signal.getsignal(signal.SIGTERM) is signal.SIG_IGN, "Dagster lets both do the same"
        hear_signals()
        setup_interrupt_handlers()
        assert signal.getsignal(signal.SIGTERM) is signal.default_int_handler
    finally:
        for name, handler in before.items():
            signal.signal(name, handler)
