"""Epochs against NumPy's steps; both loops, pieces of epochs, resumed runs."""

from __future__ import annotations

import re
from pathlib import Path

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from networks.plain_mlp import arrays as plain_arrays
from training.backpropagation import gradient, residual
from training.mini_batches import (
    BATCH_PER_CLASS,
    CLASSES,
    PER_CLASS,
    SAMPLES,
    STEP_SIZE,
    STEPS_PER_EPOCH,
    Z,
    constant,
    convolutional,
    inputs,
    network,
    parameters,
    recipe,
    same_bits,
    start,
    targets,
)

from ntkflow.errors import DivergenceError
from ntkflow.networks import MLP, Convolution, ProductConvolution, load_checkpoint, require_statistics, save_checkpoint
from ntkflow.training import (
    SGD,
    CrossEntropy,
    Recipe,
    Steps,
    TrainingState,
    chosen_loop,
    copy_state,
    inside_loops,
    run_steps,
    train_epoch,
)

LOOPS = ("compiled", "dispatched")

_LAYERS = (Convolution, ProductConvolution)


def batches(state: TrainingState) -> np.ndarray:
    return np.asarray(recipe().order(state))


def vector(network: MLP) -> np.ndarray:
    """All parameters in the order of :func:`by_hand`."""
    return np.concatenate([array.ravel() for array in plain_arrays(network)])


