"""Convolution, batch normalisation and the residual network in plain NumPy, written with loops: no JAX."""

from __future__ import annotations

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from ntkflow.networks import BatchNorm, NormalizedConvolution, ResNet


def convolve(images: np.ndarray, weight: np.ndarray, stride: int, padding: int) -> np.ndarray:
    """z_o(r, c) = Σ_{i,s,t} W_{o,i}(s, t) a_i(stride·r + s − padding, stride·c + t − padding), a = 0 outside."""
    samples, _, rows, columns = images.shape
    outputs, _, height, width = weight.shape
    new_rows, new_columns = ((size + 2 * padding - w) // stride + 1 for size, w in ((rows, height), (columns, width)))
    z = np.zeros((samples, outputs, new_rows, new_columns))
    for r in range(new_rows):
        for c in range(new_columns):
            for s in range(height):
                for t in range(width):
                    row, column = stride * r + s - padding, stride * c + t - padding
                    if 0 <= row < rows and 0 <= column < columns:
                        z[:, :, r, c] += images[:, :, row, column] @ weight[:, :, s, t].T
    return z


def batch_moments(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and biased variance of every channel over samples and positions."""
    channels = np.moveaxis(x, 1, 0).reshape(x.shape[1], -1)
    mean = channels.sum(1) / channels.shape[1]
    return mean, ((channels - mean[:, None]) ** 2).sum(1) / channels.shape[1]


def standardize(x: np.ndarray, moments: tuple[np.ndarray, np.ndarray], norm: BatchNorm) -> np.ndarray:
    """gain (x − mean)/√(variance + ε) + shift."""
    columns = (1, -1, *(1,) * (x.ndim - 2))
    mean, variance, gain, shift = (np.asarray(a).reshape(columns) for a in (*moments, norm.gain, norm.shift))
    return gain * (x - mean) / np.sqrt(variance + norm.eps) + shift


def _normalized(layer: NormalizedConvolution, a: np.ndarray, batch: bool, used: list) -> np.ndarray:
    z = convolve(a, np.asarray(layer.convolution.weight), layer.convolution.stride, layer.convolution.padding)
    statistics = layer.norm.statistics
    used.append(batch_moments(z) if batch else (np.asarray(statistics.mean), np.asarray(statistics.variance)))
    return standardize(z, used[-1], layer.norm)


def forward(network: ResNet, images: np.ndarray, *, batch: bool) -> tuple[np.ndarray, list]:
    """Features as columns, by batch or by stored statistics, and these statistics in the order of the layers."""
    used: list = []
    a = np.maximum(_normalized(network.stem, images, batch, used), 0)
    for block in network.blocks:
        z = np.maximum(_normalized(block.first, a, batch, used), 0)
        z = _normalized(block.second, z, batch, used)
        if block.projection is not None:
            residual = _normalized(block.projection, a, batch, used)
        else:
            stride = block.first.convolution.stride
            residual = np.zeros_like(z)
            before = (z.shape[1] - a.shape[1]) // 2
            residual[:, before : before + a.shape[1]] = a[:, :, ::stride, ::stride]
        a = np.maximum(z + residual, 0)
    return a.sum((2, 3)).T / (a.shape[2] * a.shape[3]), used


def norms(network: eqx.Module) -> list[BatchNorm]:
    """Every batch normalisation, in the order of the layers."""
    nodes = jax.tree.leaves(network, is_leaf=lambda node: isinstance(node, BatchNorm))
    return [node for node in nodes if isinstance(node, BatchNorm)]


def shaken(network: eqx.Module, seed: int = 0) -> eqx.Module:
    """The network with noise on every parameter."""
    generator = np.random.default_rng(seed)
    parameters, rest = eqx.partition(network, eqx.is_inexact_array)
    noisy = jax.tree.map(
        lambda leaf: jnp.asarray(np.asarray(leaf) + 0.2 * generator.standard_normal(leaf.shape)), parameters
    )
    return eqx.combine(noisy, rest)
