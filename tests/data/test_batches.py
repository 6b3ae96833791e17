"""Every batch has exactly m of each class, over an epoch of every data set that is here."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from data.official import cifar_arrays, cifar_binary, write_mnist
from jax import export

from ntkflow.data import Samples, balanced_dataset, balanced_epoch, read_source, sources
from ntkflow.errors import DataError


def there(key: str, folder: Path) -> Samples:
    """All of a source; those that no package brings, from files that the tests write."""
    if key == "mnist":
        return read_source(key, write_mnist(folder))
    if key == "cifar10":
        for name, batch in cifar_arrays(200).items():
            (folder / f"{name}.bin").write_bytes(cifar_binary(*batch))
        return read_source(key, folder)
    if key == "file":
        inputs = np.random.default_rng(0).integers(0, 2**20, (50, 4)) / 2**20
        np.savez(folder / "own.npz", inputs=inputs, labels=np.arange(50) % 3)
        return read_source(key, folder / "own.npz")
    return read_source(key)


@pytest.mark.parametrize("key", [source.key for source in sources()])
def test_an_epoch_of_every_data_set(key: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ntkflow.data.cifar10.IMAGES", 200)
    try:
        samples = there(key, tmp_path)
    except DataError as error:
        pytest.skip(str(error))
    # By what is in them, which is known of each sample from the source; no other index is used.
    count = min(100, int(np.bincount(samples.labels).min()))  # The same for most: one program is compiled for all.
    made = balanced_dataset(samples, samples_per_class=count, seed=0, dtype="float32")
    labels = np.asarray(made.labels)
    classes = {}
    for row, label in zip(samples.inputs, samples.labels, strict=True):
        classes.setdefault(row.tobytes(), set()).add(int(label))
    m = 12 if count >= 24 else 3
    batches = np.asarray(balanced_epoch(jax.random.key(0), made.classes, count, m))
    assert batches.shape == (count // m, m * made.classes)
    raw = np.rint(np.asarray(made.inputs) * samples.unit) if samples.unit != 1 else np.asarray(made.inputs)
    raw = raw.astype(samples.inputs.dtype)
    for batch in batches:
        for place, index in enumerate(batch):
            assert place // m in classes[raw[index].tobytes()]
        assert np.bincount(labels[batch]).tolist() == [m] * made.classes
    assert len(set(batches.ravel().tolist())) == batches.size


@pytest.mark.parametrize(("classes", "per_class", "m"), [(10, 12, 12), (3, 7, 2), (2, 5, 1), (10, 5421, 12)])
def test_no_sample_twice_and_classes_in_order(classes: int, per_class: int, m: int) -> None:
    batches = np.asarray(balanced_epoch(jax.random.key(1), classes, per_class, m))
    assert batches.shape == (per_class // m, classes * m)
    assert (batches // per_class == np.repeat(np.arange(classes), m)).all()
    assert max(Counter(batches.ravel().tolist()).values()) == 1


def test_epochs_differ_and_keys_repeat() -> None:
    first, again, other = (np.asarray(balanced_epoch(jax.random.key(k), 3, 40, 4)) for k in (1, 1, 2))
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
