"""Batches of indices: exactly m of each class, no sample twice, every epoch another permutation."""

from __future__ import annotations

from collections import Counter

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import export

from ntkflow.data import balanced_epoch


@pytest.mark.parametrize(("classes", "per_class", "m"), [(10, 40, 40), (10, 40, 1), (3, 7, 2), (10, 5421, 12)])
def test_no_sample_twice_and_classes_in_order(classes: int, per_class: int, m: int) -> None:
    batches = np.asarray(balanced_epoch(jax.random.key(1), classes, per_class, m))
    assert batches.shape == (per_class // m, classes * m)
    assert (batches // per_class == np.repeat(np.arange(classes), m)).all()
    assert max(Counter(batches.ravel().tolist()).values()) == 1


def test_epochs_differ_and_keys_repeat() -> None:
    first, again, other = (np.asarray(balanced_epoch(jax.random.key(k), 10, 40, 4)) for k in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert np.mean(first == other) < 0.2
    assert np.mean(first % 40 == np.roll(first % 40, 4, axis=1)) < 0.2, "classes are permuted alike"


def test_what_is_dropped_is_drawn_anew() -> None:
    """Seven samples in batches of three: each is left out in a seventh of the epochs."""
    keys = jax.random.split(jax.random.key(3), 2100)
    epochs = np.asarray(jax.jit(jax.vmap(lambda key: balanced_epoch(key, 2, 7, 3)))(keys))
    left_out = Counter(int(k) for epoch in epochs for k in set(range(14)) - set(epoch.ravel().tolist()))
    assert set(left_out) == set(range(14))
    # 300 are expected of each, with a standard deviation of 16.
    assert all(220 < count < 380 for count in left_out.values()), left_out


def test_many_epochs_inside_one_compiled_loop_for_a_gpu() -> None:
    """Epochs can be scanned over on a device, without a call back to the host."""

    def epochs(key: jax.Array, inputs: jax.Array) -> jax.Array:
        def epoch(total: jax.Array, key: jax.Array) -> tuple[jax.Array, None]:
            batches = balanced_epoch(key, 3, 8, 4)
            return total + jax.lax.map(lambda batch: inputs[batch].sum(), batches).sum(), None

        return jax.lax.scan(epoch, jnp.zeros((), inputs.dtype), jax.random.split(key, 5))[0]

    inputs = jnp.arange(24, dtype="float32")
    assert float(jax.jit(epochs)(jax.random.key(0), inputs)) == 5 * 276
    lowered = export.export(jax.jit(epochs), platforms=["cuda"])(jax.random.key(0), inputs)
    assert "callback" not in lowered.mlir_module()


@pytest.mark.parametrize("m", [0, -1, 9])
def test_batches_that_no_class_can_fill(m: int) -> None:
    with pytest.raises(ValueError, match=f"between 1 and the 8 samples of each class, but is {m}"):
        balanced_epoch(jax.random.key(0), 3, 8, m)
