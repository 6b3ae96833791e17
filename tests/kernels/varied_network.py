"""A network in which parameters meet data in every way that the engine knows, and in some that it does not."""

from __future__ import annotations

import equinox as eqx
import jax
import jax.numpy as jnp


class Varied(eqx.Module):
    """Convolutions (strided, dilated, grouped), normalised groups, tokens, weight normalisation, shared weights.

    A residual connection, average pooling, an NTK-parametrised layer, a subtracted bias and a masked weight as well.
    """

    first: eqx.nn.Conv2d
    strided: eqx.nn.Conv2d
    dilated: eqx.nn.Conv2d
    grouped: eqx.nn.Conv2d
    gain: jax.Array
    norm: eqx.nn.GroupNorm
    token: eqx.nn.Linear
    scaled: jax.Array
    normalised: jax.Array
    shared: eqx.nn.Linear
    masked: jax.Array
    subtracted: jax.Array
    readout: eqx.nn.Linear

    def __init__(self, key: jax.Array) -> None:
        keys = iter(jax.random.split(key, 12))
        self.first = eqx.nn.Conv2d(2, 4, 3, padding=1, key=next(keys))
        self.strided = eqx.nn.Conv2d(4, 6, 3, stride=2, padding=1, key=next(keys))
        self.dilated = eqx.nn.Conv2d(6, 6, 3, padding=2, dilation=2, use_bias=False, key=next(keys))
        self.grouped = eqx.nn.Conv2d(6, 6, 3, padding=1, groups=2, key=next(keys))
        self.gain = 1 + 0.1 * jax.random.normal(next(keys), (6,))
        self.norm = eqx.nn.GroupNorm(2, 6)
        self.token = eqx.nn.Linear(6, 5, key=next(keys))
        self.scaled = jax.random.normal(next(keys), (5, 5))
        self.normalised = jax.random.normal(next(keys), (5, 5))
        self.shared = eqx.nn.Linear(5, 5, key=next(keys))
        self.masked = jax.random.normal(next(keys), (5, 5))
        self.subtracted = 0.1 * jax.random.normal(next(keys), (5,))
        self.readout = eqx.nn.Linear(5, 3, key=next(keys))

    def features(self, x: jax.Array) -> jax.Array:
        a = jax.nn.relu(self.first(x))
        a = self.strided(a) * self.gain[:, None, None]
        a = a + jnp.tanh(self.dilated(a)) + self.grouped(a)
        tokens = jax.nn.gelu(self.norm(a)).reshape(6, -1).T
        h = jax.vmap(lambda token: jnp.tanh(self.token(token)))(tokens).mean(0)
        h = jnp.tanh(self.scaled @ h * (1.5 / jnp.sqrt(5.0)))
        h = h + self.normalised / jnp.linalg.norm(self.normalised, axis=1, keepdims=True) @ h
        h = jnp.tanh(self.shared(jnp.tanh(self.shared(h))))
        return jnp.tanh((self.masked * jnp.tril(jnp.ones((5, 5)))) @ h - self.subtracted)

    def __call__(self, x: jax.Array) -> jax.Array:
        return self.readout(self.features(x))


class Unrolled(eqx.Module):
    """Layers stacked in one array and scanned over, and a rematerialised layer."""

    stacked: jax.Array
    checked: eqx.nn.Linear

    def __init__(self, key: jax.Array) -> None:
        first, second = jax.random.split(key)
        self.stacked = jax.random.normal(first, (3, 4, 4)) / 2
        self.checked = eqx.nn.Linear(4, 2, key=second)

    def __call__(self, x: jax.Array) -> jax.Array:
        h, _ = jax.lax.scan(lambda h, w: (jnp.tanh(w @ h), None), x, self.stacked)
        return jax.checkpoint(lambda layer, h: jnp.sin(layer(h)))(self.checked, h)
