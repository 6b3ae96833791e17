"""The headline of measured kernels."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from ntkflow.experiments.kernel_moment import KernelMoment, Structure
from ntkflow.experiments.kernel_run import SYMBOLS, KernelRun
from ntkflow.kernels import EIGENSPACES
from ntkflow.results import Cell, Column, Quantity, Summary, Table

_PARTS = tuple(name.replace("_", " ") for name in EIGENSPACES)
_MOMENT = (
    Column("step", "steps", "Training steps behind the network, those of a checkpoint included."),
    Column("time", "time", ""),
)


def kernel_summary(run: KernelRun) -> Summary:
    """Statements, numbers with definitions and standard errors, a few tables a kernel, costs, warnings."""
    description = run.scenario.description.strip()
    tables = [_training(run)]
    for name, moments in run.kernels.items():
        tables.append(_values(run, name, moments))
        structures = [moment.structure for moment in moments if moment.structure is not None]
        if structures:
            tables += [_structure(run, name, structures), _change(run, name, structures)]
            tables.append(_spectrum(run, name, moments[-1], structures[-1]))
        tables += [table for table in (_neurons(run, name, moments[-1]), _shares(run, name, moments[-1])) if table]
    return Summary(
        title=run.scenario.name,
        kind="kernel",
        statements=((description,) if description else ()) + _statements(run),
        quantities=tuple(quantity for name in run.kernels for quantity in _quantities(run, name)),
        tables=(*tables, _cost(run)),
        warnings=_warnings(run),
    )


def _statements(run: KernelRun) -> tuple[str, ...]:
    data, scenario = run.dataset, run.scenario
    how = "not trained in this run"
    if scenario.training is not None:
        how = (
            f"trained by {scenario.at[-1]} full-batch gradient-descent steps of {scenario.training.step_size:g} "
            f"(t = {run.times[-1]:g}) on the same samples, loss ‖R‖²/(2Z), {run.z}"
        )
    network = (
        run.origin
        or {
            "mlp": "A fully-connected network",
            "resnet": "A residual network",
            "vgg": "A VGG network",
            "densenet": "A densely connected network",
        }[scenario.network.kind]
    )
    return (
        f"Kernels on {data.inputs.shape[0]} samples, {data.per_class} of each of {data.classes} classes "
        f"({data.name}, {data.normalization}).",
        f"{network}, {run.parameters} parameters, {how}.",
        *((run.normalization,) if run.normalization else ()),
        _what(run),
    )


def _what(run: KernelRun) -> str:
    symbols = " and ".join(f"{SYMBOLS[name]}_kk" for name in run.kernels)
    kept = "Gradients with respect to all parameters as they are stored, readout included."
    if run.scenario.measure.which == "values":
        random = run.scenario.measure.random_outputs
        how = "exactly" if random is None else f"by {random} random ±1 combinations of the outputs"
        return f"{kept} Block values of the mean over outputs k of {symbols}, {how}, without a kernel matrix."
    return f"{kept} Values, structure and spectra are those of the mean over outputs k of {symbols}, exact."


def _quantities(run: KernelRun, name: str) -> list[Quantity]:
    symbol, moment = SYMBOLS[name], run.kernels[name][-1]
    when = f"At step {run.steps[-1]}. Of the mean over outputs k of {symbol}_kk on these samples."
    spread = _spread(run)
    ratio, error = float(moment.ratios.values[0]), float(moment.ratios.standard_errors[0])
    found = [
        Quantity(
            f"{symbol}: same class over diagonal",
            ratio,
            "1",
            "c/d: mean over pairs of distinct samples of one class over the mean of the diagonal (paper 2, "
            f"(23)). {when} {spread}",
            _known(error),
        )
    ]
    structure = moment.structure
    if structure is not None:
        found += [
            Quantity(
                f"{symbol}: alignment with the labels",
                structure.alignment.value,
                "1",
                f"⟨K, YᵀY⟩/(‖K‖ ‖YᵀY‖), thesis (2.63), diagonal included; the identity has 1/√m. {when} {spread}",
                _known(structure.alignment.standard_error),
            ),
            Quantity(
                f"{symbol}: explained by three values",
                structure.block_share,
                "1",
                f"‖P(K)‖²/‖K‖² with P(K) the nearest block kernel (paper 3, Definition 3.1), diagonal included. {when}",
            ),
        ]
        if structure.change is not None:
            found.append(
                Quantity(
                    f"{symbol}: relative change",
                    structure.change.relative,
                    "1",
                    f"‖Kᵗ − K⁰‖/‖K⁰‖ since step {run.steps[0]}, the first moment measured. {when}",
                )
            )
    return found


def _spread(run: KernelRun) -> str:
    if run.scenario.measure.random_outputs is not None:
        return "± is the standard error over draws of the samples and of the random outputs."
    return "± is the jackknife standard error over draws of the samples; on these samples the value is exact."


def _known(error: float) -> float | None:
    return None if math.isnan(error) else error


def _moment(run: KernelRun) -> tuple[Column, ...]:
    step, time = _MOMENT
    return step, Column(time.name, time.unit, f"Gradient-flow time of this run, {run.z}: η times its steps.")


def _training(run: KernelRun) -> Table:
    rows = zip(run.steps.tolist(), run.times.tolist(), run.losses, run.accuracies, strict=True)
    return Table(
        "Moments",
        (
            *_moment(run),
            Column("loss", "1", "‖R‖²/(2Z) on the samples of the kernel, of the function whose kernel is measured."),
            Column("accuracy", "1", "Share of these samples whose largest logit is that of their class."),
        ),
        tuple(rows),
    )


def _values(run: KernelRun, name: str, moments: Sequence[KernelMoment]) -> Table:
    symbol, spread = SYMBOLS[name], _spread(run)
    columns = [*_moment(run)]
    for letter, words in (
        ("d", "samples with themselves"),
        ("c", "ordered pairs of distinct samples of one class"),
        ("n", "ordered pairs of samples of two classes"),
    ):
        columns.append(Column(letter, "1", f"Mean over {words} of the mean over outputs k of {symbol}_kk."))
        columns.append(Column(f"± {letter}", "1", spread))
    columns += [
        Column("n/d", "1", "Ratio of the two (paper 2, (23))."),
        Column("± n/d", "1", f"By the delta method. {spread}"),
    ]
    rows = []
    for step, time, moment in zip(run.steps.tolist(), run.times.tolist(), moments, strict=True):
        pairs = zip(moment.block.values, moment.block.standard_errors, strict=True)
        cells = [cell for value, error in pairs for cell in (float(value), _known(float(error)))]
        ratio = float(moment.ratios.values[1]), _known(float(moment.ratios.standard_errors[1]))
        rows.append((step, time, *cells, *ratio))
    return Table(f"Block values of {symbol}", tuple(columns), tuple(rows))


def _structure(run: KernelRun, name: str, structures: Sequence[Structure]) -> Table:
    rows = []
    for step, time, item in zip(run.steps.tolist(), run.times.tolist(), structures, strict=True):
        aligned = (item.alignment.value, _known(item.alignment.standard_error), item.centred_alignment)
        rows.append((step, time, *aligned, item.block_share, item.class_block_share, item.class_overlap))
    return Table(
        f"Structure of {SYMBOLS[name]}",
        (
            *_moment(run),
            Column("alignment", "1", "⟨K, YᵀY⟩/(‖K‖ ‖YᵀY‖) with the labels, thesis (2.63), diagonal included."),
            Column("± alignment", "1", _spread(run)),
            Column("centred", "1", "The same with the mean over samples taken out of both."),
            Column("three values", "1", "Share of ‖K‖² that the nearest block kernel keeps."),
            Column("class values", "1", "Share that values of its own for every class and pair of classes keep."),
            Column("overlap", "1", "‖UᵀV‖²/C of the C leading eigenvectors with the class indicators; random: C/N."),
        ),
        tuple(rows),
        note=_of_k(name),
    )


def _of_k(name: str) -> str:
    return f"K: the mean over outputs k of {SYMBOLS[name]}_kk. Norms are Frobenius norms over all pairs of samples."


def _change(run: KernelRun, name: str, structures: Sequence[Structure]) -> Table:
    rows = []
    for step, time, item in zip(run.steps.tolist(), run.times.tolist(), structures, strict=True):
        elastic: tuple[Cell, Cell] = (None, None)
        if item.elasticity is not None:
            elastic = (_known(item.elasticity.ratio), _known(item.elasticity.ratio_standard_error))
        changed: tuple[Cell, Cell, Cell] = (None, None, None)
        if item.change is not None:
            angle = float(np.degrees(float(item.change.rotation.mean_angle)))
            changed = (item.change.relative, item.change.distance, angle)
        rows.append((step, time, *elastic, *changed, item.gap))
    return Table(
        f"Elasticity and change of {SYMBOLS[name]}",
        (
            *_moment(run),
            Column("elasticity", "1", "Mean |K(x, x')|/K(x, x) over pairs of two classes, over that of one class."),
            Column("± elasticity", "1", f"By the delta method. {_spread(run)}"),
            Column("change", "1", f"‖Kᵗ − K⁰‖/‖K⁰‖, K⁰ at step {run.steps[0]}, the first moment measured."),
            Column("distance", "1", "1 − ⟨Kᵗ, K⁰⟩/(‖Kᵗ‖ ‖K⁰‖): blind to a change of scale."),
            Column("turned by", "degrees", "Mean principal angle between the spans of the C leading eigenvectors."),
            Column("gap", "1", "(λ_C − λ_{C+1})/λ_1: where it is small, a small change of K turns that span far."),
        ),
        tuple(rows),
        note=_of_k(name),
    )


def _spectrum(run: KernelRun, name: str, moment: KernelMoment, structure: Structure) -> Table:
    spectrum, symbol = structure.spectrum, SYMBOLS[name]
    errors = moment.block.eigenvalue_standard_errors
    rows: list[tuple[Cell, ...]] = []
    for index, values in enumerate(spectrum.eigenvalues):
        block = float(spectrum.predicted[index])
        of_part = float(spectrum.trace_shares[index]), float(spectrum.effective_ranks[index])
        rate = (block / run.loss_scale,) if name == "logits" else ()
        head = (_PARTS[index], values.size, float(values[0]), float(values[-1]))
        rows.append((*head, block, _known(float(errors[index])), *of_part, *rate))
    rate_column = Column(
        "rate", "1/time", f"Block value over Z, {run.z}: of the residual's part, were Θ this block kernel."
    )
    return Table(
        f"Spectrum of {symbol} at step {run.steps[-1]}",
        (
            Column("eigenspace", "", "Of every block kernel: constant vectors, class means without them, the rest."),
            Column("dimension", "1", "Of the eigenspace: 1, C − 1, N − C."),
            Column("largest", "1", "Largest eigenvalue of P K P on it."),
            Column("smallest", "1", "Smallest."),
            Column("block value", "1", "Mean of the eigenvalues: the one that the nearest block kernel has."),
            Column("± block value", "1", _spread(run)),
            Column("trace share", "1", "tr(P K)/tr K."),
            Column(
                "effective rank", "1", "exp(−Σ p log p) with p = λ/Σλ of these eigenvalues (Roy and Vetterli 2007)."
            ),
            *((rate_column,) if name == "logits" else ()),
        ),
        tuple(rows),
        note=f"Between different eigenspaces lies {float(spectrum.coupled_share):.3g} of ‖K‖²; for a block kernel 0.",
    )


def _neurons(run: KernelRun, name: str, moment: KernelMoment) -> Table | None:
    if moment.neurons is None:
        return None
    symbol, found = SYMBOLS[name], moment.neurons
    columns = {
        "d": found.values[:, 0],
        "c": found.values[:, 1],
        "n": found.values[:, 2],
        "alignment": found.alignment,
        **({} if found.own_class is None else {"own class": found.own_class}),
    }
    rows = []
    for label, values in columns.items():
        alive = values[np.isfinite(values)]
        quantiles = np.quantile(alive, [0, 0.25, 0.5, 0.75, 1]).tolist() if alive.size else [None] * 5
        rows.append((label, *quantiles, int(alive.size)))
    return Table(
        f"Single outputs of {symbol} at step {run.steps[-1]}",
        (
            Column(
                "of each output",
                "",
                f"d, c, n: block values of {symbol}_kk. alignment: of it with all labels. own class: with the "
                "indicator of class k.",
            ),
            Column("least", "1", "Over outputs k."),
            Column("quarter", "1", "Quantile 1/4 over outputs."),
            Column("median", "1", "Quantile 1/2."),
            Column("three quarters", "1", "Quantile 3/4."),
            Column("largest", "1", "Over outputs."),
            Column("outputs", "1", "How many have this number; a kernel that is 0 has no alignment."),
        ),
        tuple(rows),
    )


def _shares(run: KernelRun, name: str, moment: KernelMoment) -> Table | None:
    if moment.pairs is None:
        return None
    shares = moment.pairs.shares
    rows = (
        ("no kernel between two outputs", float(shares.neuron_diagonal)),
        ("that, and one kernel for all outputs", float(shares.isotropic)),
        ("three matrices over pairs of outputs", float(shares.matrix_blocks)),
        ("three values for each output, none between two", float(shares.neuron_blocks)),
        ("three values for all outputs", float(shares.three_values)),
    )
    return Table(
        f"What assumptions keep of {SYMBOLS[name]} at step {run.steps[-1]}",
        (
            Column("assumed", "", "The last is paper 3's Assumption 3.2, the third its Assumption D.1."),
            Column("share", "1", "Of ‖Θ‖² over all pairs of outputs and of samples, diagonals included."),
        ),
        rows,
    )


def _cost(run: KernelRun) -> Table:
    rows = []
    for name, moments in run.kernels.items():
        seconds, last = [moment.cost.seconds for moment in moments], moments[-1].cost
        rows.append((SYMBOLS[name], sum(seconds), last.method, last.tiles, last.tile, last.size / 1e6, last.why))
    return Table(
        "Cost",
        (
            Column("kernel", "", "Which."),
            Column("seconds", "s", "Wall time of all moments, compilation included, on this machine in this run."),
            Column("method", "", "How it was computed."),
            Column("tiles", "1", "Of one kernel."),
            Column("side", "samples", "Of a tile."),
            Column("size", "MB", "Bytes of what was computed, by a million."),
            Column("why", "", "What was chosen, and what other ways would have cost."),
        ),
        tuple(rows),
    )


def _warnings(run: KernelRun) -> tuple[str, ...]:
    found = []
    if run.dataset.per_class < 3:
        found.append("With two samples a class there is no jackknife: standard errors of block values need three.")
    matrices = any(moments[-1].structure is not None for moments in run.kernels.values())
    if matrices and len(run.stored) < run.steps.size:
        what = "the first and the last moment" if run.stored else "no moment"
        found.append(f"Kernel matrices are stored of {what} only; more would make the file too large.")
    for name, moments in run.kernels.items():
        last = moments[-1]
        if last.structure is not None and last.structure.elasticity is None:
            found.append(f"{SYMBOLS[name]} is 0 on the diagonal at a sample: local elasticity is undefined.")
        if last.neurons is not None and np.isnan(last.neurons.alignment).any():
            dead = int(np.isnan(last.neurons.alignment).sum())
            found.append(
                f"{dead} of {last.neurons.alignment.size} {name} have a {SYMBOLS[name]}_kk of 0: they are dead."
            )
    return tuple(found)
