"""Weight decay: against a network trained with it, the law of E, and the states at rest in closed form."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flows.lowering import lower_for_cuda
from flows.paper_equations import random_problem
from kernels.dense import relative_difference
from scipy.integrate import solve_ivp

from ntkflow.flows import ClassFlow, ClassState, SampleState, Trajectory, compress, random_state, solve
from ntkflow.flows.invariant_law import AccountedFlow, AccountedState
from ntkflow.flows.weight_decay import WeightDecayFlow
from ntkflow.kernels import BlockKernel

CLASSES, PER_CLASS, FEATURES, Z = 3, 4, 5, 12.0
KERNEL = BlockKernel(3.0, 2.0, 0.5, classes=CLASSES, per_class=PER_CLASS)
STATE = random_state(jax.random.key(3), classes=CLASSES, per_class=PER_CLASS, features=FEATURES)
TIMES = jnp.linspace(0.0, 400.0, 41)
DECAYS = {
    "equal": (0.1, 0.07, 0.1),
    "unequal": (0.12, 0.0, 0.06),
    "readout only": (0.05, 0.01, 0.0),
    "none": (0.0, 0.0, 0.0),
    "too strong": (0.5, 0.0, 0.5),
}


def decaying(decay: tuple[float, float, float], **options: object) -> WeightDecayFlow:
    flow = ClassFlow(KERNEL, loss_scale=Z, **options)
    return WeightDecayFlow(flow, weight=decay[0], bias=decay[1], features=decay[2])


@pytest.fixture(scope="module")
def solved() -> dict[str, Trajectory]:
    """All of one shape, so that it compiles once."""
    frame, inside = compress(STATE, CLASSES)
    return {
        name: solve(AccountedFlow(decaying(decay, frame=frame)), AccountedState.opening(inside), TIMES)
        for name, decay in DECAYS.items()
    }


@pytest.mark.parametrize("name", DECAYS)
def test_the_law_of_the_invariant(name: str, solved: dict[str, Trajectory]) -> None:
    trajectory = solved[name]
    imbalance = jax.vmap(trajectory.flow.imbalance)(trajectory.times, trajectory.states)
    scale = float(jnp.linalg.norm(imbalance[0]))
    assert float(jnp.abs(imbalance - imbalance[0]).max()) <= 1e-10 * scale
    moved = float(jnp.linalg.norm(trajectory.states.account[-1]))
    assert (moved > 0.1 * scale) == (name != "none")


def test_with_equal_decay_the_invariant_decays_exponentially(solved: dict[str, Trajectory]) -> None:
    """Whatever the bias does."""
    trajectory = solved["equal"]
    found = jax.vmap(trajectory.flow.flow.invariant)(trajectory.times, trajectory.states.state)
    expected = found[0] * jnp.exp(-2 * 0.1 * trajectory.times)[:, None, None]
    assert float(jnp.abs(found - expected).max()) <= 1e-11 * float(jnp.abs(found[0]).max())


def test_decay_of_the_readout_alone_lowers_the_invariant(solved: dict[str, Trajectory]) -> None:
    """Ė = −2λ_W WᵀW/m ⪯ 0, and no state at rest but W = 0: the features grow as the readout shrinks."""
    trajectory = solved["readout only"]
    found = jax.vmap(trajectory.flow.flow.invariant)(trajectory.times, trajectory.states.state)
    assert float(jnp.linalg.eigvalsh(jnp.diff(found, axis=0)).max()) <= 1e-9
    # With wh = 1 and d(h²)/dt = 2λ_W μ_class/(m h²) for large h, h⁴ of each singular value grows at one pace.
    powers = []
    for index in (30, 40):
        means = trajectory.state_at(index).state.class_means
        centred = means - jnp.mean(means, axis=1, keepdims=True)
        powers.append(jnp.linalg.svd(centred, compute_uv=False)[: CLASSES - 1] ** 4)
    pace = 4 * DECAYS["readout only"][0] * float(KERNEL.lambda_class) / PER_CLASS
    np.testing.assert_allclose(powers[1] - powers[0], pace * 100.0, rtol=0.1)


@pytest.mark.parametrize("name", ["equal", "unequal"])
def test_the_state_at_rest(name: str, solved: dict[str, Trajectory]) -> None:
    """W H₁P = φP with P = I − 11ᵀ/C, S = 0, and WᵀW/m and H₁H₁ᵀ/μ_class proportional by λ_H/λ_W: neural collapse."""
    weight, bias, features = DECAYS[name]
    trajectory = solved[name]
    last, flow = trajectory.state_at(-1).state, trajectory.flow.flow
    centred = np.eye(CLASSES) - 1 / CLASSES
    fit = 1 - Z * np.sqrt(weight * features / (PER_CLASS * float(KERNEL.lambda_class)))
    assert 0.5 < fit < 0.95
    assert float(flow.resting_fit()) == pytest.approx(fit, rel=1e-14)
    # The slowest part is the features' decay.
    tolerance = 2e-7
    assert np.abs(centred @ (last.weight @ last.class_means) @ centred - fit * centred).max() <= tolerance
    assert float(jnp.abs(last.within).max()) <= tolerance
    if bias == 0:
        np.testing.assert_allclose(last.bias, 1 / CLASSES, atol=tolerance)
        assert float(jnp.abs(jnp.sum(last.class_means, axis=1)).max()) <= tolerance
        between = last.class_means @ last.class_means.T / KERNEL.lambda_class
        sides = last.weight.T @ last.weight / PER_CLASS, features / weight * between
        assert float(jnp.abs(sides[0] - sides[1]).max()) <= tolerance
    field = flow.vector_field(jnp.asarray(0.0), last, None)
    assert max(float(jnp.abs(leaf).max()) for leaf in jax.tree.leaves(field)) <= tolerance


def test_too_much_decay_leaves_nothing(solved: dict[str, Trajectory]) -> None:
    trajectory = solved["too strong"]
    last = trajectory.state_at(-1).state
    assert float(trajectory.flow.flow.resting_fit()) == 0
    assert float(jnp.abs(last.weight).max()) <= 1e-6
    assert float(jnp.abs(last.class_means).max()) <= 1e-6


@pytest.mark.parametrize("name", DECAYS)
def test_the_loss_is_the_one_that_is_descended(name: str, solved: dict[str, Trajectory]) -> None:
    """dL/dt = −‖Ẇ‖² − ‖ḃ‖² − Tr ḢK⁻¹Ḣᵀ at single states, with the dense K; so L never grows."""
    trajectory, decay = solved[name], DECAYS[name]
    losses = np.asarray(trajectory.losses)
    assert (np.diff(losses) <= 1e-12 * losses[0]).all()
    flow, state = decaying(decay), ClassState.from_sample(STATE, CLASSES)
    field = flow.vector_field(jnp.asarray(0.0), state, None)
    slope = jax.jvp(flow.loss, (state,), (field,))[1]
    moved = field.to_sample()
    dense = np.linalg.inv(np.asarray(KERNEL.as_matrix()))
    metric = np.trace(np.asarray(moved.features) @ dense @ np.asarray(moved.features).T)
    expected = -(metric + float(jnp.sum(moved.weight**2) + jnp.sum(moved.bias**2)))
    assert float(slope) == pytest.approx(expected, rel=1e-10)


def test_against_a_network_with_weight_decay() -> None:
    """h = Ax with inputs whose Gram matrix is K: every parameter decays by δ, and the flow says what happens."""
    problem = random_problem(1, classes=CLASSES, per_class=PER_CLASS, features=FEATURES, outputs=CLASSES)
    decay, end = 0.2 / problem.end, problem.end
    inputs = np.linalg.cholesky(np.asarray(problem.kernel.as_matrix())).T  # XᵀX = K
    _, w, b = problem.initial
    a = np.random.default_rng(0).standard_normal((FEATURES, inputs.shape[0])) / 3
    targets = np.repeat(problem.targets, PER_CLASS, axis=1)

    def field(_: float, flat: np.ndarray) -> np.ndarray:
        a, w, b = unpack(flat)
        r = (w @ a @ inputs + b[:, None] - targets) / problem.loss_scale
        gradients = w.T @ r @ inputs.T, r @ (a @ inputs).T, r.sum(axis=1)
        return -np.concatenate([g.ravel() for g in gradients]) - decay * flat

    def unpack(flat: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        parts = np.split(flat, np.cumsum([a.size, w.size]))
        return parts[0].reshape(a.shape), parts[1].reshape(w.shape), parts[2]

    start = np.concatenate([a.ravel(), w.ravel(), b])
    solution = solve_ivp(field, (0, end), start, method="DOP853", rtol=1e-12, atol=1e-14)
    a_end, w_end, b_end = unpack(solution.y[:, -1])
    frame, inside = compress(SampleState(*map(jnp.asarray, (a @ inputs, w, b))), CLASSES)
    targets = jnp.asarray(problem.targets)
    base = ClassFlow(problem.kernel, loss_scale=problem.loss_scale, targets=targets, frame=frame)
    flow = WeightDecayFlow(base, weight=decay, bias=decay, features=decay)
    times = jnp.linspace(0.0, end, TIMES.size)
    found = solve(AccountedFlow(flow), AccountedState.opening(inside), times).state_at(-1).state
    back = flow.sample_state(found)
    assert relative_difference(back.features, a_end @ inputs) <= 1e-8
    assert relative_difference(back.weight, w_end) <= 1e-8
    assert relative_difference(back.bias, b_end) <= 1e-8


@pytest.mark.parametrize("layers", [1, 2, 3])
def test_homogeneous_features_decay_by_their_degree(layers: int) -> None:
    """(∂h/∂θ)θ = ph for p ReLU layers without biases: the features' part of weight decay δ is −pδH. Not with tanh."""
    keys = jax.random.split(jax.random.key(layers), layers + 1)
    inputs = jax.random.normal(keys[0], (4, 6))
    weights = [jax.random.normal(key, (4, 4)) for key in keys[1:]]

    def features(weights: list[jax.Array], activation: object) -> jax.Array:
        h = inputs
        for weight in weights:
            h = activation(weight @ h)
        return h

    h, decay = jax.jvp(lambda weights: features(weights, jax.nn.relu), (weights,), (weights,))
    assert relative_difference(decay, layers * h) <= 1e-14
    h, decay = jax.jvp(lambda weights: features(weights, jnp.tanh), (weights,), (weights,))
    assert relative_difference(decay, layers * h) > 0.1