def by_hand(theta: np.ndarray, batch: np.ndarray) -> tuple[float, np.ndarray]:
    """‖R_B‖²/(2Z|B|/N) and its gradient by backpropagation in NumPy, of the parameters in one vector."""
    plain, at = [], 0
    for array in plain_arrays(network()):
        plain.append(theta[at : at + array.size].reshape(array.shape))
        at += array.size
    x, y, z = inputs()[batch], targets()[:, batch // PER_CLASS], Z * len(batch) / SAMPLES
    loss = (residual(plain, x, y, "tanh") ** 2).sum() / (2 * z)
    return loss, np.concatenate([g.ravel() for g in gradient(plain, x, y, "tanh", z)])


def test_two_epochs_are_numpys() -> None:
    """Nesterov momentum 0.9 and coupled decay 0.05, the step size halved after one epoch. Of the compiled loop, whose
    bits the other one has.
    """
    schedule = Steps(jnp.asarray(STEP_SIZE), every=1, factor=2.0)
    state = start()
    theta, velocity = vector(network()), 0.0
    for epoch in range(2):
        losses = []
        for batch in batches(state):
            loss, pure = by_hand(theta, batch)
            losses.append(loss)
            decaying = pure + 0.05 * theta
            velocity = 0.9 * velocity + decaying
            theta = theta - STEP_SIZE / 2**epoch * (decaying + 0.9 * velocity)
        state, record = train_epoch(recipe(), state, schedule, loop="compiled")
        assert np.allclose(record.losses, losses, rtol=1e-12)
        assert record.loss == pytest.approx(np.mean(losses), rel=1e-12)
        assert record.gradient_norm == pytest.approx(np.linalg.norm(pure), rel=1e-12)
        assert record.first_step == epoch * STEPS_PER_EPOCH
    assert np.allclose(vector(state.network), theta, rtol=1e-11, atol=1e-13)
    assert (int(state.epoch), int(state.step)) == (2, 2 * STEPS_PER_EPOCH)


def test_every_batch_is_balanced_and_epochs_differ() -> None:
    state = start()
    first = batches(state)
    assert first.shape == (STEPS_PER_EPOCH, CLASSES * BATCH_PER_CLASS)
    for batch in first:
        assert np.array_equal(batch // PER_CLASS, np.repeat(np.arange(CLASSES), BATCH_PER_CLASS))
    assert len(np.unique(first)) == first.size
    second = batches(train_epoch(recipe(), state, constant())[0])
    assert not np.array_equal(first, second)


@pytest.mark.parametrize("kind", ["dense", "convolutional"])
def test_both_loops(kind: str) -> None:
    """The same bits for dense layers; XLA's convolutions inside its own loops are other ones, so there to rounding."""
    if kind == "dense":
        problem, net = recipe(), network()
    else:
        problem, net = convolutional()
    ends = []
    for loop in LOOPS:
        state = problem.start(net, jax.random.key(4))
        for _ in range(2):
            state, record = train_epoch(problem, state, constant(), loop=loop)
        ends.append((state, record))
    (left, first), (right, second) = ends
    if kind == "dense":
        assert same_bits(left, right)
        assert np.array_equal(first.losses, second.losses)
    assert np.allclose(parameters(left.network), parameters(right.network), rtol=1e-9, atol=1e-11)
    assert np.allclose(first.losses, second.losses, rtol=1e-10)


def test_running_statistics_are_right_from_the_first_step() -> None:
    problem, net = convolutional()
    state, _ = run_steps(problem, problem.start(net, jax.random.key(4)), constant(), 1)
    require_statistics(state.network)
    # The stem sees the images themselves: by hand, before its weights moved.
    images = np.asarray(problem.inputs)[np.asarray(problem.order(problem.start(net, jax.random.key(4))))[0]]
    weight = np.asarray(net.stem.convolution.weight)
    padded = np.pad(images[:, 0], ((0, 0), (1, 1), (1, 1)))
    z = sum(
        padded[:, None, s : s + 4, t : t + 4] * weight[None, :, 0, s, t, None, None] for s in range(3) for t in range(3)
    )
    statistics = state.network.stem.norm.statistics
    assert np.allclose(statistics.mean, z.mean((0, 2, 3)), atol=1e-14)
    assert np.allclose(statistics.variance, np.moveaxis(z, 1, 0).reshape(4, -1).var(1, ddof=1), rtol=1e-12)


@pytest.mark.parametrize(
    ("loop", "per_class"), [("compiled", BATCH_PER_CLASS), ("compiled", PER_CLASS), ("dispatched", BATCH_PER_CLASS)]
)
def test_steps_in_pieces_are_the_same_steps(loop: str, per_class: int) -> None:
    problem = recipe(per_class)
    whole, record = run_steps(problem, problem.start(network(), jax.random.key(1)), constant(), 8, loop=loop)
    state = problem.start(network(), jax.random.key(1))
    losses = []
    for count in (1, 4, 3):
        state, piece = run_steps(problem, state, constant(), count, loop=loop)
        losses.extend(piece.losses)
    assert same_bits(whole, state)
    assert np.array_equal(record.losses, losses)
    assert record.gradient_norm == piece.gradient_norm


def test_the_full_batch_is_gradient_descent() -> None:
    """Against backpropagation by hand, on all samples in their order."""
    problem = Recipe(recipe().inputs, recipe().targets, recipe().objective, SGD(), PER_CLASS)
    assert problem.full_batch
    assert problem.steps_per_epoch == 1
    state, record = run_steps(problem, problem.start(network(), jax.random.key(1)), constant(), 3)
    theta = vector(network())
    for found in record.losses:
        loss, slope = by_hand(theta, np.arange(SAMPLES))
        assert found == pytest.approx(loss, rel=1e-12)
        theta = theta - STEP_SIZE * slope
    assert np.allclose(vector(state.network), theta, rtol=1e-11, atol=1e-13)
    assert int(state.epoch) == 3


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("kind", ["dense", "convolutional"])
def test_a_resumed_run_is_the_uninterrupted_one(loop: str, kind: str, tmp_path: Path) -> None:
    problem, net = (recipe(), network()) if kind == "dense" else convolutional()
    state, _ = train_epoch(problem, problem.start(net, jax.random.key(4)), constant(), loop=loop)
    save_checkpoint(tmp_path / "state.ckpt", state, step=int(state.step), seed=0)
    state, straight = train_epoch(problem, state, constant(), loop=loop)
    like = eqx.filter_eval_shape(problem.start, net, jax.random.key(0))
    loaded, header = load_checkpoint(tmp_path / "state.ckpt", like)
    assert header.step == problem.steps_per_epoch
    resumed, again = train_epoch(problem, loaded, constant(), loop=loop)
    assert same_bits(resumed, state)
    assert np.array_equal(straight.losses, again.losses)
    assert straight.gradient_norm == again.gradient_norm


def test_the_callers_network_is_not_used_up() -> None:
    net = network()
    before = parameters(net).copy()
    state = recipe().start(net, jax.random.key(0))
    kept = copy_state(state)
    train_epoch(recipe(), state, constant())
    assert np.array_equal(parameters(net), before)
    assert np.array_equal(parameters(kept.network), before)
    with pytest.raises(RuntimeError, match="deleted"):
        parameters(state.network)


@pytest.mark.parametrize("loop", LOOPS)
def test_divergence_is_named(loop: str) -> None:
    with pytest.raises(DivergenceError) as caught:
        run_steps(recipe(), start(), constant(1e40), 600, loop=loop)
    found = re.fullmatch(
        r"training\.step_size: the (loss|gradient) is not finite at step (\d+) \(epoch (\d+)\) of training with step "
        r"size 1e\+40\n  Try 1e\+39\. Gradient descent on all samples allows steps up to 2Z/lambda_max of the "
        r"network's kernel, less where that grows\.",
        str(caught.value),
    )
    assert found, str(caught.value)
    assert int(found[2]) // STEPS_PER_EPOCH == int(found[3])


def test_an_untrained_network_whose_loss_is_not_finite() -> None:
    hot = eqx.tree_at(lambda net: net.readout.weight, network(), jnp.full_like(network().readout.weight, 1e200))
    with pytest.raises(DivergenceError, match="untrained network"):
        train_epoch(recipe(), recipe().start(hot, jax.random.key(0)), constant())


def test_accuracy_is_the_share_of_right_answers() -> None:
    problem = recipe(PER_CLASS)
    _, record = run_steps(problem, problem.start(network(), jax.random.key(0)), constant(), 1)
    logits = np.stack([np.asarray(network()(jnp.asarray(x))) for x in inputs()], axis=1)
    right = [int(np.argmax(logits[:, i])) == i // PER_CLASS for i in range(SAMPLES)]
    assert record.accuracy == pytest.approx(sum(right) / SAMPLES)
    assert "Steps 0 to 1: mean loss" in str(record)


def test_the_loop_that_auto_takes() -> None:
    assert chosen_loop("auto", network()) == "compiled"
    assert chosen_loop("auto", convolutional()[1]) == "dispatched"
    assert chosen_loop("compiled", convolutional()[1]) == "compiled"
    # What a solver applies in its loop has no convolution left, here on a CPU.
    leaves = jax.tree.leaves(inside_loops(convolutional()[1]), is_leaf=lambda node: isinstance(node, _LAYERS))
    kinds = {type(leaf) for leaf in leaves if isinstance(leaf, _LAYERS)}
    assert kinds == {ProductConvolution}
    assert chosen_loop("dispatched", network()) == "dispatched"


def test_refusals() -> None:
    x, y = recipe().inputs, recipe().targets
    with pytest.raises(ValueError, match="batch_per_class must be 1 … 7"):
        Recipe(x, y, CrossEntropy(), SGD(), 8)
    with pytest.raises(ValueError, match="not as many of each of 3 classes"):
        Recipe(x[:-1], y, CrossEntropy(), SGD(), 1)
    with pytest.raises(ValueError, match="inputs are float32, but the network has parameters in float64"):
        Recipe(x.astype(jnp.float32), y, CrossEntropy(), SGD(), 1).start(network(), jax.random.key(0))
    with pytest.raises(ValueError, match="1 or more, not 0"):
        run_steps(recipe(), start(), constant(), 0)
