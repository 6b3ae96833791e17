"""Real data behind one interface: balanced, sorted by class, on the device."""

from ntkflow.data.archive import load_file, read_archive, read_own_samples
from ntkflow.data.batches import balanced_epoch
from ntkflow.data.catalogue import Source, SourceName, read_source, sources
from ntkflow.data.catalogue_table import catalogue_table
from ntkflow.data.cifar10 import read_cifar10
from ntkflow.data.dataset import Dataset, balanced_dataset, draw_per_class
from ntkflow.data.digits import load_digits, read_digits
from ntkflow.data.fashion_mnist import read_fashion_mnist
from ntkflow.data.first_samples import first_of_each
from ntkflow.data.label_noise import exchanged_labels
from ntkflow.data.labels import LabelEncoding, class_targets
from ntkflow.data.made_up import made_up_images
from ntkflow.data.mnist import read_mnist
from ntkflow.data.mnist5k import read_mnist5k
from ntkflow.data.normalization import Precision
from ntkflow.data.samples import Samples

__all__ = [
    "Dataset",
    "LabelEncoding",
    "Precision",
    "Samples",
    "Source",
    "SourceName",
    "balanced_dataset",
    "balanced_epoch",
    "catalogue_table",
    "class_targets",
    "draw_per_class",
    "exchanged_labels",
    "first_of_each",
    "load_digits",
    "load_file",
    "made_up_images",
    "read_archive",
    "read_cifar10",
    "read_digits",
    "read_fashion_mnist",
    "read_mnist",
    "read_mnist5k",
    "read_own_samples",
    "read_source",
    "sources",
]
