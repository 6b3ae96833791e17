"""FashionMNIST: 70 000 pictures of clothes, 28×28 pixels, from Debian's package or the published files."""

from __future__ import annotations

from pathlib import Path

from ntkflow.data.mnist_files import COLUMNS, FASHION_SHA256, FILES, ROWS, holds_mnist_files, read_mnist_files
from ntkflow.data.samples import Samples
from ntkflow.errors import DataError

DEBIAN_PACKAGE = "dataset-fashion-mnist"
DEBIAN_FOLDER = Path("/usr/share/datasets/fashion-mnist")
HOW = (
    f"Install Debian's package {DEBIAN_PACKAGE}, or name a folder with the four published files, gzipped or not: "
    f"{', '.join(FILES)}."
)


def read_fashion_mnist(folder: Path | None = None) -> Samples:
    """The 60 000 training and 10 000 test images of FashionMNIST, 6 000 and 1 000 of each of 10 classes.

    Every file is compared with the SHA-256 of the published one.

    Args:
        folder: where the four files are; where Debian's package puts them unless told.

    Raises:
        DataError: a file that is missing, damaged or cut off, of another format or shape, or not the published one.
    """
    if folder is None and not DEBIAN_FOLDER.is_dir():
        raise DataError(
            f"FashionMNIST is not here: Debian's package {DEBIAN_PACKAGE} is not installed",
            place="data.path",
            remedy=HOW,
        )
    files = read_mnist_files(DEBIAN_FOLDER if folder is None else folder, "FashionMNIST", HOW)
    for place, known in enumerate(FASHION_SHA256):
        if (found := files.sha256(place)) != known:
            if files.has_counts_of_mnist():
                what, remedy = "this is MNIST, and not FashionMNIST", "Take source: mnist for it."
            else:
                what = f"not the published file: the SHA-256 of its content is {found[:16]}…, and not {known[:16]}…"
                remedy = "Fetch it again."
            raise DataError(what, place=str(files.paths[place]), remedy=remedy)
    (training, testing), (labels, test_labels) = files.images, files.labels
    return Samples(
        "FashionMNIST",
        training.reshape(len(training), -1),
        labels,
        testing.reshape(len(testing), -1),
        test_labels,
        image_shape=(1, ROWS, COLUMNS),
        unit=255.0,
        scale="pixels divided by 255, to [0, 1]",
        checked="every file has the SHA-256 of the published one",
    )


def debian_has_fashion_mnist() -> bool:
    """Whether Debian's package is installed."""
    return holds_mnist_files(DEBIAN_FOLDER)
