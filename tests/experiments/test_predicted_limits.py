"""Verdicts of a comparison against those made again from its stored arrays."""

from __future__ import annotations

import dataclasses

import jax.numpy as jnp
import numpy as np
import pytest
from experiments.conftest import Runs
from training.tiny import problem, snapshots

from ntkflow.collapse import STATEMENTS, predict
from ntkflow.experiments.predicted_limits import limit_tables
from ntkflow.flows import ClassState, SampleState
from ntkflow.kernels import BlockKernel


def test_verdicts_and_bounds_are_those_of_the_stored_state(runs: Runs) -> None:
    summary, training = runs.result("digits").summary, runs.tree("digits")["training"].to_dataset()
    verdicts, bounds = (
        next(table for table in summary.tables if table.title.startswith(start))
        for start in ("Where the block flow", "Scatter within classes")
    )
    classes = training.sizes["output"]
    per_class = training.sizes["sample"] // classes
    states = [
        SampleState(*(jnp.asarray(training[name].to_numpy()[index]) for name in ("features", "weight", "bias")))
        for index in range(training.sizes["moment"])
    ]
    assert len(verdicts.rows) == len(STATEMENTS) * (len(states) - 1)
    within = [float(jnp.sum(ClassState.from_sample(state, classes).within ** 2)) for state in states]
    for index, row in enumerate(bounds.rows):
        kernel = BlockKernel(*training["feature_block_value"].to_numpy()[index], classes=classes, per_class=per_class)
        made = predict(states[index], kernel)
        assert row[1:] == pytest.approx((within[index], made.scatter_floor, made.scatter_ceiling, within[-1]), rel=1e-6)
        assert made.scatter_floor <= within[index]
        ours = verdicts.rows[len(STATEMENTS) * index : len(STATEMENTS) * (index + 1)]
        assert [(row[1], row[2]) for row in ours] == [(verdict.statement, verdict.answer) for verdict in made.verdicts]
        for row in ours:
            name = {"NC1": "nc1_trace_ratio", "NC2": "nc2_etf_distance", "NC3": "nc3_unit_means"}.get(str(row[1]))
            if name is not None:
                values = training[name].to_numpy()
                assert row[4:] == pytest.approx((values[index], values[-1]), rel=1e-12)


def test_targets_in_single_precision() -> None:
    """Zero-centred ones are no I + t1ᵀ any more when they were rounded; others are refused, with the reason."""
    moments = [snapshots()[0], snapshots()[-1]]
    classes = problem().classes
    centred = jnp.eye(classes) - 1 / classes
    rounded, exact, other = (
        limit_tables(moments, dataclasses.replace(problem(), targets=targets))
        for targets in (centred.astype(jnp.float32).astype(float), centred, centred.at[0, 1].add(1e-3))
    )
    assert [row[:3] for row in rounded[0].rows] == [row[:3] for row in exact[0].rows]
    assert {row[2] for row in exact[0].rows} <= {"holds", "fails", "undetermined"}
    assert "one-hot targets" in str(other[0].rows[0][3])


def test_a_state_without_a_verdict_says_why() -> None:
    """One eigenvalue of the kernel below 0: no invariant, and no limit to speak of."""
    first, last = snapshots()[0], snapshots()[-1]
    block = first.feature_kernel.block
    worse = dataclasses.replace(block, kernel=BlockKernel(1.0, 2.0, 0.5, classes=3, per_class=block.kernel.per_class))
    broken = dataclasses.replace(first, feature_kernel=dataclasses.replace(first.feature_kernel, block=worse))
    tables = limit_tables([broken, last], problem())
    assert len(tables) == 1
    ((label, statement, answer, why, *_),) = tables[0].rows
    assert (label, statement, answer) == (first.label, "all", "not defined")
    assert "mu_single > 0" in str(why)
    assert np.isfinite(float(jnp.linalg.norm(first.residual)))
