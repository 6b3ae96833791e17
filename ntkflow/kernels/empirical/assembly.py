"""A kernel put together from compiled parts: groups of samples, combinations of outputs, devices.

The loops over parts are in Python and only send work to a device: XLA's convolutions on CPUs are several times slower
inside its own loops. Nothing is copied to the host but a finished tile.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ntkflow.kernels.empirical.factors import Factors, prepared
from ntkflow.kernels.empirical.network_program import NetworkProgram, Of, ParameterFilter, Passed, Trace
from ntkflow.kernels.empirical.plan import Plan, Task
from ntkflow.kernels.empirical.products import products_tile
from ntkflow.progress import Progress


class Assembly:
    """One kernel being computed.

    Args:
        network: as in :func:`ntkflow.kernels.empirical_ntk`, with ``of`` and ``parameters``.
        x: rows.
        x2: columns, ``None`` for the rows.
        task: what is wanted.
    """

    def __init__(
        self, network: Any, of: Of, parameters: ParameterFilter, x: Array, x2: Array | None, task: Task
    ) -> None:
        self._network = network
        self._of: Of = of
        self._parameters = parameters
        self._x, self._x2, self._task = x, x2, task

    def needs(self, plan: Plan) -> int:
        """Bytes that a plan holds: what the compiler says of its programs, and the factors that are kept."""
        rows = self._x[: plan.samples]
        v = self._combinations(plan)[0]
        columns = self._columns[: plan.samples]
        if plan.method == "jvp-vjp":
            return _held(_lowered(_products, *self._of_network, rows, columns, v, self._task.trace))
        if plan.method == "jacobian":
            of_rows, of_columns = (eqx.filter_eval_shape(_jacobian, *self._of_network, x, v) for x in (rows, columns))
            making = _held(_lowered(_jacobian, *self._of_network, rows, v))
        else:
            passed, others = (eqx.filter_eval_shape(_passed, *self._of_network, x, v) for x in (rows, columns))
            forward, kept = _held(_lowered(_passed, *self._of_network, rows, v)), _bytes(passed)
            if self._one_tile(plan):
                return max(forward, kept + _held(_lowered(_own_tile, passed, v, *self._counts, self._task.trace)))
            of_rows, of_columns = (self._shapes(item, v) for item in (passed, others))
            making = max(forward, kept + _held(_lowered(_factors, passed, v, *self._counts)))
        contraction = _held(_contracted.lower(of_rows, of_columns, trace=self._task.trace))
        size = _bytes(of_rows)
        groups = -(-self._task.samples // plan.samples)
        # What one call makes is among the factors that are kept.
        return making + (groups - 1 if plan.kept else 1) * size + contraction

    def run(
        self, plan: Plan, devices: Sequence[jax.Device | None], progress: Progress
    ) -> tuple[Array | np.ndarray, int]:
        """The kernel, the sum over outputs for a trace, and the number of tiles."""
        parts = [_Part(self, plan, device) for device in devices]
        combinations, tiles = self._combinations(plan), self._tiles(plan)
        found: dict[tuple[int, int], list[Array]] = {tile: [] for tile in tiles}
        traced, total = self._task.trace is not None, len(combinations) * len(tiles)
        for chunk, v in enumerate(combinations):
            for number, (i, j) in enumerate(tiles):
                # A device keeps factors of the outputs, or rows, that are its own.
                part = parts[(chunk if traced else i // plan.samples) % len(parts)]
                # One call of a device at a time is waiting: what is held stays what was planned.
                part.wait()
                tile = part.tile(v, i, j)
                if self._task.trace == "outputs" or not found[i, j]:
                    found[i, j].append(tile)
                else:
                    found[i, j][0] = _added(found[i, j][0], jax.device_put(tile, found[i, j][0].device))
                progress("kernel", chunk * len(tiles) + number, total)
        progress("kernel", total, total)
        return self._assembled({tile: self._joined(items) for tile, items in found.items()}), len(tiles)

    @property
    def _columns(self) -> Array:
        return self._x if self._x2 is None else self._x2

    def _shapes(self, passed: Any, v: Any) -> Any:
        return jax.eval_shape(lambda passed, v: _factors(passed, v, *self._counts), passed, v)

    def _one_tile(self, plan: Plan) -> bool:
        """Whether rows are columns and all are in one group: then factors need not be kept at all."""
        return self._x2 is None and plan.samples >= self._task.rows

    @property
    def _of_network(self) -> tuple[Any, Of, ParameterFilter]:
        return self._network, self._of, self._parameters

    @property
    def _counts(self) -> tuple[int, int, bool]:
        return self._task.pairs, self._task.samples, self._task.trace is not None

    def _combinations(self, plan: Plan) -> list[Float[np.ndarray, "combinations outputs"]]:
        """Unit vectors of the outputs; the last chunk is filled up with zeros, which add nothing."""
        outputs = self._task.outputs
        chunks = -(-outputs // plan.outputs)
        basis = np.zeros((chunks * plan.outputs, outputs), self._x.dtype)
        np.fill_diagonal(basis, 1)
        return np.split(basis, chunks)

    def _tiles(self, plan: Plan) -> list[tuple[int, int]]:
        """Where tiles begin; those of one set of samples on and below the diagonal only."""
        starts = [_starts(count, plan.samples) for count in (self._x.shape[0], self._columns.shape[0])]
        return [(i, j) for i in starts[0] for j in starts[1] if self._x2 is not None or j <= i]

    def _joined(self, items: list[Array]) -> Array:
        if self._task.trace != "outputs":
            return items[0]
        home = items[0].device
        return jnp.concatenate([jax.device_put(item, home) for item in items])[: self._task.outputs]

    def _assembled(self, tiles: dict[tuple[int, int], Array]) -> Array | np.ndarray:
        if len(tiles) == 1:
            return next(iter(tiles.values()))
        first = next(iter(tiles.values()))
        row, column = {"outputs": (1, 2), None: (0, 2)}.get(self._task.trace, (0, 1))
        shape = list(first.shape)
        shape[row], shape[column] = self._x.shape[0], self._columns.shape[0]
        result = np.empty(shape, first.dtype)
        for (i, j), tile in tiles.items():
            values = np.asarray(tile)
            _place(result, values, row, column, i, j)
            if self._x2 is None and i != j:
                # Θ_{s,k}(x', x) = Θ_{k,s}(x, x').
                mirrored = values.transpose(2, 3, 0, 1) if self._task.trace is None else np.swapaxes(values, -1, -2)
                _place(result, mirrored, row, column, j, i)
        return result


class _Part:
    """What one device does, and the factors that it keeps."""

    def __init__(self, whole: Assembly, plan: Plan, device: jax.Device | None) -> None:
        self._whole, self._plan, self._device = whole, plan, device
        self._network = self._here(whole._network)
        self._kept: dict[tuple[str, int], list[Factors]] = {}
        self._last_passed: tuple[tuple[str, int], Passed] | None = None
        self._v: Any = None
        self._last: Array | None = None

    def tile(self, v: Float[np.ndarray, "combinations outputs"], i: int, j: int) -> Array:
        """The share of some combinations of outputs in one tile."""
        if v is not self._v:
            self._v, self._kept = v, {}
        whole = self._whole
        if self._plan.method == "jvp-vjp":
            rows, columns = (self._samples(which, at) for which, at in (("rows", i), ("columns", j)))
            network = (self._network, whole._of, whole._parameters)
            tile = _products(*network, rows, columns, self._here(v), whole._task.trace)
        elif self._plan.method == "structured" and whole._one_tile(self._plan):
            tile = _own_tile(self._passed("rows", i), self._here(v), *whole._counts, whole._task.trace)
        else:
            of_rows, of_columns = self._factors("rows", i, i), self._factors("columns", j, i)
            tile = _contracted(of_rows, of_columns, trace=whole._task.trace)
        self._last = tile
        return tile

    def wait(self) -> None:
        """Until the last tile is there."""
        jax.block_until_ready(self._last)

    def _factors(self, which: str, at: int, row: int) -> list[Factors]:
        whole = self._whole
        key = ("rows" if whole._x2 is None else which, at)
        if key not in self._kept:
            if not self._plan.kept:
                # The rows of this line of tiles are needed again, other factors are not.
                self._kept = {name: item for name, item in self._kept.items() if name == ("rows", row)}
            v = self._here(self._v)
            if self._plan.method == "jacobian":
                network = (self._network, whole._of, whole._parameters)
                self._kept[key] = _jacobian(*network, self._samples(which, at), v)
            else:
                self._kept[key] = _factors(self._passed(which, at), v, *whole._counts)
        return self._kept[key]

    def _passed(self, which: str, at: int) -> Passed:
        """The forward pass of a group; that of the last one is kept for the next combinations."""
        if self._last_passed is None or self._last_passed[0] != (which, at):
            self._last_passed = None
            whole = self._whole
            network = (self._network, whole._of, whole._parameters)
            self._last_passed = ((which, at), _passed(*network, self._samples(which, at), self._here(self._v)))
        return self._last_passed[1]

    def _samples(self, which: str, at: int) -> Array:
        source = self._whole._x if which == "rows" else self._whole._columns
        return self._here(source[at : at + self._plan.samples])

    def _here(self, value: Any) -> Any:
        if self._device is None:
            return jax.tree.map(lambda leaf: jnp.asarray(leaf) if isinstance(leaf, np.ndarray) else leaf, value)
        dynamic, static = eqx.partition(value, eqx.is_array)
        return eqx.combine(jax.device_put(dynamic, self._device), static)


@eqx.filter_jit
def _passed(
    network: Any,
    of: Of,
    parameters: ParameterFilter,
    x: Float[Array, "samples ..."],
    combinations: Float[Array, "combinations outputs"],
) -> Passed:
    """A program of its own: what comes out is held, and not computed again wherever it is needed."""
    return _program(network, of, parameters, x).passed(x, combinations)


@functools.partial(jax.jit, static_argnames=("pairs", "samples", "traced"))
def _factors(
    passed: Passed, combinations: Float[Array, "combinations outputs"], pairs: int, samples: int, traced: bool
) -> list[Factors]:
    return prepared(passed.factors(combinations), pairs, samples, traced=traced)


@functools.partial(jax.jit, static_argnames=("pairs", "samples", "traced", "trace"))
def _own_tile(
    passed: Passed,
    combinations: Float[Array, "combinations outputs"],
    pairs: int,
    samples: int,
    traced: bool,
    trace: Trace,
) -> Array:
    """The tile of rows with themselves, in one program: a site's gradients are contracted as soon as they are there."""
    factors = prepared(passed.factors(combinations), pairs, samples, traced=traced)
    return _contracted(factors, factors, trace=trace)


