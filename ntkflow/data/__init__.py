"""Real data behind one interface: balanced, sorted by class, on the device."""

from ntkflow.data.archive import load_file, read_archive
from ntkflow.data.dataset import Dataset, balanced_dataset
from ntkflow.data.digits import load_digits
from ntkflow.data.labels import LabelEncoding, class_targets

__all__ = [
    "Dataset",
    "LabelEncoding",
    "balanced_dataset",
    "class_targets",
    "load_digits",
    "load_file",
    "read_archive",
]
