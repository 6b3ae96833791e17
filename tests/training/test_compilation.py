"""Options for compiling: tried before they are used, and of no effect on values."""

from __future__ import annotations

from collections.abc import Iterator

import jax.numpy as jnp
import numpy as np
import pytest

from ntkflow.training import compilation
from ntkflow.training.compilation import compiler_options, training_program


@pytest.fixture(autouse=True)
def forget() -> Iterator[None]:
    compiler_options.cache_clear()
    yield
    compiler_options.cache_clear()


def test_an_option_that_is_gone_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compilation, "_WITHOUT_YNNPACK_CONVOLUTIONS", {"xla_cpu_no_such_option": "1"})
    assert compiler_options() is None
    assert np.array_equal(training_program(lambda kept, given: kept + given)(1.0, jnp.ones(2)), [2, 2])


def test_no_options_for_other_devices(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compilation.jax, "default_backend", lambda: "cuda")
    assert compiler_options() is None


def test_all_but_the_first_argument_are_donated() -> None:
    kept, given = jnp.ones(2), jnp.arange(2.0)
    assert np.array_equal(training_program(lambda kept, given: kept + given)(kept, given), [1, 2])
    assert given.is_deleted()
    assert not kept.is_deleted()
