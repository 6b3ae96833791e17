"""A snapshot's kernels and their structure against the Gram matrix of the whole Jacobian, by loops."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from networks.plain_mlp import jacobians
from training.tiny import CLASSES, FEATURES, PER_CLASS, SAMPLES, SNAPSHOTS, Z, dataset, descended, snapshots

from ntkflow.training import KernelMeasurement, Snapshot


def block_values(matrix: np.ndarray) -> list[float]:
    """Means over the diagonal, pairs of one class, pairs of two classes."""
    kinds: tuple[list[float], list[float], list[float]] = ([], [], [])
    for i, j in itertools.product(range(SAMPLES), repeat=2):
        kinds[0 if i == j else 1 if i // PER_CLASS == j // PER_CLASS else 2].append(matrix[i, j])
    return [float(np.mean(kind)) for kind in kinds]


@pytest.fixture(scope="module", params=range(len(SNAPSHOTS)), ids=[f"step {step}" for step in SNAPSHOTS])
def index(request: pytest.FixtureRequest) -> int:
    return request.param


@pytest.fixture(scope="module")
def snapshot(index: int) -> Snapshot:
    return snapshots()[index]


@pytest.fixture(scope="module")
def grams(index: int) -> dict[str, np.ndarray]:
    """Θʰ and Θ over all parameters: (neurons, samples, neurons, samples)."""
    features, logits = jacobians(descended().checkpoints[index].network, np.asarray(dataset().inputs))
    return {
        "features": np.einsum("piz,qjz->piqj", features, features),
        "logits": np.einsum("piz,qjz->piqj", logits, logits),
    }


def measured(snapshot: Snapshot, of: str) -> KernelMeasurement:
    return snapshot.feature_kernel if of == "features" else snapshot.logit_kernel


@pytest.mark.parametrize(("of", "neurons"), [("features", FEATURES), ("logits", CLASSES)])
def test_traced_kernel_and_block_values(
    snapshot: Snapshot, grams: dict[str, np.ndarray], of: str, neurons: int
) -> None:
    kernel, gram = measured(snapshot, of), grams[of]
    traced = sum(gram[p, :, p, :] for p in range(neurons)) / neurons
    np.testing.assert_allclose(kernel.traced, traced, rtol=1e-11, atol=1e-12)
    np.testing.assert_allclose(kernel.block.values, block_values(traced), rtol=1e-11)


@pytest.mark.parametrize(("of", "neurons"), [("features", FEATURES), ("logits", CLASSES)])
def test_spread_over_neurons(snapshot: Snapshot, grams: dict[str, np.ndarray], of: str, neurons: int) -> None:
    own = np.array([block_values(grams[of][p, :, p, :]) for p in range(neurons)])
    mean = own.sum(axis=0) / neurons
    expected = np.sqrt(((own - mean) ** 2).sum(axis=0) / neurons)
    np.testing.assert_allclose(measured(snapshot, of).spread, expected, rtol=1e-10)


@pytest.mark.parametrize(("of", "neurons"), [("features", FEATURES), ("logits", CLASSES)])
def test_alignment_and_block_share(snapshot: Snapshot, grams: dict[str, np.ndarray], of: str, neurons: int) -> None:
    traced = np.einsum("pipj->ij", grams[of]) / neurons
    d, c, n = block_values(traced)
    product = labels_norm = norm = block_norm = 0.0
    for i, j in itertools.product(range(SAMPLES), repeat=2):
        same = i // PER_CLASS == j // PER_CLASS
        product += traced[i, j] * same
        labels_norm += same
        norm += traced[i, j] ** 2
        block_norm += (d if i == j else c if same else n) ** 2
    assert measured(snapshot, of).alignment == pytest.approx(product / np.sqrt(norm * labels_norm), rel=1e-11)
    assert measured(snapshot, of).block_share == pytest.approx(block_norm / norm, rel=1e-11)


def test_the_step_limit_counts_all_outputs_and_samples(snapshot: Snapshot, grams: dict[str, np.ndarray]) -> None:
    size = CLASSES * SAMPLES
    top = np.linalg.eigvalsh(grams["logits"].reshape(size, size))[-1]
    assert snapshot.step_limit == pytest.approx(2 * Z / top, rel=1e-6)


def test_rates_of_the_block_kernel(snapshot: Snapshot, grams: dict[str, np.ndarray]) -> None:
    d, c, n = block_values(np.einsum("pipj->ij", grams["logits"]) / CLASSES)
    m = PER_CLASS
    single = d - c
    expected = np.array([single + m * (c - n) + SAMPLES * n, single + m * (c - n), single]) / Z
    np.testing.assert_allclose(snapshot.rates_block, expected, rtol=1e-9)


def test_rates_of_the_whole_kernel(snapshot: Snapshot, grams: dict[str, np.ndarray]) -> None:
    """⟨R_e, (ΘR)_e⟩/(Z‖R_e‖²) with dense projectors and the dense kernel."""
    residual = np.asarray(snapshot.residual)
    moved = np.einsum("piqj,qj->pi", grams["logits"], residual)
    overall = np.full((SAMPLES, SAMPLES), 1 / SAMPLES)
    by_class = np.kron(np.eye(CLASSES), np.full((PER_CLASS, PER_CLASS), 1 / PER_CLASS))
    for part, on in enumerate((overall, by_class - overall, np.eye(SAMPLES) - by_class)):
        expected = ((residual @ on) * (moved @ on)).sum() / (Z * ((residual @ on) ** 2).sum())
        assert snapshot.rates_whole[part] == pytest.approx(expected, rel=1e-8)
