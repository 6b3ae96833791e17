"""The commands themselves: what they print, where, and how they exit."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from experiments.command import SCENARIOS, ntkflow, settings
from experiments.reduced import REDUCED

RESIDUALS = SCENARIOS / "residual_eigenspaces.yaml"
SMALL = settings(*REDUCED["residual_eigenspaces"])


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished result in a folder of its own name."""
    output = tmp_path_factory.mktemp("cli") / "out"
    assert ntkflow("run", RESIDUALS, "-o", output, *SMALL).code == 0
    return output


@pytest.fixture
def copy(result: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(result, tmp_path / "copy"))


def test_quiet_and_without_an_output(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only the report's path, in results/ of the current folder, under the scenario's name."""
    monkeypatch.chdir(tmp_path)
    said = ntkflow("run", RESIDUALS, "--quiet", *SMALL)
    folder = tmp_path / "results" / "residual_eigenspaces"
    assert (said.code, said.err) == (0, "")
    assert said.out == f"Report: {folder / 'report.html'}\n"
    assert (folder / "manifest.json").is_file()


def test_validate_several(tmp_path: Path) -> None:
    bad, worse = tmp_path / "bad.yaml", tmp_path / "worse.yaml"
    bad.write_text(RESIDUALS.read_text().replace("steps: 400", "stpes: 400"))
    worse.write_text("kind: [")
    missing = tmp_path / "missing.yaml"
    said = ntkflow("validate", bad, RESIDUALS, worse, SCENARIOS / "digits.yaml", missing)
    assert said.code == 2
    assert said.out == f"{RESIDUALS}: fine (residuals)\n{SCENARIOS / 'digits.yaml'}: fine (comparison)\n"
    messages = said.err.split("error: ")[1:]
    assert messages[0].count(str(bad)) == 2
    assert "stpes" in messages[0]
    assert "steps" in messages[0]
    assert messages[1].startswith(f"{worse}:1:")
    assert messages[2].startswith(f"{missing}: there is no such file")
    assert len(messages) == 3
    assert "Traceback" not in said.err


def test_validate_with_overrides() -> None:
    assert ntkflow("validate", RESIDUALS, "--set", "steps=7").code == 0
    assert ntkflow("validate", RESIDUALS, "--set", "steps=0").refused().startswith("--set steps=0: steps: ")


def test_schema_is_json() -> None:
    said = ntkflow("schema")
    assert (said.code, said.err) == (0, "")
    schema = json.loads(said.out)
    assert "2020-12" in schema["$schema"]
    text = json.dumps(schema, ensure_ascii=False)
    for word in ("gradient_descent", "zero_invariant", "samples_per_class", "diagonal"):
        assert word in text


def test_show_a_result(result: Path) -> None:
    said = ntkflow("show", result)
    assert (said.code, said.err) == (0, "")
    assert said.out.startswith("Three eigenspaces, three rates\n")
    for text in ("largest stable step", "Eigenspaces", "global mean", "class means", "within class"):
        assert text in said.out


@pytest.mark.parametrize("name", ["results.nc", "summary.json", "report.html", "scenario.yaml"])
def test_show_a_damaged_result(copy: Path, name: str) -> None:
    data = bytearray((copy / name).read_bytes())
    data[len(data) // 2] ^= 1
    (copy / name).write_bytes(data)
    said = ntkflow("show", copy)
    assert said.refused().startswith(f"{copy / name}: the file is not the one that the run wrote")
    assert said.out == ""


def test_show_an_incomplete_result(copy: Path) -> None:
    (copy / "figures" / "residuals.png").unlink()
    assert "it is missing" in ntkflow("show", copy).refused()
    (copy / "manifest.json").unlink()
    assert "no manifest.json in it" in ntkflow("show", copy).refused()


def test_show_what_is_no_result(tmp_path: Path) -> None:
    assert (
        ntkflow("show", tmp_path / "nothing").refused().startswith(f"{tmp_path / 'nothing'}: there is no such folder")
    )
    assert "no manifest.json in it" in ntkflow("show", tmp_path).refused()
    assert "is a file, not a result folder" in ntkflow("show", RESIDUALS).refused()


def test_doctor_on_a_healthy_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NTKFLOW_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    said = ntkflow("doctor")
    assert (said.code, said.err) == (0, "")
    lines = said.out.splitlines()
    assert all(line.startswith("ok  ") for line in lines)
    names = [line[4:].split("  ")[0].strip() for line in lines]
    assert names[:2] == ["Python", "platform"]
    assert {"ntkflow", "jax", "equinox", "diffrax", "scikit-learn", "devices", "float64", "cache folder"} <= set(names)
    assert any("float64" in line and "works" in line for line in lines)
    assert any("cpu:0" in line for line in lines)
    assert str(tmp_path / "ntkflow") in said.out


def test_doctor_names_what_is_bad(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cache folder below a file, a package that is missing, and a JAX that is known to compute wrongly."""
    import importlib.metadata

    real = importlib.metadata.version

    def version(name: str) -> str:
        if name == "diffrax":
            raise importlib.metadata.PackageNotFoundError(name)
        return "0.11.0" if name == "jaxlib" else real(name)

    monkeypatch.setattr(importlib.metadata, "version", version)
    (tmp_path / "file").touch()
    monkeypatch.delenv("NTKFLOW_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    said = ntkflow("doctor")
    assert said.code == 1
    bad = [line for line in said.out.splitlines() if line.startswith("BAD ")]
    assert [line.split()[1] for line in bad] == ["jaxlib", "diffrax", "cache"]
    assert "wrong values" in bad[0]
    assert "missing" in bad[1]
    assert "not writable" in bad[2]
    assert "Traceback" not in said.out + said.err


@pytest.mark.parametrize("arguments", [("rnu",), ("run",), ("run", "a.yaml", "--colour"), ("show",), ("validate",)])
def test_commands_that_do_not_exist(arguments: tuple[str, ...]) -> None:
    said = ntkflow(*arguments)
    assert said.code == 2
    assert "Traceback" not in said.out + said.err
    assert "Usage:" in said.err


@pytest.mark.parametrize("command", ["run", "validate", "schema", "show", "doctor"])
def test_every_command_has_help(command: str) -> None:
    said = ntkflow(command, "--help")
    assert said.code == 0
    assert said.out.startswith("Usage: ")
    assert f"ntkflow {command} [OPTIONS]" in said.out


def test_without_arguments_it_shows_its_commands() -> None:
    said = ntkflow()
    text = said.out + said.err
    assert all(command in text for command in ("run", "validate", "schema", "show", "doctor"))
    assert "Traceback" not in text


def real(*arguments: object, cwd: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "ntkflow", *map(str, arguments)]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=120, check=False)


def test_a_real_process_refuses_a_bad_scenario(tmp_path: Path) -> None:
    text = RESIDUALS.read_text().replace("steps: 400", "steps: many\nstepps: 400")
    (tmp_path / "mine.yaml").write_text(text)
    said = real("run", "mine.yaml", cwd=tmp_path)
    assert said.returncode == 2
    assert said.stdout == ""
    lines = said.stderr.splitlines()
    assert len(lines) == 2, said.stderr
    assert lines[0].startswith("error: mine.yaml:")
    assert "steps" in lines[0]
    assert "stepps" in lines[1]
    assert [path.name for path in tmp_path.iterdir()] == ["mine.yaml"]


def test_a_reader_that_leaves_early(tmp_path: Path) -> None:
    """``ntkflow schema | head -1``: no traceback, no complaint."""
    command = f'"{sys.executable}" -m ntkflow schema | head -1'
    said = subprocess.run(command, shell=True, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False)
    assert said.stdout == "{\n"
    assert said.stderr == ""


def test_checking_a_scenario_needs_no_jax(tmp_path: Path) -> None:
    """``validate`` answers at once: nothing heavy is imported for it."""
    code = (
        "import sys\n"
        f"sys.argv = ['ntkflow', 'validate', {str(RESIDUALS)!r}]\n"
        "from ntkflow.cli import main\n"
        "try:\n    main()\nexcept SystemExit as left:\n    assert left.code == 0\n"
        "assert not {'jax', 'equinox', 'diffrax', 'matplotlib', 'xarray'} & set(sys.modules)\n"
    )
    said = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert said.returncode == 0, said.stderr
