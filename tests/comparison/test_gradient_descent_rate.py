"""The rate of gradient descent's own map, against the recursion itself."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ntkflow.comparison import gradient_descent_rate, measure_rate


@given(rate=st.floats(-2, 50), step_size=st.floats(1e-3, 0.9))
def test_a_linear_recursion_measured(rate: float, step_size: float) -> None:
    """x ← (1 − ηr) x: the rate fitted to |x| against t = ηk is the one that is predicted."""
    if abs(1 - step_size * rate) < 1e-3:
        rate += 0.01 / step_size
    x = np.cumprod(np.append(1.0, np.full(12, 1 - step_size * rate)))
    measured = measure_rate(step_size * np.arange(13), np.abs(x), 0.0)
    predicted = float(gradient_descent_rate(np.array([rate]), step_size)[0])
    assert measured.value == pytest.approx(predicted, rel=1e-9, abs=1e-9)


def test_small_steps_are_the_flow() -> None:
    rates = np.array([0.3, 1.0, 4.0])
    errors = [gradient_descent_rate(rates, size) - rates for size in (1e-3, 5e-4)]
    np.testing.assert_allclose(errors[0], 1e-3 * rates**2 / 2, rtol=5e-3)
    np.testing.assert_allclose(errors[0] / errors[1], 2, rtol=5e-3)


def test_the_edges() -> None:
    found = gradient_descent_rate(np.array([0.0, 10.0, 20.0, 30.0]), 0.1)
    assert found[0] == 0
    assert found[1] == np.inf
    assert found[2] == pytest.approx(0, abs=1e-12)
    assert found[3] == pytest.approx(-np.log(2) / 0.1)


@given(x=st.floats(1e-4, 3.9), momentum=st.floats(0, 0.95), nesterov=st.booleans())
def test_momentum_by_the_recursion_itself(x: float, momentum: float, nesterov: bool) -> None:
    """The largest eigenvalue of the map of (θ, v), by NumPy."""
    # v' = βv + xθ; θ' = θ − v', with Nesterov θ − (xθ + βv').
    matrix = np.array([[1 - x, -momentum], [x, momentum]])
    if nesterov:
        matrix[0] = 1 - x - momentum * x, -(momentum**2)
    largest = np.abs(np.linalg.eigvals(matrix)).max()
    step = 0.1
    predicted = float(gradient_descent_rate(np.array([x / step]), step, momentum, nesterov=nesterov)[0])
    assert np.exp(-predicted * step / (1 - momentum)) == pytest.approx(largest, rel=1e-6, abs=1e-9)
