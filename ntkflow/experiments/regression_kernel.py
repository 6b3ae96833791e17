"""The kernel that a regression asks for, on its samples."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator

import jax.numpy as jnp
from jaxtyping import Array, Float

from ntkflow import scenario as schema
from ntkflow.data import Dataset
from ntkflow.errors import DataError
from ntkflow.experiments.regression_run import LowRank
from ntkflow.flows import DenseModes, LowRankModes
from ntkflow.kernels import empirical_ntk, linear_kernel, rbf_kernel
from ntkflow.kernels.infinite import (
    GELU,
    AbstractDualActivation,
    ConvolutionalKernel,
    Erf,
    FullyConnectedKernel,
    KernelPair,
    LeakyReLU,
    SmoothDual,
)
from ntkflow.networks import MLP

Covariances = tuple[Float[Array, "samples samples"], Float[Array, "tests samples"], Float[Array, " tests"]]
"""K(X, X), K(x, X), K(x, x) of the outputs at the start."""


@dataclasses.dataclass(frozen=True)
class MadeKernel:
    """A kernel on training samples and its rows to test samples.

    Attributes:
        modes: by eigenspaces.
        distance_from_shared: ‖Θ − I ⊗ K‖_F/‖Θ‖_F of an empirical kernel, K the mean over outputs of Θ_kk.
        covariances: of an infinitely wide network's outputs at the start.
        by_depth: hidden layers of shallower networks of infinite width, and their kernels.
        low_rank: of an approximation, what it leaves of the whole kernel.
    """

    modes: DenseModes | LowRankModes
    distance_from_shared: float | None = None
    covariances: Covariances | None = None
    by_depth: tuple[tuple[int, DenseModes], ...] = ()
    low_rank: LowRank | None = None


def made_kernel(kernel: schema.RegressionKernel, dataset: Dataset, network: MLP | None) -> MadeKernel:
    """The kernel on the samples of a data set.

    Args:
        kernel: which.
        dataset: training and test samples.
        network: the network of an empirical kernel.

    Raises:
        DataError: samples that the kernel is not defined for.
    """
    train, test = dataset.inputs, dataset.test_inputs
    match kernel:
        case schema.RBFKernel():
            scale = kernel.length_scale
            return MadeKernel(
                DenseModes.of(rbf_kernel(train, train, length_scale=scale), rbf_kernel(test, train, length_scale=scale))
            )
        case schema.LinearKernel():
            bias = kernel.bias
            return MadeKernel(
                DenseModes.of(linear_kernel(train, train, bias=bias), linear_kernel(test, train, bias=bias))
            )
        case schema.EmpiricalKernel():
            assert network is not None
            return _empirical(kernel, network, train, test)
        case schema.InfiniteMLP() | schema.InfiniteCNN():
            return _infinite(kernel, dataset)


def _empirical(kernel: schema.EmpiricalKernel, network: MLP, train: Array, test: Array) -> MadeKernel:
    matrix, rows = empirical_ntk(network, train).values, empirical_ntk(network, test, train).values
    shared, shared_rows = _mean_over_outputs(matrix), _mean_over_outputs(rows)
    apart = matrix - jnp.eye(matrix.shape[0])[:, None, :, None] * shared[None, :, None, :]
    distance = float(jnp.linalg.norm(apart.ravel()) / jnp.linalg.norm(matrix.ravel()))
    chosen = (matrix, rows) if kernel.outputs == "coupled" else (shared, shared_rows)
    return MadeKernel(DenseModes.of(*chosen), distance)


def _mean_over_outputs(kernel: Float[Array, "outputs rows outputs columns"]) -> Float[Array, "rows columns"]:
    return jnp.einsum("kikj->ij", kernel) / kernel.shape[0]


def _infinite(section: schema.InfiniteMLP | schema.InfiniteCNN, dataset: Dataset) -> MadeKernel:
    made = infinite_kernel(section)
    if isinstance(made, ConvolutionalKernel):
        dataset = dataset.as_images()
    last = section.trained == "last_layer"

    def modes(own: KernelPair, rows: KernelPair) -> DenseModes:
        return DenseModes.of(*((own.nngp, rows.nngp) if last else (own.ntk, rows.ntk)))

    if not section.depths:
        own, rows, alone = infinite_kernels(made, dataset)
        return MadeKernel(modes(own, rows), covariances=(own.nngp, rows.nngp, alone.nngp))
    every, every_rows, alone = infinite_kernels(made, dataset, every_depth=True)
    # A fully connected network of depth 1 has no hidden layer, and is the first there.
    first = 1 if isinstance(made, ConvolutionalKernel) else 0

    def of(pair: KernelPair, layers: int) -> KernelPair:
        return KernelPair(pair.nngp[layers - first], pair.ntk[layers - first])

    own, rows = of(every, section.hidden_layers), of(every_rows, section.hidden_layers)
    return MadeKernel(
        modes(own, rows),
        covariances=(own.nngp, rows.nngp, alone.nngp),
        by_depth=tuple((layers, modes(of(every, layers), of(every_rows, layers))) for layers in section.depths),
    )


def infinite_kernels(
    kernel: FullyConnectedKernel | ConvolutionalKernel, dataset: Dataset, *, every_depth: bool = False
) -> tuple[KernelPair, KernelPair, KernelPair]:
    """Kernels of training samples, of test with training samples, and of each test sample with itself.

    Args:
        kernel: of which network.
        dataset: the samples.
        every_depth: the first two of shallower networks too, as ``every_depth`` of the kernel gives them.

    Raises:
        DataError: samples that the kernel is not defined for.
    """
    train, test = dataset.inputs, dataset.test_inputs
    of = kernel.every_depth if every_depth else kernel.kernels
    with refusing_samples_of(dataset):
        return of(train), of(test, train), kernel.diagonals(test)


@contextlib.contextmanager
def refusing_samples_of(dataset: Dataset) -> Iterator[None]:
    """What a kernel says of samples that it is not defined for, as a mistake in the data."""
    try:
        yield
    except ValueError as error:
        raise DataError(
            f"the kernel is not defined on these samples: {error}",
            place=dataset.name,
            remedy="Leave out such samples, or take sigma_b above 0.",
        ) from None


def infinite_kernel(section: schema.InfiniteMLP | schema.InfiniteCNN) -> FullyConnectedKernel | ConvolutionalKernel:
    """The kernel of an infinitely wide network that a scenario describes."""
    activation, layers = dual_of(section.activation), section.hidden_layers
    if isinstance(section, schema.InfiniteMLP):
        return FullyConnectedKernel(activation, layers + 1, section.sigma_w, section.sigma_b)
    head = "flatten" if section.head == "flatten" else "global average pooling"
    return ConvolutionalKernel(activation, layers, section.filter_size, head, section.sigma_w, section.sigma_b)


def dual_of(activation: str) -> AbstractDualActivation:
    """The dual of an activation by its name."""
    match activation:
        case "relu":
            return LeakyReLU()
        case "linear":
            return LeakyReLU(1.0)
        case "erf":
            return Erf()
        case "gelu":
            return GELU()
        case "tanh":
            return SmoothDual(jnp.tanh)
    raise AssertionError(activation)


def infinite_in_words(section: schema.InfiniteMLP | schema.InfiniteCNN) -> str:
    """What a summary calls such a kernel."""
    layers = f"{section.hidden_layers} hidden layers" if section.hidden_layers > 1 else "one hidden layer"
    if isinstance(section, schema.InfiniteMLP):
        network = f"fully connected {section.activation} networks of infinite width with {layers}"
    else:
        head = "flattened" if section.head == "flatten" else "averaged over positions"
        network = (
            f"convolutional {section.activation} networks of infinitely many channels with {layers} of filters "
            f"{section.filter_size}×{section.filter_size}, {head} before the dense layer"
        )
    name = "the NTK" if section.trained == "all_layers" else "the NNGP (the last layer alone is trained)"
    return f"{name} of {network}, σ_w = {section.sigma_w:.4g}, σ_b = {section.sigma_b:.4g}, NTK parametrisation"