@eqx.filter_jit
def _jacobian(
    network: Any,
    of: Of,
    parameters: ParameterFilter,
    x: Float[Array, "samples ..."],
    combinations: Float[Array, "combinations outputs"],
) -> list[Factors]:
    return _program(network, of, parameters, x).jacobian(x, combinations)


@functools.partial(jax.jit, static_argnames="trace")
def _contracted(rows: list[Factors], columns: list[Factors], *, trace: Trace) -> Array:
    def term(a: Factors, b: Factors) -> Array:
        return a.pairs(b) if trace is None else a.by_output(b) if trace == "outputs" else a.traced(b)

    terms = [term(a, b) for a, b in zip(rows, columns, strict=True)]
    return sum(terms[1:], terms[0])


@eqx.filter_jit
def _products(
    network: Any, of: Of, parameters: ParameterFilter, rows: Array, columns: Array, v: Array, trace: Trace
) -> Array:
    program = NetworkProgram(network, jax.ShapeDtypeStruct(rows.shape[1:], rows.dtype), of, parameters)
    return products_tile(program, rows, columns, v, trace=trace)


@eqx.filter_jit
def _added(total: Array, part: Array) -> Array:
    return total + part


def _program(network: Any, of: Of, parameters: ParameterFilter, x: Array) -> NetworkProgram:
    return NetworkProgram(network, jax.ShapeDtypeStruct(x.shape[1:], x.dtype), of, parameters)


def _bytes(tree: Any) -> int:
    return sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(tree) if hasattr(leaf, "dtype"))


def _lowered(compiled: Any, *arguments: Any) -> Any:
    # Equinox gives its compiled functions this method; the decorator's type does not say so.
    return compiled.lower(*arguments)


def _held(lowered: Any) -> int:
    compiled = lowered.compile()
    stats = getattr(compiled, "compiled", compiled).memory_analysis()
    return 0 if stats is None else stats.temp_size_in_bytes + stats.output_size_in_bytes


def _starts(samples: int, group: int) -> list[int]:
    """Where groups begin: all of one size, the last one moved back so that no shape differs."""
    return [min(start, max(samples - group, 0)) for start in range(0, samples, group)]


def _place(result: np.ndarray, values: np.ndarray, row: int, column: int, i: int, j: int) -> None:
    window: list[slice] = [slice(None)] * result.ndim
    window[row] = slice(i, i + values.shape[row])
    window[column] = slice(j, j + values.shape[column])
    result[tuple(window)] = values
