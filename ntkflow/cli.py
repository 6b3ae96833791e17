"""The command line: parse, call, print. Everything heavy is imported inside the command that needs it."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import signal
import sys
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer
from rich.console import Console

from ntkflow.errors import ScenarioError, UserError
from ntkflow.progress import BarProgress, PlainProgress, Progress, silent

if TYPE_CHECKING:
    from ntkflow.networks import Activation

app = typer.Typer(
    name="ntkflow",
    help="Simulate block-structured NTK gradient flow, train real networks beside it, and compare.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

_INTERRUPTED = 130

Overrides = Annotated[
    list[str] | None,
    typer.Option(
        "--set", metavar="KEY=VALUE", help="Change a value of the scenario, e.g. network.width=128. Repeatable."
    ),
]


@app.command()
def run(
    scenario: Annotated[Path, typer.Argument(help="A scenario, YAML.")],
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="Folder of the result; results/NAME of the scenario file unless told."),
    ] = None,
    set_: Overrides = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an earlier result in that folder.")] = False,
    quiet: Annotated[
        bool, typer.Option("--quiet", "-q", help="No progress, no summary: only the report's path.")
    ] = False,
) -> None:
    """Run a scenario and write its result: data, figures, report."""
    from ntkflow.scenario import load_scenario

    loaded = load_scenario(scenario, set_ or [])
    target = Path("results") / scenario.stem if output is None else output
    from ntkflow.environment import configure_jax

    configure_jax()
    from ntkflow.experiments import run_scenario
    from ntkflow.report import print_summary

    with _progress(quiet) as progress:
        folder, summary = run_scenario(loaded, target, overwrite=overwrite, progress=progress)
    console = Console()
    if not quiet:
        # The first two tables are what a comparison is about; `ntkflow show` and the report have them all.
        print_summary(dataclasses.replace(summary, tables=summary.tables[:2]), console)
        console.print()
    print(f"Report: {folder / 'report.html'}")


@app.command()
def validate(
    files: Annotated[list[Path], typer.Argument(help="Scenarios, YAML.")],
    set_: Overrides = None,
) -> None:
    """Check scenarios without running them; every problem is shown with its place."""
    from ntkflow.scenario import load_scenario

    failed = False
    for file in files:
        try:
            loaded = load_scenario(file, set_ or [])
        except UserError as error:
            failed = True
            _complain(error)
        else:
            print(f"{file}: fine ({loaded.scenario.kind})")
    if failed:
        raise typer.Exit(UserError.exit_code)


@app.command()
def estimate(
    scenario: Annotated[Path, typer.Argument(help="A scenario of kind training, regression or width, YAML.")],
    set_: Overrides = None,
) -> None:
    """Say how long a run will take and how much memory, from a few measured steps or kernels; training: disk too."""
    from ntkflow.scenario import RegressionScenario, TrainingScenario, WidthScenario, load_scenario

    loaded = load_scenario(scenario, set_ or [])
    from ntkflow.environment import configure_jax

    configure_jax()
    from ntkflow.experiments import estimate as measured
    from ntkflow.experiments import estimate_kernels
    from ntkflow.report import print_summary

    if isinstance(loaded.scenario, RegressionScenario | WidthScenario):
        with _progress(quiet=False) as progress:
            cost = estimate_kernels(loaded.scenario, folder=loaded.path.parent, progress=progress)
        print_summary(cost.summary(loaded.scenario.name), Console())
        return
    with _progress(quiet=False) as progress:
        found = measured(loaded.scenario, folder=loaded.path.parent, progress=progress)
    assert isinstance(loaded.scenario, TrainingScenario)
    print_summary(found.summary(loaded.scenario.name, loaded.scenario.checkpoints.keep), Console())


@app.command()
def compare(
    results: Annotated[list[Path], typer.Argument(help="Results of kind comparison or run_comparison, two or more.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder of the new result.")] = Path(
        "results/compared"
    ),
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an earlier result in that folder.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Only the report's path.")] = False,
) -> None:
    """Put comparisons beside each other in one report."""
    from ntkflow.experiments import compare_results
    from ntkflow.report import print_summary

    with _progress(quiet) as progress:
        folder, summary = compare_results(results, output, overwrite=overwrite, progress=progress)
    if not quiet:
        print_summary(dataclasses.replace(summary, tables=summary.tables[:2]), Console())
    print(f"Report: {folder / 'report.html'}")


@app.command()
def figure(
    name: Annotated[str | None, typer.Argument(help="Which, e.g. paper3-fig1; the list unless told.")] = None,
    setting: Annotated[
        str, typer.Option("--setting", help="laptop: under ten minutes on two cores. paper: the source's own.")
    ] = "laptop",
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder of figures and results.")] = Path(
        "results/figures"
    ),
    scenarios: Annotated[
        Path | None, typer.Option("--scenarios", help="The project's folder of scenarios, where it is not found.")
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace results of other settings.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress: only the files' paths.")] = False,
) -> None:
    """Draw a figure of one of the papers; runs the scenarios it needs that have no result in the folder yet."""
    from ntkflow.environment import configure_jax

    configure_jax()
    from ntkflow.figures import FIGURES, made_figure

    if name is None:
        width = max(map(len, FIGURES))
        for known, found in sorted(FIGURES.items()):
            print(f"{known:<{width}}  {found.source}: {found.shows}")
        return
    if setting not in ("laptop", "paper"):
        raise ScenarioError(f"there is no setting {setting!r}", place="--setting", remedy="Take laptop or paper.")
    folder = Path(__file__).resolve().parent.parent / "scenarios" if scenarios is None else scenarios
    with _progress(quiet) as progress:
        _, files = made_figure(
            name, scenarios=folder, output=output, setting=setting, overwrite=overwrite, progress=progress
        )
    for file in files:
        print(file)


@app.command()
def trust(
    depth: Annotated[int, typer.Option(help="L, layers of weights.")],
    width: Annotated[int, typer.Option(help="M, neurons of every hidden layer.")],
    sigma_w: Annotated[float, typer.Option(help="σ_w: weights are N(0, σ_w²/fan-in).")],
    activation: Annotated[str, typer.Option(help="relu, tanh, erf, gelu or linear.")] = "relu",
    sigma_b: Annotated[float, typer.Option(help="σ_b: biases are N(0, σ_b²).")] = 0.0,
    inputs: Annotated[int | None, typer.Option(help="n₀; as the width unless told.")] = None,
    samples: Annotated[int, typer.Option(help="Most random networks where there is no formula.")] = 8192,
    seed: Annotated[int, typer.Option(help="Of everything random.")] = 0,
) -> None:
    """Say whether a fixed, deterministic NTK can be trusted for a network: phase, randomness, change, depth."""
    from ntkflow.environment import configure_jax

    configure_jax()
    from ntkflow.experiments import trust as assessed
    from ntkflow.report import print_summary

    with _progress(quiet=False) as progress:
        found = assessed(
            activation=_known_activation(activation),
            depth=depth,
            width=width,
            sigma_w=sigma_w,
            sigma_b=sigma_b,
            inputs=inputs,
            samples=samples,
            seed=seed,
            progress=progress,
        )
    print_summary(found.summary(), Console())


def _known_activation(name: str) -> Activation:
    from ntkflow.networks import ACTIVATIONS

    for known in ACTIVATIONS:
        if name == known:
            return known
    raise UserError(f"no activation {name!r}", place="--activation", remedy=f"Known are {', '.join(ACTIVATIONS)}.")


@app.command()
def schema() -> None:
    """Print the JSON Schema of scenarios, for editors."""
    from ntkflow.scenario import json_schema

    print(json.dumps(json_schema(), indent=2, ensure_ascii=False))


@app.command()
def show(result: Annotated[Path, typer.Argument(help="A result folder.")]) -> None:
    """Show the summary of a result, after checking that none of its files has changed."""
    from ntkflow.report import print_summary
    from ntkflow.results import read_result

    found = read_result(result)
    print_summary(found.summary, Console())


@app.command()
def doctor() -> None:
    """Check versions, devices, float64 and the cache folder."""
    from ntkflow.environment import check_up

    console = Console(soft_wrap=True, highlight=False)
    findings = check_up()
    width = max(len(finding.name) for finding in findings)
    for finding in findings:
        mark = "ok " if finding.fine else "BAD"
        console.print(f"{mark} {finding.name:<{width}}  {finding.found}", markup=False)
    if not all(finding.fine for finding in findings):
        raise typer.Exit(1)


@app.command()
def data(
    source: Annotated[
        str | None,
        typer.Argument(help="Read and check this one: digits, mnist5k, fashion_mnist, mnist, cifar10, file."),
    ] = None,
    path: Annotated[Path | None, typer.Option("--path", help="Where it is: a folder, or for file a .npz file.")] = None,
) -> None:
    """List the data sets, which of them are here, and how to get the rest; or check one."""
    from ntkflow.environment import configure_jax

    configure_jax()
    from ntkflow.data import catalogue_table, read_source

    if source is None:
        Console().print(catalogue_table())
    else:
        samples = read_source(source, path)
        samples.require_usable()
        print(f"{samples}\nChecked: {samples.checked}.")


def main() -> NoReturn:
    """The entry point: prints what a user can mend as one message, and leaves with its exit code."""
    # Equinox reads this when it is imported: see ntkflow.flows.integrate.
    os.environ.setdefault("EQX_ON_ERROR", "off")
    # A scheduler that ends a job sends SIGTERM: the run then stops as after Ctrl-C, and says what it left.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _interrupt)
    # Everything printed is UTF-8 or replaced; a terminal in another encoding must not end a run.
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")  # pyright: ignore[reportAttributeAccessIssue]
    told = False
    try:
        code = app(standalone_mode=False)
    except UserError as error:
        told = True
        _complain(error)
        code = error.exit_code
    except typer.TyperException as error:
        # Click's own errors about the command's words know how to print themselves.
        getattr(error, "show", lambda: print(f"error: {error}", file=sys.stderr))()
        code = UserError.exit_code
    except (KeyboardInterrupt, typer.Abort):
        code = _INTERRUPTED
    except BrokenPipeError:
        # `ntkflow schema | head`: the reader has gone. Python would complain about it once more while shutting down.
        sys.stderr.close()
        code = 141
    except Exception:
        traceback.print_exc()
        print(
            "\nThis is a mistake in ntkflow, not in your scenario. Please report it with the lines above.",
            file=sys.stderr,
        )
        code = 70
    if code == _INTERRUPTED and not told:
        print("interrupted", file=sys.stderr)
    sys.exit(code if isinstance(code, int) else 0)


def _complain(error: UserError) -> None:
    print(f"error: {error}", file=sys.stderr)


class _Asked:
    """Whether the user asked to stop. Python drops a KeyboardInterrupt that arrives in some callbacks of JAX's."""

    to_stop = False


def _interrupt(number: int, frame: object) -> NoReturn:
    _Asked.to_stop = True
    raise KeyboardInterrupt


def _heeding(progress: Progress) -> Progress:
    """The same progress, which stops the run if the interrupt itself was lost."""

    def tell(stage: str, done: float, total: float) -> None:
        if _Asked.to_stop:
            raise KeyboardInterrupt
        progress(stage, done, total)

    return tell


@contextlib.contextmanager
def _progress(quiet: bool) -> Iterator[Progress]:
    console = Console(stderr=True)
    if quiet:
        yield _heeding(silent)
    elif console.is_terminal:
        with BarProgress(console) as bars:
            yield _heeding(bars)
    else:
        yield _heeding(PlainProgress(sys.stderr))
