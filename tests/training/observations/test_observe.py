"""All of one moment: announced and measured are the same, nothing is compiled again, work is counted once."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import monitoring
from training.observations.cases import (
    CASES,
    CLASSES,
    OBSERVATIONS,
    SAMPLES,
    moment,
    network,
    observed,
    references,
    values,
)

from ntkflow.errors import DivergenceError
from ntkflow.kernels import empirical_ntk
from ntkflow.training.observations import (
    SHARED_WORK,
    AlignmentObservation,
    BlockValueObservation,
    CollapseObservation,
    Moment,
    Observed,
    cost_names,
    cost_variable,
    kernel_method,
    kernel_sample,
    observe,
    references_of,
)


@pytest.fixture
def compilations() -> Iterator[list[str]]:
    """Programs that are compiled while the test runs."""
    found: list[str] = []
    listening = True

    def listener(event: str, seconds: float, **rest: object) -> None:
        if listening and "backend_compile" in event:
            found.append(event)

    monitoring.register_event_duration_secs_listener(listener)
    yield found
    listening = False


@pytest.mark.parametrize("case", CASES)
def test_nothing_is_compiled_for_a_later_moment(case: str, compilations: list[str]) -> None:
    values(case)
    before = len(compilations)
    later = Moment(jax.tree.map(lambda leaf: leaf, network(case, 0)), observed(case), 7, 70, 1.0, 0.01)
    observe(OBSERVATIONS, later, references(case))
    assert len(compilations) == before
    jax.jit(lambda x: x + len(case) + 0.123)(jnp.zeros(2))
    assert len(compilations) > before  # The counter counts.


@pytest.mark.parametrize("case", CASES)
def test_what_is_announced_is_measured_and_defined(case: str) -> None:
    for observation in OBSERVATIONS:
        found = values(case)[observation.name]
        announced = observation.variables(observed(case))
        assert [variable.name for variable in announced] == list(found)
        labels = observation.coordinates(observed(case))
        for variable in (*announced, *observation.reference_variables(observed(case))):
            assert len(variable.long_name) >= 25, variable.name
            assert variable.long_name[-1] in ".)", variable.name
            for dim, size in zip(variable.dims, variable.shape, strict=True):
                assert dim not in labels or len(labels[dim]) == size
            assert variable.empty(4, 2).shape == (4, 2, *variable.shape)
            assert np.isnan(variable.empty(1)).all()
        for variable in announced:
            assert found[variable.name].shape == variable.shape
            assert found[variable.name].dtype == np.float64
            assert np.isfinite(found[variable.name]).all(), variable.name


def test_definitions_say_which_samples_and_which_z() -> None:
    said = {
        f"{observation.name}.{variable.name}": variable.long_name
        for observation in OBSERVATIONS
        for variable in observation.variables(observed("mlp"))
    }
    samples = "15 measured training samples (3 classes of m = 5)"
    for name in ("losses.loss", "residuals.residual_norm", "collapse.trace_within", "sharpness.sharpness"):
        assert samples in said[name], name
    for name in (
        "losses.loss",
        "losses.squared_error",
        "residuals.residual_norm",
        "block_values.rate",
        "sharpness.step_limit",
    ):
        assert "Z = 7.5" in said[name], name
    for name in said:
        if name.startswith(("block_values.logit_block", "alignments.feature_")):
            assert "12 training samples (3 classes of m = 4)" in said[name], name
            assert "mean over" in said[name], name


def test_the_same_network_gives_the_same_bits() -> None:
    again, _ = observe(OBSERVATIONS, moment("mlp", 1), references("mlp"))
    for name, group in values("mlp").items():
        for variable, array in group.items():
            assert array.tobytes() == again[name][variable].tobytes(), (name, variable)


def test_shared_work_is_done_once_and_timed_on_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    kernels: list[str] = []

    def counted(network, x, **rest):
        kernels.append(rest["of"])
        return empirical_ntk(network, x, **rest)

    monkeypatch.setattr(kernel_method, "empirical_ntk", counted)
    there, told = moment("mlp", 1), []
    references_of(OBSERVATIONS, there)
    _, seconds = observe(OBSERVATIONS, there, references("mlp"), progress=lambda *news: told.append(news))
    assert sorted(kernels) == ["features", "logits"]
    assert tuple(seconds) == cost_names(OBSERVATIONS) == (*(item.name for item in OBSERVATIONS), *SHARED_WORK)
    assert cost_variable(OBSERVATIONS).shape == (len(seconds),)
    assert min(seconds.values()) >= 0
    # Block values of kernels that references_of had measured are no passes any more.
    assert seconds["kernels"] < seconds["sharpness"]
    assert [done for _, done, _ in told] == list(range(len(OBSERVATIONS) + 1))
    fresh = moment("mlp", 1)
    kernels.clear()
    _, seconds = observe((BlockValueObservation(), AlignmentObservation()), fresh, references("mlp"))
    assert sorted(kernels) == ["features", "logits"]
    assert seconds["kernels"] > seconds["block_values"]


def test_two_of_one_name() -> None:
    pair = (CollapseObservation(), CollapseObservation(per_class=3))
    with pytest.raises(ValueError, match="two observations are named 'collapse'"):
        observe(pair, moment("mlp"), {})
    named = (CollapseObservation(), CollapseObservation(name="collapse_small", per_class=3))
    found, _ = observe(named, moment("mlp"), {})
    assert found["collapse"]["trace_within"] != found["collapse_small"]["trace_within"]


def test_announcing_something_else_is_found_out() -> None:
    class Wrong(CollapseObservation):
        def measure(self, moment, reference):
            found = super().measure(moment, reference)
            return found | {"bias": found["bias"][:1]}

    class Less(CollapseObservation):
        def measure(self, moment, reference):
            return {"bias": super().measure(moment, reference)["bias"]}

    with pytest.raises(ValueError, match=r"collapse\.bias has shape \(1,\), announced was \(3,\)"):
        observe((Wrong(),), moment("mlp"), {})
    with pytest.raises(ValueError, match=r"announced other variables than it measured: bias_norm, class_mean_gram, "):
        observe((Less(),), moment("mlp"), {})


def test_a_run_that_has_diverged() -> None:
    broken = jax.tree.map(lambda leaf: jnp.inf * leaf, network("mlp"))
    there = dataclasses.replace(moment("mlp", 1), network=broken)
    for measure in (lambda: observe(OBSERVATIONS, there, {}), lambda: references_of(OBSERVATIONS, there)):
        with pytest.raises(
            DivergenceError, match=r"epoch 1: the network's outputs are not finite at 15 of 15 training"
        ):
            measure()


def test_samples_that_do_not_belong_together() -> None:
    whole = observed("mlp")

    def changed(**fields) -> Observed:
        return dataclasses.replace(whole, **fields)

    with pytest.raises(ValueError, match="15 samples cannot be sorted into 4 classes of equal size"):
        changed(classes=4)
    with pytest.raises(ValueError, match="undefined with one sample a class"):
        changed(kernel_inputs=whole.inputs[:CLASSES])
    with pytest.raises(ValueError, match="targets of 5 classes, but 3 classes of samples"):
        changed(targets=jnp.eye(5))
    with pytest.raises(ValueError, match="at least 1 sample goes through the network at once, not 0"):
        changed(piece=0)
    with pytest.raises(ValueError, match="between 1 and 5 samples of each class can be taken, not 6"):
        kernel_sample(whole.inputs, CLASSES, 6)
    places = np.asarray(kernel_sample(jnp.arange(SAMPLES)[:, None].astype(float), CLASSES, 2))[:, 0]
    assert places.tolist() == [0, 1, 5, 6, 10, 11]
