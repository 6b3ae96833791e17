"""The stored arrays of measured kernels."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import xarray as xr

from ntkflow.experiments.kernel_moment import Change, KernelMoment, Structure
from ntkflow.experiments.kernel_run import SYMBOLS, KernelRun
from ntkflow.experiments.outcome import Variable, dataset, scenario_group
from ntkflow.kernels import BLOCK_RATIOS, BLOCK_VALUES, EIGENSPACES

_SHARES = {
    "neuron_diagonal": "no kernel between two outputs",
    "isotropic": "that, and one kernel for all outputs",
    "matrix_blocks": "three matrices over pairs of outputs (paper 3, Assumption D.1)",
    "neuron_blocks": "three values for each output and none between two",
    "three_values": "three values for all outputs (paper 3, Assumption 3.2)",
}
_JACKKNIFE = "jackknife standard error over samples of the"


def kernel_tree(run: KernelRun, text: str) -> xr.DataTree:
    """Groups ``training``, one for each kernel (``logits``, ``features``), and ``scenario``."""
    scenario = run.scenario
    training = dataset(
        {
            "loss": (("step",), np.array(run.losses), "1", "loss ‖R‖²/(2Z) on the samples, as the kernels' function"),
            "accuracy": (("step",), np.array(run.accuracies), "1", "share of these samples that are classified right"),
        },
        {"step": run.steps},
    )
    groups = {"/training": _timed(training, run)}
    for name, moments in run.kernels.items():
        groups[f"/{name}"] = _timed(_kernel(run, name, moments), run)
    groups["/scenario"] = scenario_group(
        kind="kernel", name=scenario.name, seed=scenario.seed, loss_scale=run.z, text=text
    )
    return xr.DataTree.from_dict(groups)


def _timed(group: xr.Dataset, run: KernelRun) -> xr.Dataset:
    attributes = {"units": _unit(run), "long_name": "gradient-flow time of this run"}
    return group.assign_coords(time=("step", run.times, attributes))


def _unit(run: KernelRun) -> str:
    return f"gradient-flow time ({run.z})"


def _kernel(run: KernelRun, name: str, moments: Sequence[KernelMoment]) -> xr.Dataset:
    symbol, last = SYMBOLS[name], moments[-1]
    variables = {**_values(run, name, moments), **_cost(moments)}
    if last.structure is not None:
        variables |= _structure([moment.structure for moment in moments if moment.structure], symbol)
        if run.stored:
            kept = np.stack([moments[index].structure.matrix for index in run.stored])  # pyright: ignore[reportOptionalMemberAccess]
            what = f"{symbol}, the mean over its outputs k of {symbol}_kk, samples sorted by class"
            variables["kernel"] = (("kernel_step", "sample", "other_sample"), kept, "1", what)
    variables |= _neurons(moments, symbol) | _pairs(moments, symbol)
    dimensions = {dimension for names, *_ in variables.values() for dimension in names}
    labels = {
        "step": run.steps,
        "kernel_step": run.steps[list(run.stored)],
        "value": list(BLOCK_VALUES),
        "ratio": list(BLOCK_RATIOS),
        "part": list(EIGENSPACES),
        "other_part": list(EIGENSPACES),
        "structure": list(_SHARES),
        "change_step": run.steps[1:],
    }
    group = dataset(variables, {key: value for key, value in labels.items() if key in dimensions})
    return group.assign_attrs(
        kernel=symbol,
        of=name,
        trace="mean over outputs",
        classes=run.dataset.classes,
        samples_per_class=run.dataset.per_class,
        method=last.cost.method,
        why=last.cost.why,
        memory_bytes=run.scenario.measure.memory_bytes,
    )


def _values(run: KernelRun, name: str, moments: Sequence[KernelMoment]) -> dict[str, Variable]:
    symbol = SYMBOLS[name]
    blocks, ratios = [moment.block for moment in moments], [moment.ratios for moment in moments]
    eigenvalues = np.array([np.asarray(block.kernel.eigenvalues) for block in blocks])
    errors = np.array([block.eigenvalue_standard_errors for block in blocks])
    value = f"mean over outputs of {symbol}_kk"
    how = _spread_of_values(run)
    found: dict[str, Variable] = {
        "block_value": (
            ("step", "value"),
            np.array([block.values for block in blocks]),
            "1",
            f"{value}, averaged over samples with themselves, over pairs of distinct samples of one class, over pairs "
            "from two classes",
        ),
        "block_value_se": (
            ("step", "value"),
            np.array([block.standard_errors for block in blocks]),
            "1",
            f"{how} block value",
        ),
        "block_ratio": (
            ("step", "ratio"),
            np.array([item.values for item in ratios]),
            "1",
            "c/d, n/d and (c − n)/d of the block values (paper 2, (23))",
        ),
        "block_ratio_se": (
            ("step", "ratio"),
            np.array([item.standard_errors for item in ratios]),
            "1",
            f"{how} ratio, by the delta method",
        ),
        "block_eigenvalue": (
            ("step", "part"),
            eigenvalues,
            "1",
            "eigenvalue of the nearest block kernel on the eigenspace (paper 3, Table 1)",
        ),
        "block_eigenvalue_se": (("step", "part"), errors, "1", f"{how} block eigenvalue"),
    }
    random = [moment.output_errors for moment in moments if moment.output_errors is not None]
    if random:
        what = "standard error of the block value over draws of the random outputs alone, on these samples"
        found["block_value_output_se"] = (("step", "value"), np.array(random), "1", what)
    if name == "logits":
        rate = f"1 / {_unit(run)}"
        found["rate_block"] = (
            ("step", "part"),
            eigenvalues / run.loss_scale,
            rate,
            "block eigenvalue over Z: rate at which the residual's part decays if Θ is the block kernel",
        )
        found["rate_block_se"] = (("step", "part"), errors / run.loss_scale, rate, f"{how} rate")
    return found


def _spread_of_values(run: KernelRun) -> str:
    if run.scenario.measure.random_outputs is None:
        return _JACKKNIFE
    return "standard error over samples and random outputs of the"


def _cost(moments: Sequence[KernelMoment]) -> dict[str, Variable]:
    costs = [moment.cost for moment in moments]
    return {
        "seconds": (
            ("step",),
            np.array([cost.seconds for cost in costs]),
            "s",
            "wall time of the kernel or of its values, compilation included",
        ),
        "tiles": (("step",), np.array([cost.tiles for cost in costs]), "1", "tiles the kernel was computed in"),
        "tile_side": (("step",), np.array([cost.tile for cost in costs]), "1", "samples a side of a tile"),
        "size": (("step",), np.array([cost.size for cost in costs]), "byte", "bytes of what was computed"),
    }


def _structure(structures: Sequence[Structure], symbol: str) -> dict[str, Variable]:
    traced = f"of {symbol}, the mean over its outputs"
    spectra = [item.spectrum for item in structures]

    def each(what: Callable[[Structure], float], words: str) -> Variable:
        return ("step",), np.array([what(item) for item in structures]), "1", words

    def elastic(name: str) -> Callable[[Structure], float]:
        return lambda item: float("nan") if item.elasticity is None else getattr(item.elasticity, name)

    stacked = {name: np.array([np.asarray(getattr(item, name)) for item in spectra]) for name in vars(spectra[0])}
    found: dict[str, Variable] = {
        "label_alignment": each(
            lambda item: item.alignment.value, f"alignment {traced} with the labels, diagonal included (thesis (2.63))"
        ),
        "label_alignment_se": each(lambda item: item.alignment.standard_error, f"{_JACKKNIFE} label alignment"),
        "centred_label_alignment": each(
            lambda item: item.centred_alignment, f"alignment {traced} with the labels, both centred, diagonal included"
        ),
        "block_share": each(
            lambda item: item.block_share, f"share of the squared norm {traced} that three values keep"
        ),
        "class_block_share": each(
            lambda item: item.class_block_share,
            f"share of the squared norm {traced} that values for each class and pair of classes keep",
        ),
        "class_space_overlap": each(
            lambda item: item.class_overlap, "overlap of the C leading eigenvectors with the class indicators"
        ),
        "eigenvalue_gap": each(lambda item: item.gap, "(λ_C − λ_{C+1})/λ_1: how well these C are determined"),
        "elasticity_same_class": each(
            elastic("same_class"), "mean of |Θ(x, x')|/Θ(x, x) over pairs of distinct samples of one class"
        ),
        "elasticity_different_class": each(
            elastic("different_class"), "mean of |Θ(x, x')|/Θ(x, x) over pairs from two classes"
        ),
        "elasticity_ratio": each(elastic("ratio"), "local elasticity: different-class mean over same-class mean"),
        "elasticity_ratio_se": each(elastic("ratio_standard_error"), f"{_JACKKNIFE} ratio, by the delta method"),
        "eigenvalue_global_mean": (
            ("step",),
            stacked["global_mean"][:, 0],
            "1",
            f"eigenvalue {traced} within the global mean",
        ),
        "eigenvalue_class_means": (
            ("step", "class_mode"),
            stacked["class_means"],
            "1",
            f"eigenvalues {traced} within the space of the class means, descending",
        ),
        "eigenvalue_within_class": (
            ("step", "within_mode"),
            stacked["within_class"],
            "1",
            f"eigenvalues {traced} within the within-class space, descending",
        ),
        "trace_share": (("step", "part"), stacked["trace_shares"], "1", "share of the trace in the eigenspace"),
        "coupling": (
            ("step", "part", "other_part"),
            stacked["couplings"],
            "1",
            "share of the squared norm between two eigenspaces; off the diagonal 0 for a block kernel",
        ),
        "effective_rank": (("step", "part"), stacked["effective_ranks"], "1", "effective rank in the eigenspace"),
    }
    return found | _changes([item.change for item in structures if item.change is not None])


def _changes(changes: Sequence[Change]) -> dict[str, Variable]:
    if not changes:
        return {}
    against = "between the first moment and this one"
    spans = f"of the span of the C leading eigenvectors {against}"

    def each(what: Callable[[Change], float], words: str) -> Variable:
        return ("change_step",), np.array([what(item) for item in changes]), "1", words

    return {
        "relative_change": each(lambda item: item.relative, f"‖Kᵗ − K⁰‖/‖K⁰‖ {against}"),
        "kernel_distance": each(lambda item: item.distance, f"1 − alignment of the two kernels, {against}"),
        "rotation_largest_angle": each(
            lambda item: float(item.rotation.largest_angle), f"largest principal angle in radians {spans}"
        ),
        "rotation_mean_angle": each(
            lambda item: float(item.rotation.mean_angle), f"mean principal angle in radians {spans}"
        ),
        "rotation_overlap": each(lambda item: float(item.rotation.overlap), f"mean squared cosine {spans}"),
    }


def _neurons(moments: Sequence[KernelMoment], symbol: str) -> dict[str, Variable]:
    found = [moment.neurons for moment in moments if moment.neurons is not None]
    if not found:
        return {}
    variables: dict[str, Variable] = {
        "neuron_block_value": (
            ("step", "neuron", "value"),
            np.stack([item.values for item in found]),
            "1",
            f"block values of {symbol}_kk of each output k",
        ),
        "neuron_label_alignment": (
            ("step", "neuron"),
            np.stack([item.alignment for item in found]),
            "1",
            f"alignment of {symbol}_kk with the labels; none where it is 0",
        ),
    }
    own = [item.own_class for item in found if item.own_class is not None]
    if own:
        what = f"alignment of {symbol}_kk with the indicator of class k"
        variables["neuron_own_class_alignment"] = (("step", "neuron"), np.stack(own), "1", what)
    return variables


def _pairs(moments: Sequence[KernelMoment], symbol: str) -> dict[str, Variable]:
    found = [moment.pairs for moment in moments if moment.pairs is not None]
    if not found:
        return {}
    shares = [[float(getattr(item.shares, name)) for name in _SHARES] for item in found]
    kept = "; ".join(f"{name}: {words}" for name, words in _SHARES.items())
    return {
        "pair_norm": (
            ("step", "neuron", "other_neuron"),
            np.stack([item.norms for item in found]),
            "1",
            f"Frobenius norm over all pairs of samples of {symbol}_ks",
        ),
        "structure_share": (
            ("step", "structure"),
            np.array(shares),
            "1",
            f"share of the squared norm of {symbol}, all pairs of outputs, that an assumption keeps. {kept}",
        ),
    }
