"""Reads a network's program equation by equation and finds where its parameters meet its data.

Any JAX function will do. Calls are read from the inside. A parameter that is only reshaped, transposed or scaled by
a constant on its way is followed; one that meets data in a dense layer, a convolution, a shift or a gain is split into
the factors of its site, together with the shifts and gains of the same neurons that follow it
(:mod:`ntkflow.kernels.empirical.folding`); whatever else happens to a parameter (normalised weights, a scan over
layers, one array used twice) makes it opaque: its gradient is then taken as it is, exactly, at the price of holding it.
"""

from __future__ import annotations

import collections
import dataclasses
import math
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.core import ClosedJaxpr, Jaxpr, JaxprEqn, Literal, Var, jaxpr_as_fun
from jaxtyping import Array, Float

from ntkflow.kernels.empirical.folding import Folding, Step, unfolded
from ntkflow.kernels.empirical.neurons import Neurons
from ntkflow.kernels.empirical.sites import (
    AbstractLayerSite,
    AbstractSite,
    ConvolutionSite,
    DenseSite,
    GainSite,
    ShiftSite,
)

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
    """What depends on neither parameters nor the sample; the same along the axes ``repeated``."""

    value: Any
    repeated: tuple[int, ...] = ()


Met = tuple[Array, Neurons | None]
"""What a site's left factor is made of, and the neurons of a folded layer."""


@dataclasses.dataclass(frozen=True)
class Places:
    """Where a program's parameters are used.

    Attributes:
        sites: those that factorise, in the order in which the program needs their results.
        opaque: leaves whose gradients are taken whole.
        sizes: numbers of positions, inputs and neurons of each site's factors.
        operations: multiplications of one forward pass in dense layers and convolutions.
    """

    sites: tuple[AbstractSite, ...]
    opaque: tuple[int, ...]
    sizes: tuple[tuple[int, int, int], ...]
    operations: int


