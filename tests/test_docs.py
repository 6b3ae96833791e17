"""The documentation is true of the code: what it shows is run, what it names exists."""

from __future__ import annotations

import ast
import contextlib
import functools
import importlib
import importlib.util
import io
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

import pytest
import typer.main
from ruamel.yaml import YAML

from ntkflow import cli
from ntkflow.collapse import METRICS
from ntkflow.comparison import LIMIT, WINDOW
from ntkflow.errors import InterruptedRun, ScenarioError
from ntkflow.scenario import ForecastSolver, Solver, TrainingSolver, load_scenario

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = sorted(DOCS.rglob("*.md"))
EVERYTHING = [*PAGES, *sorted(ROOT.glob("*.md"))]
SCENARIOS = sorted((ROOT / "scenarios").glob("*.yaml"))
HOW_TO = DOCS / "how-to" / "write-a-scenario.md"
HOW_TOS = sorted((DOCS / "how-to").glob("*.md"))


def name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def read(path: Path) -> str:
    return path.read_text(encoding="utf-8")


class Block(NamedTuple):
    """A fenced block of a page."""

    language: str
    title: str
    text: str


def fenced(path: Path) -> list[Block]:
    found = re.findall(r"^```(\w*)([^\n]*)\n(.*?)^```$", read(path), re.MULTILINE | re.DOTALL)
    titles = [re.search(r'title="([^"]+)"', options) for _, options, _ in found]
    return [Block(item[0], title[1] if title else "", item[2]) for item, title in zip(found, titles, strict=True)]


def prose(path: Path) -> str:
    """A page without its fenced blocks."""
    return re.sub(r"^```.*?^```$", "", read(path), flags=re.MULTILINE | re.DOTALL)


# Names and places


@pytest.mark.parametrize("page", EVERYTHING, ids=name)
def test_relative_links_lead_somewhere(page: Path) -> None:
    targets = re.findall(r"\]\(([^)\s]+)\)", prose(page))
    for target in targets:
        if not re.match(r"[a-z]+:|#", target):
            assert (page.parent / target.partition("#")[0]).exists(), target


@pytest.mark.parametrize("page", EVERYTHING, ids=name)
def test_nothing_of_a_machine_or_a_registry_is_named(page: Path) -> None:
    text = read(page)
    assert not re.search(r"(?<![\w.}…])/(home|root|work|tmp|usr|opt|mnt|var|srv|Users|private)\b", text)
    assert not re.search(r"[A-Z]:\\|localhost|127\.0\.0\.1|pypi\.org|pythonhosted|index-url|proxy|registry", text, re.I)


@functools.cache
def defined_tests() -> dict[str, set[str]]:
    return {
        name(path): {node.name for node in ast.walk(ast.parse(read(path))) if isinstance(node, ast.FunctionDef)}
        for path in (ROOT / "tests").rglob("*.py")
    }


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_tests_that_are_named_exist(page: Path) -> None:
    defined = defined_tests()
    everywhere = set().union(*defined.values())
    for place, test in re.findall(r"`(tests/[\w/.]*)(?:::(\w+))?`", read(page)):
        assert (ROOT / place).exists(), place
        assert not test or test in defined[place], test
    for test in re.findall(r"`(test_\w+)`", read(page)):
        assert test in everywhere, test


def test_errata_and_their_tests_are_the_same() -> None:
    named = set(re.findall(r"`(test_\w+)`", read(DOCS / "errata.md"))) - {"test_errata"}
    defined = {test for test in defined_tests()["tests/test_errata.py"] if test.startswith("test_")}
    assert named == defined


@pytest.mark.parametrize("path", SCENARIOS, ids=name)
def test_a_shipped_scenario_says_what_it_shows_and_how_long_it_takes(path: Path) -> None:
    first, second = read(path).splitlines()[:2]
    assert re.fullmatch(r"# .+ \(.*(second|minute)s?.*\)\.", first)
    assert not second.startswith("#")
    assert f"| `{name(path)}` | `{load_scenario(path).scenario.kind}` |" in read(HOW_TO)


