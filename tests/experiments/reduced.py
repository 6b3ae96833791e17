"""Every shipped scenario at a size that runs in seconds."""

from __future__ import annotations

from training.tiny import CLASSES, FEATURES, PER_CLASS, STEP, STEPS, WIDTH

SNAPSHOTS = (0, 37)
END = 300.0

COLLAPSE = (
    "data={source: digits, classes: 3, samples_per_class: 4, test_samples_per_class: 2}",
    "network={kind: mlp, width: 8, hidden_layers: 1, features: 6, activation: tanh}",
    "training.precision=float64",
    "training.epochs=3",
    "training.batch_per_class=2",
    "records={epochs: [1], groups: [losses, collapse, invariant], kernel_samples_per_class: 2}",
)
"""Both scenarios alike, so that they share their programs."""

DIGITS = (
    f"data.classes={CLASSES}",
    f"data.samples_per_class={PER_CLASS}",
    f"network.width={WIDTH}",
    f"network.features={FEATURES}",
    f"training.step_size={STEP}",
    f"training.steps={STEPS}",
    f"training.snapshots={list(SNAPSHOTS)}",
)
"""The tiny problem of the other tests, which have compiled for its shapes."""

WIDTHS = (
    "data={source: digits, classes: 3, samples_per_class: 4, labels: zero_centred}",
    "test_samples_per_class=5",
    "widths=[16, 32]",
    "seeds=2",
    "steps=30",
)

REDUCED = {
    "collapse_digits": (*COLLAPSE, "checkpoints.snapshots=[0, 1]"),
    "collapse_mnist5k": COLLAPSE,
    "digits": DIGITS,
    "ladder": (*DIGITS, "network.hidden_layers=1", "network.activation=tanh", "data.labels=zero_centred"),
    "block_flow": (
        "problem={classes: 3, samples_per_class: 4, features: 8}",
        "kernel={diagonal: 8.0, same_class: 6.4, different_class: 1.6}",
        "loss_scale=32.0",
        f"time.end={END}",
        "time.points=25",
    ),
    "regression": (
        "data={source: digits, classes: 3, samples_per_class: 4, labels: zero_centred}",
        "test_samples_per_class=5",
        "kernel={kind: empirical, network: {kind: mlp, width: 8, hidden_layers: 1, features: 6, activation: tanh}}",
        "time={end: 300.0, points: 20}",
        "descent={step_size: 0.02, steps: 500, momentum: 0.5}",
    ),
    "infinite_width": (
        "data={source: digits, classes: 3, samples_per_class: 4, labels: zero_centred}",
        "test_samples_per_class=5",
        "time={end: 300.0, points: 20}",
        "descent.steps=500",
    ),
    "width": WIDTHS,
    "width_smooth": WIDTHS,
    "width_mnist5k": WIDTHS,
    "mean_field": (
        "plane={sigma_w2: {start: 0.5, end: 4.0, points: 8}, sigma_b2: {start: 0.0, end: 1.0, points: 3}}",
        "depth=8",
        "correlations=[0.0, 0.6]",
    ),
    "kernel_change": (
        "data={source: digits, classes: 3, samples_per_class: 4}",
        "sigma_w2=[1.0, 2.2]",
        "depths=[2, 3]",
        "widths=[6, 8]",
        "step_size=2.0e-3",
        "steps=20",
        "measured_steps=[1, 10]",
    ),
    "dispersion": (
        "architectures=[{width: 12}]",
        "sigma_w_squared=[1.0, 2.0, 3.0]",
        "depth_to_width=[0.1, 0.3, 0.5]",
        "cosines=[1.0, 0.3]",
        "monte_carlo.samples=200",
    ),
    "cntk_digits": (
        "data={source: digits, classes: 3, samples_per_class: 3, labels: zero_centred}",
        "test_samples_per_class=2",
        "kernel.hidden_layers=2",
        "kernel.depths=[1, 2]",
        "time={end: 300.0, points: 20}",
    ),
    "kernel": (
        "data={source: digits, classes: 3, samples_per_class: 4, labels: zero_centred}",
        "network={kind: mlp, width: 8, hidden_layers: 1, features: 6, activation: tanh}",
        "at=[0, 5, 40]",
        "measure={which: pairs}",
    ),
    "hyperbola": ("time.points=25",),
    "imbalance": (
        "problem={classes: 4, samples_per_class: 6, features: 6}",
        "cases=[{name: ratio 1, model: {kind: block}}, "
        "{name: ratio 5, model: {kind: unequal_classes, sizes: [10, 10, 2, 2]}}]",
        "time.end=100.0",
        "time.points=20",
    ),
    "noise": (
        "problem={classes: 3, samples_per_class: 4, features: 5}",
        "time.end=30.0",
        "time.points=8",
        "cases=[{name: constant, model: {kind: block}}, {name: white, model: {kind: noisy, "
        "noise: {diagonal: 12.0, same_class: 6.0, different_class: 1.5}, step: 2.0, paths: 8}}]",
    ),
    "weight_decay": (
        "problem={classes: 3, samples_per_class: 4, features: 8}",
        "kernel={diagonal: 8.0, same_class: 6.4, different_class: 1.6}",
        "loss_scale=32.0",
        "time.points=25",
    ),
    "phase_diagram": (
        "problem={classes: 3, samples_per_class: 4, features: 5}",
        "time.points=12",
        "ensemble.vary[0].values=[0.8, 1.0]",
        "ensemble.vary[1].values=[0.0, 0.01, 0.1]",
    ),
    "kernel_ratio": (
        "problem={classes: 3, samples_per_class: 4, features: 5}",
        "kernel={diagonal: 8.0, same_class: 6.4, different_class: 1.6}",
        "loss_scale=32.0",
        "time={end: 600.0, points: 5, spacing: linear}",
        "ensemble.repeats=3",
        "ensemble.vary[0].values=[0.0, 6.0]",
    ),
    "residual_eigenspaces": (
        "problem={classes: 4, samples_per_class: 5}",
        "steps=60",
    ),
}
