"""A run known by arrays beside the same run with its networks: every forecast and every measured number is the same."""

from __future__ import annotations

import dataclasses
import functools
import io
import re
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest
import xarray as xr
from rich.console import Console
from training.tiny import CLASSES, FEATURES, PER_CLASS, SAMPLES, dataset, flow_snapshots, flowed

import ntkflow
from ntkflow import MeasuredMoment
from ntkflow.comparison import RUNGS, Model, models_of
from ntkflow.errors import DataError
from ntkflow.experiments.compare_network import Comparison
from ntkflow.kernels import empirical_ntk
from ntkflow.report import print_summary
from ntkflow.training import FORMS

WHOLE: tuple[Model, ...] = ("linearized", "updated_linear", "full_frozen", "matrix_blocks", "three_values")
OWN: tuple[Model, ...] = ("neuron_diagonal", "neuron_values")
MEAN: tuple[Model, ...] = ("isotropic", "within_spectrum")
LABELS = np.repeat(np.arange(CLASSES), PER_CLASS)
SHUFFLED = np.random.default_rng(3).permutation(SAMPLES)
"""The arrays come in another order than sorted by class."""


@functools.cache
def with_networks() -> Comparison:
    moments = flowed().moments
    return ntkflow.compare(
        moments[0].network,
        dataset().inputs,
        LABELS,
        later=[(item.time, item.network) for item in moments[1:]],
        models=[*WHOLE, *OWN, *MEAN],
        encoding="zero_centred",
    )


@functools.cache
def moments(form: str) -> tuple[MeasuredMoment, ...]:
    """The three moments with Θʰ in one form, samples shuffled."""
    found = []
    for item in flowed().moments:
        network, inputs = item.network, dataset().inputs[SHUFFLED]
        whole = np.asarray(empirical_ntk(network, inputs, of="features", trace=None).values)
        own = np.einsum("pipj->pij", whole)
        logits = np.asarray(empirical_ntk(network, inputs, of="logits", trace="outputs").values).mean(axis=0)
        found.append(
            MeasuredMoment(
                time=item.time,
                features=np.asarray(network.feature_matrix(inputs)),
                weight=np.asarray(network.readout.weight),
                bias=np.asarray(network.readout.bias),
                kernel={"whole": whole, "own": own, "mean": own.mean(axis=0)}[form],
                logit_kernel=logits if form == "own" else None,
            )
        )
    return tuple(found)


@functools.cache
def given(form: str) -> Comparison:
    models = {"whole": WHOLE, "own": OWN, "mean": MEAN}[form]
    return ntkflow.compare_arrays(moments(form), LABELS[SHUFFLED], models=models, encoding="zero_centred")


@pytest.mark.slow
@pytest.mark.parametrize(("form", "models"), [("whole", WHOLE), ("own", OWN), ("mean", MEAN)])
def test_forecasts_are_those_of_the_networks(form: str, models: tuple[Model, ...]) -> None:
    ours, theirs = given(form).tree, with_networks().tree
    for model in models:
        for name in ("forecast_norm", "forecast_nc1_trace_ratio"):
            expected, found = (tree["theory"][name].sel(model=model).to_numpy() for tree in (theirs, ours))
            # Rounding moves the solver's steps, and its tolerance is 1e-6; without Θ it finds its first step itself.
            np.testing.assert_allclose(
                found, expected, rtol=1e-5 if form == "whole" else 1e-4, err_msg=f"{model} {name}"
            )
        # The features of shuffled samples are sorted again, sample by sample.
        expected, found = (tree["comparison"]["state_error"].sel(model=model).to_numpy() for tree in (theirs, ours))
        np.testing.assert_allclose(found, expected, rtol=1e-5 if form == "whole" else 1e-3, err_msg=model)


def test_the_first_moment_is_that_of_the_network() -> None:
    found, expected = given("mean").tree["training"].isel(moment=0), flow_snapshots()[0]
    np.testing.assert_allclose(found["feature_block_value"], expected.feature_kernel.block.values, rtol=1e-9)
    np.testing.assert_allclose(found["nc1_trace_ratio"], expected.metrics["nc1_trace_ratio"], rtol=1e-9)
    np.testing.assert_allclose(found["invariant_norm"], expected.invariant.norm, rtol=1e-9)
    norms = given("mean").tree["theory"]["forecast_norm"].sel(model="isotropic").isel(snapshot=0, point=0)
    np.testing.assert_allclose(norms, expected.residual_norms, rtol=1e-9)
    assert np.isnan(found["step_limit"])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("form", "without"),
    [
        ("whole", ()),
        ("own", ("rate_whole", "step_limit")),
        ("mean", ("rate_whole", "step_limit", "rate_block", "feature_block_spread")),
    ],
)
def test_measured_numbers_are_those_of_the_networks(form: str, without: tuple[str, ...]) -> None:
    """And what is not known is NaN."""
    ours, theirs = given(form).tree, with_networks().tree
    names = {
        "training": (
            "residual feature_block_value feature_block_standard_error feature_block_spread feature_alignment "
            "invariant_norm invariant_alignment nc1_trace_ratio nc4_disagreement train_accuracy step_limit"
        ),
        "theory": "rate_block rate_whole",
    }
    for group, listed in names.items():
        for name in listed.split():
            expected, found = theirs[group][name].to_numpy(), ours[group][name].to_numpy()
            if name in without:
                assert np.isnan(found).all(), name
            elif name == "residual":
                order = SHUFFLED[np.argsort(LABELS[SHUFFLED], kind="stable")]
                np.testing.assert_allclose(found, expected[..., order], rtol=1e-9, atol=1e-12)
            else:
                np.testing.assert_allclose(found, expected, rtol=1e-6, err_msg=name)
    assert ("logit_kernel" in ours["training"]) == (form != "mean")


