"""Wrong labels of a stated share: classes keep their sizes, because labels are only exchanged."""

from __future__ import annotations

import numpy as np
from jaxtyping import Int

from ntkflow.errors import DataError

_SWEEPS = 64  # Each exchanges a good part of all labels; what they settle to does not depend on the start.


def exchanged_labels(
    labels: Int[np.ndarray, " samples"], classes: int, share: float, generator: np.random.Generator, name: str
) -> Int[np.ndarray, " samples"]:
    """The labels after those of a random ``share`` of the samples were permuted so that none keeps its class.

    The share is taken of every class alike, up to one sample; which samples, and which of the permutations without a
    fixed class, is random. With two classes the number of samples has to be even, and is rounded down to it.

    Args:
        labels: the same number of each class.
        classes: C, at least 2.
        share: of all samples that get another class's label; 0 for none.
        generator: of the random choices.
        name: of the data, for the message.

    Raises:
        DataError: a share above 0 that is less than the two samples an exchange needs.
    """
    if share == 0:
        return labels
    wrong = round(share * len(labels))
    wrong -= wrong % 2 if classes == 2 else 0
    if wrong < 2:
        raise DataError(
            f"{share:g} of {len(labels)} samples are fewer than the two that can exchange their labels",
            place=f"{name}, data.label_noise",
            remedy=f"Ask for at least {2 / len(labels):.2g}, or for more samples.",
        )
    numbers = np.full(classes, wrong // classes)
    numbers[generator.permutation(classes)[: wrong % classes]] += 1
    # Blocks of one class each, in random order, moved on by the longest: nobody then has a label of his own class.
    order = generator.permutation(classes)
    chosen = np.concatenate([generator.choice(np.flatnonzero(labels == c), numbers[c], replace=False) for c in order])
    own = labels[chosen]
    given = np.roll(own, numbers.max())
    # From there to a random one of all such permutations: in each sweep, pairs or triples drawn anew pass their labels
    # round, half of those where nobody gets his own class. A step and its reverse are as likely, so that in the end all
    # are; with pairs alone, or with every pair at once, some would not be reached.
    for sweep in range(_SWEEPS):
        size = 2 + sweep % 2
        groups = generator.permutation(wrong)[: wrong // size * size].reshape(-1, size)
        passed = np.roll(given[groups], 1, axis=1)
        taken = (passed != own[groups]).all(axis=1) & (generator.random(len(groups)) < 0.5)
        given[groups[taken]] = passed[taken]
    exchanged = labels.copy()
    exchanged[chosen] = given
    return exchanged