def test_without_decay_it_is_the_class_flow_even_where_the_kernel_is_singular() -> None:
    flow = ClassFlow(BlockKernel(2.0, 2.0, 0.5, classes=CLASSES, per_class=PER_CLASS), loss_scale=Z)
    state = ClassState.from_sample(STATE, CLASSES)
    same = WeightDecayFlow(flow, weight=0.0)
    for a, b in zip(
        jax.tree.leaves(same.vector_field(jnp.asarray(0.0), state, None)),
        jax.tree.leaves(flow.vector_field(jnp.asarray(0.0), state, None)),
        strict=True,
    ):
        assert np.array_equal(a, b)
    assert float(same.loss(state)) == float(flow.loss(state))


@pytest.mark.parametrize("values", [(-0.1, 0.0, 0.0), (0.1, float("nan"), 0.0), (0.1, 0.0, float("inf"))])
def test_bad_decay_is_refused(values: tuple[float, float, float]) -> None:
    with pytest.raises(ValueError, match="decay must be at least 0 and finite"):
        decaying(values)


def test_it_lowers_for_cuda() -> None:
    flow = AccountedFlow(decaying(DECAYS["unequal"]))
    state = AccountedState.opening(ClassState.from_sample(STATE, CLASSES))
    text = lower_for_cuda(lambda flow, state: flow.vector_field(jnp.asarray(0.3), state, None), flow, state)
    assert "stablehlo" in text
    assert "callback" not in text