def test_the_summary_and_the_report(tmp_path: Path) -> None:
    folder = given("mean").save(tmp_path / "result")
    assert (folder / "report.html").stat().st_size > 100_000
    assert {path.stem for path in (folder / "figures").glob("*.svg")} >= {"kernels", "ladder", "rates", "structure"}
    told = io.StringIO()
    print_summary(given("mean").summary, Console(file=told, width=200))
    assert "the mean over features of Θʰ" in told.getvalue()
    assert not re.search(r"\bnan\b", told.getvalue(), re.IGNORECASE)


def test_each_form_says_which_models_it_serves() -> None:
    assert models_of("network") == tuple(RUNGS)
    counts = [len(models_of(form)) for form in FORMS]
    assert counts == sorted(counts)
    assert set(WHOLE) <= set(models_of("whole"))
    with pytest.raises(
        ValueError, match=r"full_frozen needs the whole Θʰ, and what is given is the mean over features"
    ):
        ntkflow.compare_arrays(moments("mean"), LABELS[SHUFFLED], models=["full_frozen"])
    with pytest.raises(ValueError, match=r"mean_jacobian needs the network"):
        ntkflow.compare_arrays(moments("whole"), LABELS[SHUFFLED], models=["mean_jacobian"])


def test_a_kernel_that_is_not_positive_semi_definite_is_told_of() -> None:
    """A multiple of the identity is taken off, so that the lowest eigenvalue is known."""
    first, *rest = moments("mean")
    matrix = np.asarray(first.kernel)
    lowest = float(np.linalg.eigvalsh(matrix)[0])
    shift = lowest + 0.25
    worse = dataclasses.replace(first, kernel=matrix - shift * np.eye(SAMPLES))
    found = ntkflow.compare_arrays([worse, *rest], LABELS[SHUFFLED], models=["three_values"], encoding="zero_centred")
    (warning,) = [text for text in found.summary.warnings if "positive semi-definite" in text]
    assert "−0.250 at t = 0 (largest" in warning
    assert not [text for text in given("mean").summary.warnings if "positive semi-definite" in text]
    for form in ("own", "whole"):
        assert all(item.lowest_eigenvalue() is None for item in moments(form))
    indefinite = dataclasses.replace(moments("whole")[0], kernel=-np.asarray(moments("whole")[0].kernel))
    low, high = indefinite.lowest_eigenvalue() or (0.0, 0.0)
    assert low < -1
    assert high < 0


def changed(**values: object) -> list[MeasuredMoment]:
    """The moments with something else in the second."""
    first, second, *rest = moments("mean")
    return [first, dataclasses.replace(second, **values), *rest]


def broken(array: np.ndarray, where: tuple[int, ...], value: float) -> np.ndarray:
    array = array.copy()
    array[where] = value
    return array


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: moments("mean")[:1], r"moments: two or more moments at increasing times are needed, not 0\n"),
        (lambda: moments("mean")[::-1], r"increasing times are needed, not 6, 1.3, 0\n"),
        (lambda: changed(weight=np.zeros((CLASSES, 2))), r"t = 1.3: weight has the shape \(3, 2\), not \(3, 6\)"),
        (
            lambda: changed(features=np.zeros((5, SAMPLES)), weight=np.zeros((CLASSES, 5))),
            r"t = 1.3: features of shape \(5, 12\), but \(6, 12\) at t = 0\n",
        ),
        (lambda: changed(features=np.zeros(SAMPLES)), r"features has the shape \(12,\), not \(features, samples\)"),
        (lambda: changed(bias=np.full(CLASSES, np.inf)), r"t = 1.3: bias has values that are not finite"),
        (lambda: changed(kernel=moments("own")[1].kernel), r"t = 1.3: kernels in another form than at t = 0\n"),
        (lambda: changed(step=4), r"step 4: a step is given here or at t = 0, but not at both\n"),
        (
            lambda: changed(kernel=broken(np.asarray(moments("mean")[1].kernel), (0, 1), 7.0)),
            r"t = 1.3: kernel is not symmetric: it differs from its transpose by up to",
        ),
    ],
)
def test_arrays_that_do_not_fit(make: object, message: str) -> None:
    with pytest.raises(DataError, match=message):
        ntkflow.compare_arrays(make(), LABELS[SHUFFLED])  # type: ignore[operator]


