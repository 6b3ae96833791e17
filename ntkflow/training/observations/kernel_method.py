"""How the traced kernels of a moment are measured, for all observations that need them."""

from __future__ import annotations

import dataclasses
from typing import Literal

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ntkflow.errors import ScenarioError
from ntkflow.kernels import (
    BlockEstimate,
    BlockKernel,
    NetworkBlockValues,
    SampleSums,
    empirical_ntk,
    network_block_values,
)
from ntkflow.kernels.empirical import DEFAULT_MEMORY
from ntkflow.kernels.empirical.random_outputs import random_signs
from ntkflow.kernels.estimates import jackknife
from ntkflow.networks import AbstractClassifier, Stored
from ntkflow.training.observations.moment import Moment
from ntkflow.training.observations.observed import Observed

Of = Literal["logits", "features"]
KERNELS: tuple[tuple[Of, str, str], ...] = (("logits", "logit", "Θ"), ("features", "feature", "Θʰ"))
"""Which outputs, how names of variables begin, and the symbol."""


@dataclasses.dataclass(frozen=True)
class KernelMethod:
    """Traced kernels on the kernels' samples: (1/C) Σ_k Θ_{k,k} over logits and (1/n) Σ_p Θʰ_{p,p} over features.

    One method shared by several observations is measured once a moment. Gradients, and their products, are in the
    network's precision; what is made of the kernel afterwards is in float64.

    Attributes:
        random_logits: r random ±1 combinations of logits in place of all, at least 3; exact if ``None``.
        random_features: the same for features, of which there are many.
        seed: of the combinations. They are the same at every moment, so that noise does not move from moment to moment.
        matrices: whether whole kernels are formed, N² numbers, as alignments need them; block values are then read
            from these. Otherwise they come from sums of gradients over classes
            (:func:`ntkflow.kernels.network_block_values`), which takes about as long.
        memory: bytes that may be taken beside samples and network.
    """

    random_logits: int | None = None
    random_features: int | None = None
    seed: int = 0
    matrices: bool = True
    memory: int = DEFAULT_MEMORY

    def draws(self, of: Of) -> int | None:
        """r for one of the kernels."""
        return self.random_logits if of == "logits" else self.random_features

    def words(self, of: Of, observed: Observed) -> str:
        """Which kernel it is, for definitions."""
        what = (
            "(1/C) Σ_k Θ_{k,k}, the mean over logits"
            if of == "logits"
            else "(1/n) Σ_p Θʰ_{p,p}, the mean over features"
        )
        r = self.draws(of)
        how = "exact" if r is None else f"estimated by r = {r} random ±1 combinations, the same at all moments"
        return f"the traced kernel {what}, of all parameters, {how}, on {observed.of_kernels}"

    def values(self, moment: Moment, of: Of) -> NetworkBlockValues:
        """d, c, n with errors, as :func:`ntkflow.kernels.network_block_values` gives them with ``trace="mean"``.

        Raises:
            ScenarioError: too little memory, too few random combinations, or gradients that are not finite.
        """
        return moment.shared.get("kernels", (self, of, "values"), lambda: self._values(moment, of))

    def matrix(self, moment: Moment, of: Of) -> Float[np.ndarray, "samples samples"]:
        """The traced kernel, symmetric, in float64. Formed whatever ``matrices`` says. Raises as :meth:`values`."""
        return self._stack(moment, of).mean(axis=0)

    def _values(self, moment: Moment, of: Of) -> NetworkBlockValues:
        observed, r = moment.observed, self.draws(of)
        if not self.matrices:
            try:
                return network_block_values(
                    moment.network,
                    observed.kernel_inputs,
                    observed.classes,
                    of=of,
                    random_outputs=r,
                    key=None if r is None else self._key(of),
                    memory=self.memory,
                    progress=moment.progress,
                )
            except ValueError as error:
                raise _refused(error, moment, of) from error
        sums = SampleSums.from_matrix(jnp.asarray(self._stack(moment, of)), observed.classes)
        draws = None if r is None else np.asarray(sums.block_values(), dtype=float).T
        sums = sums.mean()
        d, c, n = sums.block_values()
        kernel = BlockKernel(d, c, n, classes=observed.classes, per_class=observed.kernel_per_class)
        outputs = moment.network.readout.weight.shape[0 if of == "logits" else 1]
        estimate = BlockEstimate(kernel, jackknife(sums))
        return NetworkBlockValues(estimate, draws, sums, of, "mean", outputs, "from the whole kernel")

    def _stack(self, moment: Moment, of: Of) -> Float[np.ndarray, "draws samples samples"]:
        """The traced kernel alone, or one for each random combination, whose mean it is."""
        return moment.shared.get("kernels", (self, of, "matrix"), lambda: self._measured(moment, of))

    def _measured(self, moment: Moment, of: Of) -> Float[np.ndarray, "draws samples samples"]:
        r, inputs = self.draws(of), moment.observed.kernel_inputs
        rest = {"memory": self.memory, "progress": moment.progress}
        try:
            if r is None:
                values = np.asarray(empirical_ntk(moment.network, inputs, of=of, trace="mean", **rest).values)[None]
            else:
                weight = moment.network.readout.weight
                outputs = weight.shape[0 if of == "logits" else 1]
                signs = random_signs(self._key(of), r, outputs, weight.dtype)
                combined = Combinations(moment.network, Stored(signs), of)
                values = np.asarray(empirical_ntk(combined, inputs, trace="outputs", **rest).values) / outputs
        except ValueError as error:
            raise _refused(error, moment, of) from error
        values = values.astype(float)
        # Rounding in the network's precision; eigenvectors are refused of a matrix that is not symmetric in float64.
        return 0.5 * (values + values.transpose(0, 2, 1))

    def _key(self, of: Of) -> Array:
        return jax.random.fold_in(jax.random.key(self.seed), 0 if of == "logits" else 1)


class Combinations(eqx.Module):
    """Combinations ⟨v, f⟩ of a network's outputs as outputs; v is no parameter."""

    network: AbstractClassifier
    signs: Stored
    of: Of = eqx.field(static=True)

    def __call__(self, x: Float[Array, "..."]) -> Float[Array, " draws"]:
        """Of one sample."""
        outputs = self.network(x) if self.of == "logits" else self.network.features(x)
        return self.signs.value.astype(outputs.dtype) @ outputs


def _refused(error: ValueError, moment: Moment, of: Of) -> ScenarioError:
    return ScenarioError(str(error), place=f"{moment.label}, the kernel of the {of}")