def test_the_rooms_and_their_order_are_those_of_the_contracts() -> None:
    text = read(DOCS / "architecture.md")
    contracts = tomllib.loads(read(ROOT / "pyproject.toml"))["tool"]["importlinter"]["contracts"]
    layers = next(item["layers"] for item in contracts if item["type"] == "layers")
    assert "```text\n" + "\n".join(layers) + "\n```" in text
    for contract in contracts:
        assert contract["type"] == "layers" or f"*{contract['name']}.*" in text
    rooms = {path.parent.name for path in (ROOT / "ntkflow").glob("*/__init__.py")}
    assert rooms == set(re.findall(r"^\| `(\w+)/`", text, re.MULTILINE))


# Numbers in the theory that are settings in the code


def test_constants_of_the_theory_are_those_of_the_code() -> None:
    text = re.sub(r"\s+", " ", read(DOCS / "theory.md"))
    assert f"has moved by {WINDOW:g}, or at the fifth" in text
    assert f"at which `norm_error` exceeds {100 * LIMIT:g} %" in text

    def power(value: float) -> str:
        return "10" + f"{value:.0e}".partition("e")[2].replace("-0", "-").translate(
            str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
        )

    solvers = [Solver(), TrainingSolver(), ForecastSolver()]
    flow, training, forecast = [[power(solver.rtol), power(solver.atol)] for solver in solvers]
    assert f"rtol {flow[0]}, atol {flow[1]} for flows; {', '.join(training)} for the parameters" in text
    assert f"{', '.join(forecast)} for forecasts" in text


def test_every_collapse_metric_is_defined() -> None:
    assert re.findall(r"^\| `(nc\d_\w+)`", read(DOCS / "theory.md"), re.MULTILINE) == list(METRICS)


def test_variables_of_a_comparison_are_written_by_it() -> None:
    source = read(ROOT / "ntkflow" / "experiments" / "comparison_tree.py")
    rows = re.findall(r"^\| `(?:training|theory|comparison)` \| (.*) \|$", read(HOW_TO), re.MULTILINE)
    assert len(rows) == 3
    for variable in re.findall(r"`(\w+)`", " ".join(rows)):
        of_a_kernel = re.sub(r"^(logit|feature)_", "{name}_", variable)
        assert f'"{variable}"' in source or f'"{of_a_kernel}"' in source or variable in METRICS, variable


# The site