def test_unequal_classes_are_refused() -> None:
    with pytest.raises(DataError, match=r"labels: classes of 3 to 5 samples"):
        ntkflow.compare_arrays(moments("mean"), np.where(np.arange(SAMPLES) == 0, 1, LABELS))


def as_dataset(form: str, variable: str, dimensions: tuple[str, ...]) -> xr.Dataset:
    items = moments(form)
    named = {
        "moment_time": (("moment",), np.array([item.time for item in items])),
        "label": (("sample",), LABELS[SHUFFLED]),
        # The order of dimensions in a file is free.
        "features": (("moment", "sample", "feature"), np.stack([item.features.T for item in items])),
        "weight": (("moment", "output", "feature"), np.stack([item.weight for item in items])),
        "bias": (("moment", "output"), np.stack([item.bias for item in items])),
        variable: (("moment", *dimensions), np.stack([item.kernel for item in items])),
    }
    return xr.Dataset(named)


@pytest.mark.parametrize(
    ("form", "variable", "dimensions"),
    [
        ("mean", "feature_kernel", ("sample", "sample_2")),
        ("own", "feature_own_kernel", ("feature", "sample", "sample_2")),
        ("whole", "feature_whole_kernel", ("feature", "sample", "feature_2", "sample_2")),
    ],
)
def test_a_file_gives_the_arrays_back(form: str, variable: str, dimensions: tuple[str, ...], tmp_path: Path) -> None:
    path = tmp_path / "run.nc"
    as_dataset(form, variable, dimensions).to_netcdf(path, engine="h5netcdf")
    found, labels = ntkflow.read_measured_run(path)
    np.testing.assert_array_equal(labels, LABELS[SHUFFLED])
    for ours, theirs in zip(found, moments(form), strict=True):
        for name in ("features", "weight", "bias", "kernel"):
            np.testing.assert_array_equal(getattr(ours, name), getattr(theirs, name))
        assert ours.time == theirs.time


@pytest.mark.slow
def test_arrays_of_a_result_of_ours(tmp_path: Path) -> None:
    """What a comparison's result holds is enough, but for the labels."""
    tree = with_networks().tree["training"].to_dataset()
    tree["label"] = (("sample",), LABELS)
    tree.to_netcdf(tmp_path / "run.nc", group="training", engine="h5netcdf")
    found, labels = ntkflow.read_measured_run(tmp_path / "run.nc")
    assert [item.time for item in found] == [item.time for item in flowed().moments]
    np.testing.assert_array_equal(labels, LABELS)
    assert found[0].logit_kernel is not None


def test_files_that_cannot_be_used(tmp_path: Path) -> None:
    path = tmp_path / "run.nc"
    with pytest.raises(DataError, match=r"run.nc: there is no such file"):
        ntkflow.read_measured_run(path)
    path.write_bytes(b"no NetCDF")
    with pytest.raises(DataError, match=r"run.nc: cannot be read as NetCDF"):
        ntkflow.read_measured_run(path)
    good = as_dataset("mean", "feature_kernel", ("sample", "sample_2"))
    for broken_file, message in (
        (good.drop_vars("label"), r"run.nc: holds no label\n"),
        (good.drop_vars("feature_kernel"), r"run.nc: holds no kernel of the features: none of feature_whole_kernel"),
        (good.rename(output="class"), r"weight has the dimensions \('moment', 'class', 'feature'\), not"),
        (good.assign(label=good["label"].astype(float)), r"label is of type float64"),
    ):
        broken_file.to_netcdf(path, engine="h5netcdf")
        with pytest.raises(DataError, match=message):
            ntkflow.read_measured_run(path)


def test_the_logits_kernel_of_the_features() -> None:
    """Θ_ks = w_kᵀΘʰw_s + δ_ks(⟨h, h'⟩ + 1), from the whole Θʰ, against the measured one."""
    from ntkflow.kernels import ReadoutKernel, TangentKernel, WholeKernel

    network, inputs = flowed().moments[1].network, dataset().inputs
    whole = empirical_ntk(network, inputs, of="features", trace=None).values
    features = network.feature_matrix(inputs)
    array = jnp.asarray(np.random.default_rng(0).standard_normal((CLASSES, SAMPLES)))
    found = ReadoutKernel(WholeKernel(whole), features, network.readout.weight).apply(array)
    np.testing.assert_allclose(found, TangentKernel(network, inputs, "logits").apply(array), rtol=1e-12)
    with pytest.raises(ValueError, match=r"\(neurons, samples, neurons, samples\), not \(6, 12, 12, 6\)"):
        WholeKernel(jnp.swapaxes(whole, 2, 3))
    assert whole.shape == (FEATURES, SAMPLES, FEATURES, SAMPLES)