class _Reader:
    """One pass over the program: sites are met in the same order in every pass.

    Args:
        opaque: leaves that are; ``None`` to find out, and then nothing is folded.
        taps: to be added at the sites; ``None`` where there are none yet.
    """

    def __init__(self, opaque: frozenset[int] | None, taps: Sequence[Array] | None, debug: Any) -> None:
        self.known = opaque
        self.taps = taps
        self.sites: list[AbstractSite] = []
        self.sizes: list[tuple[int, int, int]] = []
        self.met: list[Met] = []
        self.opaque: set[int] = set()
        self.operations = 0
        self.debug = debug

    def run(self, jaxpr: Jaxpr, constants: Sequence[Any], arguments: Sequence[Any]) -> list[Any]:
        uses = collections.Counter(
            atom
            for atoms in (*(equation.invars for equation in jaxpr.eqns), jaxpr.outvars)
            for atom in atoms
            if isinstance(atom, Var)
        )
        environment: dict[Any, Any] = dict(zip(jaxpr.constvars, map(_Constant, constants), strict=True))

        def keep(variables: Sequence[Any], values: Sequence[Any]) -> None:
            for variable, value in zip(variables, values, strict=True):
                # What is used twice is needed as it is: a layer ends there.
                environment[variable] = self.finished(value) if uses[variable] > 1 else value

        def read(atoms: Sequence[Any]) -> list[Any]:
            return [_Constant(atom.val) if isinstance(atom, Literal) else environment[atom] for atom in atoms]

        keep(jaxpr.invars, arguments)
        for equation in jaxpr.eqns:
            keep(equation.outvars, self.equation(equation, read(equation.invars)))
        return read(jaxpr.outvars)

    def equation(self, equation: JaxprEqn, operands: list[Any]) -> list[Any]:
        name = equation.primitive.name
        met = [operand for operand in operands if isinstance(operand, _Parameter)]
        if met and name in _CALLS:
            inner = equation.params[_CALLS[name]]
            if isinstance(inner, ClosedJaxpr):
                return self.run(inner.jaxpr, inner.consts, operands)
            return self.run(inner, (), operands)
        if len(folded := [place for place, operand in enumerate(operands) if isinstance(operand, Folding)]) == 1:
            further = self.further(equation, operands, folded[0])
            if further is not None:
                return [further]
        operands = [self.finished(operand) for operand in operands]
        self.operations += _operations(equation)
        found = _site(equation, operands) if len(met) == 1 else None
        if found is not None and isinstance(found[0], AbstractLayerSite):
            return [self.layer(equation, operands, found[0], found[1])]
        results = _evaluate(equation, [_value(operand) for operand in operands], self.debug)
        if name == "stop_gradient" or all(isinstance(operand, _Constant) for operand in operands):
            return [_Constant(result, _repeated(equation, operands)) for result in results]
        if not met:
            return results
        moved = _moved(equation, operands, results)
        if moved is not None:
            return [moved]
        if found is not None:
            return [self.tapped(found[0], (found[1], None), results[0])]
        self.opaque.update(parameter.leaf for parameter in met)
        return results

    def layer(self, equation: JaxprEqn, operands: list[Any], site: AbstractLayerSite, operand: Array) -> Any:
        """A layer, to be gone on with where its neurons may be scaled and shifted next, or its result, tapped."""
        place = next(place for place, operand in enumerate(operands) if isinstance(operand, _Parameter))
        step = Step(equation, tuple(operands), place)
        if self.known is not None and site.leaf not in self.known:
            opened = unfolded(site, operand, operands[place], step)
            if opened is not None:
                return opened
        constant = jnp.asarray(operands[place].scale, operand.dtype)
        return self.tapped(site, (operand * constant, None), self.evaluated(step))

    def further(self, equation: JaxprEqn, operands: list[Any], place: int) -> Folding | None:
        """A layer after one more equation, if that is a scale, a shift or a move of axes."""
        layer, step, shape = operands[place], Step(equation, tuple(operands), place), _shape(equation.outvars[0])
        before = _shape(equation.invars[place])
        if len(operands) == 1:
            return layer.moved(step, before, shape)
        other = operands[1 - place]
        if len(operands) != 2 or before != shape or not isinstance(other, _Parameter | _Constant):
            return None
        numbers = layer.numbers(other.value, other.repeated, shape)
        if numbers is None:
            return None
        if isinstance(other, _Constant):
            return layer.combined(step, numbers, None, 1.0)
        own = (other.value.shape or (1,))[layer.axis] == numbers.size and layer.axis not in other.repeated
        usable = self.known is not None and other.leaf not in self.known and own
        return layer.combined(step, numbers, other.leaf, other.scale) if usable else None

    def finished(self, operand: Any) -> Any:
        """A layer's result, tapped, once it is needed; anything else as it is."""
        if not isinstance(operand, Folding):
            return operand
        if operand.others:
            site, neurons, weight, offset = operand.folded()
            result = self.tapped(site, (operand.operand, neurons), self.evaluated(operand.step, weight) + offset)
            steps = operand.moves
        else:
            a = operand.operand * operand.constant
            result, steps = self.tapped(operand.site, (a, None), self.evaluated(operand.step)), operand.steps
        for step in steps:
            result = self.evaluated(step, result)
        return result

    def evaluated(self, step: Step, value: Array | None = None) -> Array:
        operands = list(step.operands)
        if value is not None:
            operands[step.place] = value
        (result,) = _evaluate(step.equation, [_value(operand) for operand in operands], self.debug)
        return result

    def tapped(self, site: AbstractSite, met: Met, result: Array) -> Array:
        if self.known is not None and site.leaf in self.known:
            return result
        self.sites.append(site)
        self.met.append(met)
        if self.taps is not None:
            return _computed_once(result + self.taps[len(self.sites) - 1])
        if self.known is not None:
            left, right = jax.eval_shape(lambda a, z: (site.left(a), site.right(a, z)), met[0], result)
            self.sizes.append((left.shape[0], left.shape[1] if met[1] is None else met[1].inputs, right.shape[0]))
        return result


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

        def shapes(opaque: frozenset[int] | None) -> _Reader:
            reader = _Reader(opaque, None, self.debug)
            jax.eval_shape(lambda leaves, x: _value(self._run(reader, leaves, x)), list(leaves), x)
            return reader

        found = shapes(None)
        used = collections.Counter(site.leaf for site in found.sites)
        opaque = found.opaque | {leaf for leaf, count in used.items() if count > 1}
        reader = shapes(frozenset(opaque))
        self.places = Places(
            sites=tuple(reader.sites),
            opaque=tuple(sorted(opaque)),
            sizes=tuple(reader.sizes),
            operations=found.operations,
        )

    def __call__(
        self, leaves: Sequence[Array], x: Array, taps: Sequence[Array]
    ) -> tuple[Float[Array, " outputs"], tuple[Met, ...]]:
        """Outputs with the taps added where parameters meet data, and what each parameter was combined with."""
        reader = _Reader(frozenset(self.places.opaque), taps, self.debug)
        return _value(self._run(reader, leaves, x)), tuple(reader.met)

    def _run(self, reader: _Reader, leaves: Sequence[Array], x: Array) -> Any:
        parameters = [_Parameter(leaf, index, 1.0) for index, leaf in enumerate(leaves)]
        (output,) = reader.run(self.program.jaxpr, self.program.consts, [*parameters, x])
        if isinstance(output, _Parameter):
            reader.opaque.add(output.leaf)
        return reader.finished(output)


def _computed_once(value: Array) -> Array:
    """The same value, which XLA stores where several operations need it, and its derivative too.

    On CPUs XLA works out sums and products again for every operation that reads them, with all that they are made of:
    of a residual network's derivatives, those of all later blocks. Divisions it holds too dear for that, so this is
    one, by a 1 that it cannot see.
    """
    return value / jax.lax.optimization_barrier(jnp.ones((), value.dtype))


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
        return dataclasses.replace(first, value=results[0], repeated=_repeated(equation, operands))
    if name == "neg":
        return dataclasses.replace(first, value=results[0], scale=-1 * first.scale)
    if name in ("mul", "div") and len(operands) == 2:
        return _scaled(name, operands, results[0])
    return None


def _repeated(equation: JaxprEqn, operands: list[Any]) -> tuple[int, ...]:
    """Axes along which an equation repeats its operand."""
    if equation.primitive.name != "broadcast_in_dim":
        return ()
    placed, shape = equation.params["broadcast_dimensions"], equation.params["shape"]
    before = np.shape(_value(operands[0]))
    own = {axis for axis, size in zip(placed, before, strict=True) if shape[axis] == size}
    return tuple(axis for axis, size in enumerate(shape) if axis not in own and size > 1)


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
    if name == "dot_general":
        contracted, batched = equation.params["dimension_numbers"]
        if any(batched):
            return None
        summed = contracted[position]
        free = (axis for axis in range(parameter.value.ndim) if axis not in summed)
        return DenseSite(parameter.leaf, shape, position == 1, tuple(contracted[1 - position]), (*free, *summed)), other
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
            rhs_spec=tuple(numbers.rhs_spec),
            out_spec=tuple(numbers.out_spec),
        )
        return site, other
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
