"""Reads a network's program equation by equation and finds where its parameters meet its data.

Any JAX function will do. Calls are read from the inside. A parameter that is only reshaped, transposed or scaled by
a constant on its way is followed; one that meets data in a dense layer, a convolution, a shift or a gain is split into
the factors of its site; whatever else happens to a parameter (normalised weights, a scan over layers, one array used
twice) makes it opaque: its gradient is then taken as it is, exactly, at the price of holding it.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.core import ClosedJaxpr, Jaxpr, JaxprEqn, Literal, Var, jaxpr_as_fun
from jaxtyping import Array, Float

from ntkflow.kernels.empirical.sites import AbstractSite, ConvolutionSite, DenseSite, GainSite, ShiftSite

_CALLS = {
    "jit": "jaxpr",
    "pjit": "jaxpr",
    "closed_call": "call_jaxpr",
    "core_call": "call_jaxpr",
    "remat2": "jaxpr",
    "checkpoint": "jaxpr",
}
_MOVES = frozenset({"reshape", "transpose", "squeeze", "expand_dims", "copy", "copy_p", "rev"})


@dataclasses.dataclass(frozen=True)
class _Parameter:
    """A parameter array on its way: up to a permutation of its entries, and repetition, ``scale`` times leaf."""

    value: Array
    leaf: int
    scale: Array | float
    repeated: tuple[int, ...] = ()


@dataclasses.dataclass(frozen=True)
class _Constant:
    """What depends on neither parameters nor the sample."""

    value: Any


@dataclasses.dataclass(frozen=True)
class Places:
    """Where a program's parameters are used.

    Attributes:
        sites: those that factorise, in the order of the program.
        opaque: leaves whose gradients are taken whole.
        sizes: numbers of positions, inputs and neurons of each site's factors.
        order: for each candidate that the program passes, the index in ``sites``, or ``None``.
        operations: multiplications of one forward pass in dense layers and convolutions.
    """

    sites: tuple[AbstractSite, ...]
    opaque: tuple[int, ...]
    sizes: tuple[tuple[int, int, int], ...]
    order: tuple[int | None, ...]
    operations: int


class _Reader:
    """One pass over the program: candidates are met in the same order in every pass."""

    def __init__(self, places: Places | None, taps: Sequence[Array], debug: Any) -> None:
        self.places = places
        self.taps = taps
        self.candidates: list[AbstractSite] = []
        self.sizes: list[tuple[int, int, int]] = []
        self.operands: list[Array] = []
        self.opaque: set[int] = set()
        self.operations = 0
        self.debug = debug

    def run(self, jaxpr: Jaxpr, constants: Sequence[Any], arguments: Sequence[Any]) -> list[Any]:
        environment: dict[Any, Any] = dict(zip(jaxpr.constvars, map(_Constant, constants), strict=True))
        environment.update(zip(jaxpr.invars, arguments, strict=True))
        for equation in jaxpr.eqns:
            operands = [
                _Constant(atom.val) if isinstance(atom, Literal) else environment[atom] for atom in equation.invars
            ]
            environment.update(zip(equation.outvars, self.equation(equation, operands), strict=True))
        return [_Constant(atom.val) if isinstance(atom, Literal) else environment[atom] for atom in jaxpr.outvars]

    def equation(self, equation: JaxprEqn, operands: list[Any]) -> list[Any]:
        name = equation.primitive.name
        met = [operand for operand in operands if isinstance(operand, _Parameter)]
        if met and name in _CALLS:
            inner = equation.params[_CALLS[name]]
            if isinstance(inner, ClosedJaxpr):
                return self.run(inner.jaxpr, inner.consts, operands)
            return self.run(inner, (), operands)
        results = _evaluate(equation, [_value(operand) for operand in operands], self.debug)
        self.operations += _operations(equation)
        if name == "stop_gradient" or all(isinstance(operand, _Constant) for operand in operands):
            return [_Constant(result) for result in results]
        if not met:
            return results
        moved = _moved(equation, operands, results)
        if moved is not None:
            return [moved]
        found = _site(equation, operands) if len(met) == 1 else None
        if found is None:
            self.opaque.update(parameter.leaf for parameter in met)
            return results
        return [self.tapped(*found, results[0])]

    def tapped(self, site: AbstractSite, operand: Array, result: Array) -> Array:
        self.candidates.append(site)
        if self.places is None:
            left, right = jax.eval_shape(lambda a, z: (site.left(a), site.right(a, z)), operand, result)
            self.sizes.append((*left.shape, right.shape[0]))
            return result
        index = self.places.order[len(self.candidates) - 1]
        if index is None:
            return result
        self.operands.append(operand)
        return result + self.taps[index]


class Reading:
    """A function of parameters and one sample, read once, to be run with taps at its sites.

    Args:
        function: of (list of parameter arrays, one sample), to a vector of outputs.
        leaves: the parameter arrays, or their shapes.
        x: one sample, or its shape.
    """

    def __init__(self, function: Callable[..., Float[Array, " outputs"]], leaves: Sequence[Any], x: Any) -> None:
        self.program: ClosedJaxpr = jax.make_jaxpr(function)(list(leaves), x)
        self.debug = self.program.jaxpr.debug_info._replace(arg_names=None, result_paths=None)
        self.outputs: int = self.program.out_avals[0].shape[0]
        reader = _Reader(None, (), self.debug)

        def first(leaves: list[Array], x: Array) -> Any:
            return _value(self._run(reader, leaves, x))

        jax.eval_shape(first, list(leaves), x)
        used = [site.leaf for site in reader.candidates]
        opaque = reader.opaque | {leaf for leaf in used if used.count(leaf) > 1}
        kept = [index for index, leaf in enumerate(used) if leaf not in opaque]
        self.places = Places(
            sites=tuple(reader.candidates[index] for index in kept),
            opaque=tuple(sorted(opaque)),
            sizes=tuple(reader.sizes[index] for index in kept),
            order=tuple(kept.index(index) if index in kept else None for index in range(len(used))),
            operations=reader.operations,
        )

    def __call__(
        self, leaves: Sequence[Array], x: Array, taps: Sequence[Array]
    ) -> tuple[Float[Array, " outputs"], tuple[Array, ...]]:
        """Outputs with the taps added where parameters meet data, and what each parameter was combined with."""
        reader = _Reader(self.places, taps, self.debug)
        return _value(self._run(reader, leaves, x)), tuple(reader.operands)

    def _run(self, reader: _Reader, leaves: Sequence[Array], x: Array) -> Any:
        parameters = [_Parameter(leaf, index, 1.0) for index, leaf in enumerate(leaves)]
        (output,) = reader.run(self.program.jaxpr, self.program.consts, [*parameters, x])
        if isinstance(output, _Parameter):
            reader.opaque.add(output.leaf)
        return output


def _value(operand: Any) -> Any:
    return operand.value if isinstance(operand, _Parameter | _Constant) else operand


def _evaluate(equation: JaxprEqn, values: list[Any], debug: Any) -> list[Any]:
    # How a primitive is bound differs between versions of JAX; a program of one equation can be run in all of them.
    arguments = {atom: value for atom, value in zip(equation.invars, values, strict=True) if isinstance(atom, Var)}
    program = Jaxpr((), tuple(arguments), tuple(equation.outvars), [equation], equation.effects, debug)
    return list(jaxpr_as_fun(ClosedJaxpr(program, ()))(*arguments.values()))


def _moved(equation: JaxprEqn, operands: list[Any], results: list[Any]) -> _Parameter | None:
    """The parameter after an equation that only moves, repeats or scales its entries; ``None`` after any other."""
    name, first = equation.primitive.name, operands[0]
    if name in _MOVES and isinstance(first, _Parameter):
        if not first.repeated:
            return dataclasses.replace(first, value=results[0])
        if name == "transpose":
            axes = equation.params["permutation"]
            return dataclasses.replace(
                first, value=results[0], repeated=tuple(i for i, axis in enumerate(axes) if axis in first.repeated)
            )
        return None
    if name == "convert_element_type" and results[0].dtype == first.value.dtype:
        return dataclasses.replace(first, value=results[0])
    if name == "broadcast_in_dim" and not first.repeated:
        placed = equation.params["broadcast_dimensions"]
        shape, before = equation.params["shape"], first.value.shape
        own = {axis for axis, size in zip(placed, before, strict=True) if shape[axis] == size}
        repeated = tuple(axis for axis, size in enumerate(shape) if axis not in own and size > 1)
        return dataclasses.replace(first, value=results[0], repeated=repeated)
    if name == "neg":
        return dataclasses.replace(first, value=results[0], scale=-1 * first.scale)
    if name in ("mul", "div") and len(operands) == 2:
        return _scaled(name, operands, results[0])
    return None


def _scaled(name: str, operands: list[Any], result: Array) -> _Parameter | None:
    """A parameter times, or divided by, a constant number."""
    first, second = operands
    if isinstance(first, _Constant) and name == "mul":
        first, second = second, first
    if not (isinstance(first, _Parameter) and isinstance(second, _Constant) and np.size(second.value) == 1):
        return None
    if result.shape != first.value.shape:
        return None
    constant = jnp.asarray(second.value, first.value.dtype).reshape(())
    scale = first.scale * constant if name == "mul" else first.scale / constant
    return dataclasses.replace(first, value=result, scale=scale)


def _site(equation: JaxprEqn, operands: list[Any]) -> tuple[AbstractSite, Array] | None:
    """The site of an equation in which one parameter meets something else, and the factor that is not ∂f/∂z."""
    name = equation.primitive.name
    position = next(i for i, operand in enumerate(operands) if isinstance(operand, _Parameter))
    parameter = operands[position]
    shape = _shape(equation.outvars[0])
    if len(operands) != 2 or (parameter.repeated and name not in ("add", "sub", "mul")):
        return None
    other = jnp.asarray(_value(operands[1 - position]))
    if name in ("add", "sub", "mul"):
        return _elementwise(name, position, parameter, other, shape)
    scaled = other * jnp.asarray(parameter.scale, other.dtype)
    if name == "dot_general":
        contracted, batched = equation.params["dimension_numbers"]
        if any(batched):
            return None
        return DenseSite(parameter.leaf, shape, position == 1, tuple(contracted[1 - position])), scaled
    if name == "conv_general_dilated" and position == 1:
        settings = equation.params
        grouped = settings["feature_group_count"] != 1 or settings["batch_group_count"] != 1
        if grouped or any(spacing != 1 for spacing in settings["lhs_dilation"]):
            return None
        numbers = settings["dimension_numbers"]
        site = ConvolutionSite(
            leaf=parameter.leaf,
            shape=shape,
            strides=tuple(settings["window_strides"]),
            padding=tuple(tuple(pair) for pair in settings["padding"]),
            dilation=tuple(settings["rhs_dilation"]),
            kernel=tuple(parameter.value.shape[axis] for axis in numbers.rhs_spec[2:]),
            lhs_spec=tuple(numbers.lhs_spec),
            out_spec=tuple(numbers.out_spec),
        )
        return site, scaled
    return None


def _elementwise(
    name: str, position: int, parameter: _Parameter, other: Array, shape: tuple[int, ...]
) -> tuple[AbstractSite, Array]:
    """A shift or a gain. Axes of size 1 that the result has in full are repeated by the equation itself."""
    short = {axis for axis, size in enumerate(parameter.value.shape) if size == 1 and shape[axis] != 1}
    repeated = tuple(sorted(short | set(parameter.repeated)))
    scale = jnp.asarray(parameter.scale, parameter.value.dtype)
    if name == "mul":
        return GainSite(parameter.leaf, shape, repeated), jnp.broadcast_to(other, shape) * scale
    return ShiftSite(parameter.leaf, shape, repeated), -scale if name == "sub" and position == 1 else scale


def _operations(equation: JaxprEqn) -> int:
    """Multiplications of a dot product or a convolution; 0 for everything else, which costs less."""
    name, result = equation.primitive.name, _shape(equation.outvars[0])
    if name == "dot_general":
        (contracted, _), _ = equation.params["dimension_numbers"]
        first = _shape(equation.invars[0])
        return math.prod([*result, *(first[axis] for axis in contracted)])
    if name == "conv_general_dilated":
        weight, numbers = _shape(equation.invars[1]), equation.params["dimension_numbers"]
        return math.prod([*result, *(weight[axis] for axis in numbers.rhs_spec[1:])])
    return 0


def _shape(atom: Any) -> tuple[int, ...]:
    return tuple(atom.aval.shape)