def hook_named(stem: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"docs_hook_{stem}", DOCS / "hooks" / f"{stem}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def hook() -> ModuleType:
    pytest.importorskip("latex2mathml")
    return hook_named("mathml")


def test_every_equation_becomes_mathml(hook: ModuleType) -> None:
    equations = [block.text for page in PAGES for block in fenced(page) if block.language == "math"]
    assert len(equations) > 20
    for equation in equations:
        assert hook.mathml(equation).startswith("<math")


@pytest.mark.parametrize("unknown", [r"a \unknowncommand b", r"\begin{aligned} a &= b \end{aligned}"])
def test_what_does_not_become_mathml_stops_the_build(hook: ModuleType, unknown: str) -> None:
    with pytest.raises(ValueError, match=r"from:|does not know"):
        hook.mathml(unknown)


def test_subscripts(hook: ModuleType) -> None:
    source = "λ_single, 2Z_B, ⟨h⟩_c', v_(a,i), Θ_{k,s}; `rate_block`, max_steps, [a](b/x_y.md)\n```text\nR_e\n```\n"
    assert hook.on_page_markdown(source) == (
        "λ<sub>single</sub>, 2Z<sub>B</sub>, ⟨h⟩<sub>c</sub>', v<sub>(a,i)</sub>, Θ<sub>k,s</sub>; `rate_block`, "
        "max_steps, [a](b/x_y.md)\n```text\nR_e\n```\n"
    )


def test_references_into_the_code_have_a_target() -> None:
    """mkdocs builds without a word if one has none, and the reader sees brackets."""
    pages = "".join(map(read, PAGES))
    for target in re.findall(r"\]\[(ntkflow[\w.]*)\]", pages):
        place, _, attribute = target.rpartition(".")
        assert callable(getattr(importlib.import_module(place), attribute)), target


def test_names_that_a_module_hides_are_in_the_reference_all_the_same() -> None:
    """mkdocstrings takes ntkflow.flows.solve for the module of that name, and leaves the function out."""
    reference = "".join(map(read, sorted((DOCS / "reference").glob("*.md"))))
    for room in sorted(path.parent for path in (ROOT / "ntkflow").glob("*/__init__.py")):
        for public in importlib.import_module(f"ntkflow.{room.name}").__all__:
            if (room / f"{public}.py").exists():
                assert f"::: ntkflow.{room.name}.{public}.{public}\n" in reference


def test_every_key_of_a_scenario_is_in_the_tables() -> None:
    tables = hook_named("scenario_keys").tables()
    rows = re.findall(r"^\| `([\w.\[\]…]+)`[^|]* \|(.*)\|$", tables, re.MULTILINE)
    keys = [key for key, _ in rows]
    assert all(meaning.split("|")[-1].strip() for _, meaning in rows)
    kinds = "comparison dispersion end_of_training flow kernel kernel_change mean_field regression relaxation residuals"
    kinds += " width"
    for kind in kinds.split():
        assert f"## Kind `{kind}`" in tables
    for path in SCENARIOS:
        for key in leaves(YAML(typ="safe").load(read(path))):
            assert key in keys, f"{name(path)}: {key}"
    shown_above = {key for path in HOW_TOS for block in fenced(path) if block.title for key in written_keys(block)}
    assert shown_above <= set(keys)


def written_keys(block: Block) -> Iterator[str]:
    if block.title != "mistakes.yaml":
        yield from leaves(YAML(typ="safe").load(block.text))


def leaves(value: object, path: str = "") -> Iterator[str]:
    """The keys of a scenario as the tables write them."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from leaves(inner, f"{path}.{key}" if path else key)
    elif isinstance(value, list) and value and isinstance(value[0], dict):
        for item in value:
            yield from leaves(item, f"{path}[…]")
    else:
        yield path


# The command line


def test_every_command_and_option_is_described() -> None:
    text = read(DOCS / "reference" / "cli.md")
    sections = dict(re.findall(r"^## `ntkflow (\w+)[^\n]*`\n(.*?)(?=^## )", text, re.MULTILINE | re.DOTALL))
    commands = typer.main.get_command(cli.app).commands  # pyright: ignore[reportAttributeAccessIssue]
    assert set(sections) == set(commands)
    for command, description in sections.items():
        table = re.findall(r"^\| (`-.*?) \|", description, re.MULTILINE)
        described = {option for row in table for option in re.findall(r"`(--?[\w-]+)", row)}
        options = [p for p in commands[command].params if any(option.startswith("-") for option in p.opts)]
        assert described == {option for parameter in options for option in parameter.opts} - {"--help"}, command


@pytest.mark.parametrize(
    ("error", "code"),
    [(ScenarioError("x"), 2), (InterruptedRun("x"), 130), (KeyboardInterrupt(), 130), (RuntimeError("x"), 70)],
)
def test_exit_codes(error: BaseException, code: int, monkeypatch: pytest.MonkeyPatch) -> None:
    assert re.search(rf"^\| {code} \|", read(DOCS / "reference" / "cli.md"), re.MULTILINE)

    def fail(*, standalone_mode: bool) -> None:
        raise error

    monkeypatch.setattr(cli, "app", fail)
    with restored_signals(), contextlib.redirect_stderr(io.StringIO()), pytest.raises(SystemExit) as caught:
        cli.main()
    assert caught.value.code == code


@contextlib.contextmanager
def restored_signals() -> Iterator[None]:
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def command_line(arguments: list[str], monkeypatch: pytest.MonkeyPatch) -> tuple[str, int]:
    """What a command prints, both streams in their order, and its exit code."""
    monkeypatch.setattr(sys, "argv", ["ntkflow", *arguments])
    # A file, because an io.StringIO is not what beartype takes for a TextIO.
    with tempfile.TemporaryFile("w+", encoding="utf-8") as printed:
        with (
            restored_signals(),
            contextlib.redirect_stdout(printed),
            contextlib.redirect_stderr(printed),
            pytest.raises(SystemExit) as caught,
        ):
            cli.main()
        printed.seek(0)
        text = printed.read()
    assert isinstance(caught.value.code, int)
    return text, caught.value.code


# What a page shows, done


def commands_of(console: str) -> list[tuple[str, str]]:
    """Each command of a console block with the output shown below it."""
    first, *rest = re.split(r"^\$ ", console, flags=re.MULTILINE)
    assert not first
    return [(item.partition("\n")[0], item.partition("\n")[2]) for item in rest]


SO_FAR = re.compile(r"^[^\n]+: \d+ %\n", re.MULTILINE)


def matches(shown: str, printed: str) -> bool:
    """Whether the output is the one shown, in which … stands for anything in a line, and alone for any lines.

    How far a job has come is printed every few seconds, on a slow machine more often: those lines count only if shown.
    """
    if re.search(SO_FAR, shown) is None:
        printed = re.sub(SO_FAR, "", printed)
    lines = [line.rstrip() for line in shown.splitlines()]
    pattern = "".join(r"(?:.*\n)*" if line == "…" else re.escape(line).replace("…", ".*") + r"\n" for line in lines)
    cleaned = "".join(line.rstrip() + "\n" for line in printed.splitlines())
    return re.fullmatch(pattern, cleaned) is not None


def numbers_agree(shown: str, printed: str) -> bool:
    """Whether two texts are the same up to blanks, and to the last digit shown of each number."""
    number = r"(?<![\w.])[-−]?\d+(?:\.\d+)?(?:e[-+]\d+)?"
    if re.sub(number, "#", shown).split() != re.sub(number, "#", printed).split():
        return False
    for left, right in zip(re.findall(number, shown), re.findall(number, printed), strict=True):
        mantissa, _, exponent = left.partition("e")
        unit = 10.0 ** (int(exponent or 0) - len(mantissa.partition(".")[2]))
        if abs(float(left) - float(right)) > 1.001 * unit:
            return False
    return True


@pytest.mark.parametrize("page", HOW_TOS, ids=name)
def test_how_to(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every block of the page in its order, in one folder: files are written, commands run, outputs compared."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    shutil.copytree(ROOT / "scenarios", tmp_path / "scenarios")
    namespace: dict[str, object] = {}
    printed = ""
    for block in fenced(page):
        match block.language:
            case "yaml" if block.title:
                (tmp_path / block.title).write_text(block.text, encoding="utf-8")
                if block.title != "mistakes.yaml":
                    load_scenario(tmp_path / block.title)
            case "yaml":  # a line for the top of a scenario
                assert block.text.startswith("# yaml-language-server: $schema=ntkflow.schema.json")
                assert (tmp_path / "ntkflow.schema.json").stat().st_size > 1000
            case "python":
                output = io.StringIO()
                with contextlib.redirect_stdout(output):
                    exec(compile(block.text, str(page), "exec"), namespace)
                printed = output.getvalue()
            case "text":
                assert numbers_agree(block.text, printed), printed
            case "console":
                for command, shown in commands_of(block.text):
                    check_command(command, shown, tmp_path, monkeypatch)
            case _:
                raise AssertionError(f"a block of {block.language!r} that nothing checks")


def check_command(command: str, shown: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    words = shlex.split(command)
    if words[0] == "cp":
        shutil.copy(words[1], words[2])
        return
    assert words[0] == "ntkflow"
    target = None
    if ">" in words:
        words, target = words[: words.index(">")], folder / words[-1]
    with monkeypatch.context() as patch:
        if shown.startswith("^C\n"):
            shown = shown.removeprefix("^C\n")
            patch.setattr("ntkflow.experiments.run.experiment", interrupted)
        printed, code = command_line(words[1:], patch)
    if target is not None:
        target.write_text(printed, encoding="utf-8")
        printed = ""
    assert matches(shown, printed), f"$ {command}\n{printed}"
    assert code == (0 if not shown.startswith("error: ") else 130 if "interrupted" in shown else 2)


def interrupted(*arguments: object, **options: object) -> None:
    raise KeyboardInterrupt


SEPARATOR = "-- end of block --"


@pytest.mark.slow
def test_quickstart() -> None:
    """The Python of the page in a fresh interpreter, as a reader would type it: here JAX has other settings already."""
    blocks = [block for block in fenced(DOCS / "quickstart.md") if block.language in ("python", "text")]
    program = "".join(f"{block.text}print({SEPARATOR!r})\n" for block in blocks if block.language == "python")
    environment = {name: value for name, value in os.environ.items() if not name.startswith("JAX_")}
    # Compiling is most of the work; the flags halve it and change nothing beyond rounding.
    flags = "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true"
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        encoding="utf-8",
        env={**environment, "JAX_PLATFORMS": "cpu", "XLA_FLAGS": flags, "PYTHONIOENCODING": "utf-8"},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    outputs = iter(done.stdout.split(f"{SEPARATOR}\n"))
    last = ""
    compared = 0
    for block in blocks:
        if block.language == "python":
            last = next(outputs)
        else:
            compared += 1
            assert numbers_agree(block.text, last), last
    assert compared == 4
