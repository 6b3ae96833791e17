"""Block values, alignments and the invariant from Gram matrices of whole Jacobians, by loops over pairs of samples."""

from __future__ import annotations

import dataclasses
import functools
import itertools
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from training.observations.cases import (
    CASES,
    CLASSES,
    EXACT,
    KERNEL_M,
    LABELS,
    SAMPLED,
    SAMPLES,
    M,
    Z,
    close,
    gram,
    moment,
    observed,
    plain_jacobian,
    plain_outputs,
    readout,
    references,
    values,
)

from ntkflow.errors import ScenarioError
from ntkflow.kernels.empirical.random_outputs import random_signs
from ntkflow.training.observations import (
    AlignmentObservation,
    BlockValueObservation,
    InvariantObservation,
    KernelMethod,
    Moment,
)

KINDS = (("logits", "logit"), ("features", "feature"))
PAIRS = CLASSES * KERNEL_M


def three_values(matrix: np.ndarray, kept: list[int] | None = None) -> np.ndarray:
    """d, c, n as means of the classes' own means, over the samples that are kept."""
    kept = list(range(len(matrix))) if kept is None else kept
    of_class = [[i for i in kept if i // KERNEL_M == c] for c in range(CLASSES)]
    d = np.mean([np.mean([matrix[i, i] for i in one]) for one in of_class])
    c = np.mean([np.mean([matrix[i, j] for i, j in itertools.permutations(one, 2)]) for one in of_class])
    n = np.mean([np.mean([matrix[i, j] for i in a for j in b]) for a, b in itertools.permutations(of_class, 2)])
    return np.array([d, c, n])


def jackknife(matrix: np.ndarray, function: Any) -> np.ndarray:
    """Covariance of ``function(d, c, n)`` when each sample is left out in turn, within its class."""
    total = 0.0
    for c in range(CLASSES):
        left = []
        for i in range(c * KERNEL_M, (c + 1) * KERNEL_M):
            left.append(three_values(matrix, [j for j in range(PAIRS) if j != i]))
        deviation = np.array(left) - np.mean(left, axis=0)
        total = total + (KERNEL_M - 1) / KERNEL_M * deviation.T @ deviation
    return function @ total @ function.T


def eigenvalues(three: np.ndarray) -> np.ndarray:
    """Of the dense block matrix over the training samples, by their place in the spectrum and not by a formula."""
    d, c, n = three
    matrix = np.array(
        [[d if i == j else c if LABELS[i] == LABELS[j] else n for j in range(SAMPLES)] for i in range(SAMPLES)]
    )
    one_class = np.array([1.0] * M + [-1.0] * M + [0.0] * (SAMPLES - 2 * M))
    within = np.array([1.0, -1.0] + [0.0] * (SAMPLES - 2))
    vectors = (np.ones(SAMPLES), one_class, within)
    return np.array([vector @ matrix @ vector / (vector @ vector) for vector in vectors])


@pytest.mark.parametrize("case", CASES)
def test_block_values(case: str) -> None:
    found = values(case)["block_values"]
    for of, prefix in KINDS:
        three = three_values(gram(case, of))
        d, c, n = three
        close(found[f"{prefix}_block_value"], three, EXACT[case])
        close(found[f"{prefix}_block_ratio"], [c / d, n / d, (c - n) / d], 3 * EXACT[case])
        close(found[f"{prefix}_eigenvalue"], eigenvalues(three), 3 * EXACT[case])
        errors = np.sqrt(np.diagonal(jackknife(gram(case, of), np.eye(3))))
        close(found[f"{prefix}_block_standard_error"], errors, 30 * EXACT[case])
        assert not found[f"{prefix}_block_output_error"].any()
        # The delta method's derivatives, by differences.
        for name, function in (("block_ratio", ratios), ("eigenvalue", eigenvalues)):
            slopes = derivative(function, three)
            errors = np.sqrt(np.diagonal(jackknife(gram(case, of), slopes)))
            close(found[f"{prefix}_{name}_standard_error"], errors, max(30 * EXACT[case], 1e-6))
    if case == "entropy":
        assert "rate" not in found
    else:
        on_training = eigenvalues(three_values(gram(case, "logits")))
        close(found["rate"], on_training / Z, 3 * EXACT[case])
        close(found["block_step_limit"], 2 * Z / max(on_training), 3 * EXACT[case])


def ratios(three: np.ndarray) -> np.ndarray:
    return np.array([three[1] / three[0], three[2] / three[0], (three[1] - three[2]) / three[0]])


def derivative(function: Any, at: np.ndarray) -> np.ndarray:
    step = 1e-5 * np.abs(at).max()
    shifts = step * np.eye(len(at))
    return np.stack([(function(at + shift) - function(at - shift)) / (2 * step) for shift in shifts], axis=1)


@functools.cache
def by_sums(random: bool) -> Any:
    method = dataclasses.replace(SAMPLED, matrices=False) if random else KernelMethod(matrices=False)
    return BlockValueObservation(kernels=method).measure(moment("mlp", 1), {})


@pytest.mark.slow
def test_sums_over_classes_in_place_of_matrices() -> None:
    """Exact, and by the same random combinations."""
    by_matrices = BlockValueObservation(kernels=SAMPLED).measure(moment("mlp", 1), {})
    for name, array in by_sums(True).items():
        close(array, by_matrices[name], 1e-8)
    for name, array in by_sums(False).items():
        close(array, values("mlp")["block_values"][name], 1e-9)


def test_random_combinations() -> None:
    """With the signs themselves: values, and errors from their spread."""
    there = moment("mlp", 1)
    found = BlockValueObservation(kernels=SAMPLED).measure(there, {})
    jacobians, draws = plain_jacobian("mlp", "features"), 4
    outputs = jacobians.shape[1]
    signs = np.asarray(random_signs(jax.random.fold_in(jax.random.key(5), 1), draws, outputs, float))
    combined = np.einsum("rk,ikz->riz", signs, jacobians)
    kernels = np.einsum("riz,rjz->rij", combined, combined) / outputs
    each = np.array([three_values(kernel) for kernel in kernels])
    close(found["feature_block_value"], each.mean(axis=0), 1e-10)
    close(found["feature_block_output_error"], each.std(axis=0, ddof=1) / np.sqrt(draws), 1e-10)
    of_samples = np.diagonal(jackknife(kernels.mean(axis=0), np.eye(3)))
    both = np.sqrt(of_samples + each.var(axis=0, ddof=1) / draws)
    close(found["feature_block_standard_error"], both, 1e-9)
    close(SAMPLED.matrix(there, "features"), kernels.mean(axis=0), 1e-10)
    close(found["logit_block_value"], values("mlp")["block_values"]["logit_block_value"], 1e-12)
    for variable in BlockValueObservation(kernels=SAMPLED).variables(observed("mlp")):
        if variable.name != "rate" and variable.name != "block_step_limit":
            random = variable.name.startswith("feature")
            assert ("r = 4 random ±1 combinations" in variable.long_name) == random, variable.name


@pytest.mark.parametrize("case", CASES)
def test_alignments(case: str) -> None:
    found, loose = values(case)["alignments"], 100 * EXACT[case]
    labels = np.array([[float(i // KERNEL_M == j // KERNEL_M) for j in range(PAIRS)] for i in range(PAIRS)])
    centre = np.eye(PAIRS) - 1 / PAIRS

    def cosine(a: np.ndarray, b: np.ndarray) -> float:
        return np.sum(a * b) / np.sqrt(np.sum(a * a) * np.sum(b * b))

    indicator = np.repeat(np.eye(CLASSES), KERNEL_M, axis=0) / np.sqrt(KERNEL_M)
    projectors = [np.full((PAIRS, PAIRS), 1 / PAIRS), labels / KERNEL_M - 1 / PAIRS, np.eye(PAIRS) - labels / KERNEL_M]
    for of, prefix in KINDS:
        kernel, first = gram(case, of), gram(case, of, 0)
        d, c, n = three_values(kernel)
        block = np.where(np.eye(PAIRS, dtype=bool), d, np.where(labels > 0, c, n))
        classwise = np.zeros_like(kernel)
        for a, b in itertools.product(range(CLASSES), repeat=2):
            rows, columns = (slice(x * KERNEL_M, (x + 1) * KERNEL_M) for x in (a, b))
            part = kernel[rows, columns]
            off = ~np.eye(KERNEL_M, dtype=bool) if a == b else np.ones((KERNEL_M, KERNEL_M), bool)
            classwise[rows, columns] = np.where(off, part[off].mean(), np.trace(part) / KERNEL_M)
        top = np.linalg.eigh(kernel)[1][:, -CLASSES:]
        left = []
        for i in range(PAIRS):
            kept = [j for j in range(PAIRS) if j != i]
            left.append(cosine(kernel[np.ix_(kept, kept)], labels[np.ix_(kept, kept)]))
        by_class = np.array(left).reshape(CLASSES, KERNEL_M)
        spread = np.sum((by_class - by_class.mean(axis=1, keepdims=True)) ** 2)
        total = np.sum(kernel**2)
        entropies = []
        for p in projectors:
            sizes = np.abs(np.linalg.eigvalsh(p @ kernel @ p))
            sizes = sizes[sizes > 1e-9 * sizes.max()] / sizes[sizes > 1e-9 * sizes.max()].sum()
            entropies.append(np.exp(-np.sum(sizes * np.log(sizes))))
        expected = {
            "alignment": cosine(kernel, labels),
            "alignment_standard_error": np.sqrt((KERNEL_M - 1) / KERNEL_M * spread),
            "centred_alignment": cosine(centre @ kernel @ centre, centre @ labels @ centre),
            "block_share": np.sum(block**2) / total,
            "class_block_share": np.sum(classwise**2) / total,
            "class_overlap": np.sum((indicator.T @ top) ** 2) / CLASSES,
            "coupled_share": 1 - sum(np.sum((p @ kernel @ p) ** 2) for p in projectors) / total,
            "kernel_norm": np.sqrt(total),
            "relative_change": np.sqrt(np.sum((kernel - first) ** 2) / np.sum(first**2)),
            "kernel_distance": 1 - cosine(kernel, first),
            "trace_share": [np.trace(p @ kernel) / np.trace(kernel) for p in projectors],
            "effective_rank": entropies,
        }
        for name, value in expected.items():
            close(found[f"{prefix}_{name}"], value, loose if case != "residual" else 1e-3)
    close(found["mutual_alignment"], cosine(gram(case, "logits"), gram(case, "features")), loose)


def test_the_reference_is_the_first_kernel_and_has_to_come_back() -> None:
    kept = references("mlp")["alignments"]
    for of, prefix in KINDS:
        close(kept[f"{prefix}_kernel"], gram("mlp", of, 0), 1e-10)
    found = AlignmentObservation().measure(moment("mlp", 0), kept)
    for name in ("logit_relative_change", "feature_relative_change", "logit_kernel_distance"):
        assert found[name] == 0
    shapes = {variable.name: variable.shape for variable in AlignmentObservation().reference_variables(observed("mlp"))}
    assert shapes == {name: array.shape for name, array in kept.items()}
    with pytest.raises(
        ValueError, match=r"need feature_kernel of the first moment: hand back what reference\(moment\)"
    ):
        AlignmentObservation().measure(moment("mlp", 0), {"logit_kernel": kept["logit_kernel"]})


def dead() -> Moment:
    """Features that are 0 whatever the input, and do not move: ReLU below its kink."""
    from ntkflow.networks import MLP

    net = MLP(jax.random.key(0), inputs=4, outputs=CLASSES, width=7, hidden_layers=1, features=5)
    net = eqx.tree_at(lambda net: net.layers[-1].bias, net, jnp.full(5, -1e3))
    return Moment(net, observed("mlp"), 3, 3, 0.0)


def test_dead_features() -> None:
    there = dead()
    reference = AlignmentObservation().reference(there)
    found = AlignmentObservation().measure(there, reference)
    assert found["feature_kernel_norm"] == 0
    for name in ("alignment", "centred_alignment", "block_share", "class_overlap", "trace_share", "relative_change"):
        assert np.isnan(found[f"feature_{name}"]).all(), name
    # Only biases move the logits: a kernel of ones.
    assert found["logit_alignment"] == pytest.approx(1 / np.sqrt(CLASSES), abs=1e-12)
    blocks = BlockValueObservation().measure(there, {})
    assert not blocks["feature_block_value"].any()
    assert np.isnan(blocks["feature_block_ratio"]).all()
    assert np.isnan(InvariantObservation().measure(there, {})["norm"]).all()


def sides(case: str, three: np.ndarray, which: str) -> dict[str, float]:
    """(26) and (28) by sums over classes and samples."""
    m = M if which == "training" else KERNEL_M
    features = plain_outputs(case)[0].reshape(-1, CLASSES, M)[:, :, :m]
    weight = readout(case)[0]
    d, c, n = three
    mu_single, mu_class = d - c, d - c + m * (c - n)
    alpha = n * m / (mu_class + CLASSES * n * m)
    means = features.mean(axis=-1)
    between = means @ (np.eye(CLASSES) - alpha) @ means.T / mu_class
    within = sum(
        np.outer(features[:, a, i] - means[:, a], features[:, a, i] - means[:, a])
        for a in range(CLASSES)
        for i in range(m)
    ) / (m * mu_single)
    left, right = weight.T @ weight / m, between + within
    norm = np.linalg.norm
    plain = means @ means.T / mu_class + within
    return {
        "norm": norm(left - right),
        "relative_norm": norm(left - right) / (norm(left) + norm(right)),
        "alignment": np.sum(left * right) / norm(left) / norm(right),
        "zero_mean_alignment": np.sum(left * plain) / norm(left) / norm(plain),
        "weight_side": norm(left),
        "feature_side": norm(right),
        "between_side": norm(between),
        "within_side": norm(within),
    }


@pytest.mark.parametrize("case", CASES)
def test_invariant(case: str) -> None:
    found, three = values(case)["invariant"], three_values(gram(case, "features"))
    assert three[0] > three[1] > three[2]
    for index, which in enumerate(("training", "kernels")):
        for name, value in sides(case, three, which).items():
            close(found[name][index], value, 100 * EXACT[case])
        for name in ("norm", "relative_norm", "alignment", "zero_mean_alignment"):
            slope = derivative(lambda at: np.array([sides(case, at, which)[name]]), three)  # noqa: B023
            error = np.sqrt(jackknife(gram(case, "features"), slope)[0, 0])
            close(found[f"{name}_standard_error"][index], error, 1e-5 if case != "residual" else 5e-3)


def test_a_budget_that_is_too_small() -> None:
    with pytest.raises(ScenarioError, match="epoch 1, the kernel of the logits: a memory budget of 10 "):
        BlockValueObservation(kernels=KernelMethod(memory=10)).measure(moment("mlp", 1), {})


@pytest.mark.parametrize("matrices", [True, pytest.param(False, marks=pytest.mark.slow)])
def test_progress_of_kernels(matrices: bool) -> None:
    told: list[tuple[str, float, float]] = []
    there = moment("mlp", 1, progress=lambda *news: told.append(news))
    KernelMethod(matrices=matrices).values(there, "features")
    assert {stage for stage, _, _ in told} == {"kernel"}
    assert [done for _, done, _ in told] == sorted(done for _, done, _ in told)
    assert told[-1][1] == told[-1][2]
