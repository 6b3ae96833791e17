"""The checkpoints of one run: the last few, and the newest that is whole."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Generic, TypeVar

from ntkflow.errors import CheckpointError
from ntkflow.networks import CheckpointHeader, load_checkpoint, save_checkpoint

Tree = TypeVar("Tree")

_NAME = re.compile(r"(epoch|snapshot)-(\d{6,})\.ckpt")
# What an interrupted ntkflow.results.atomic.write_bytes leaves of such a file.
_STRAY = re.compile(r"\.(epoch|snapshot)-\d{6,}\.ckpt\.[0-9a-f]+\.partial")


@dataclasses.dataclass(frozen=True)
class Found(Generic[Tree]):
    """What a series has to go on from.

    Attributes:
        epoch: of the newest checkpoint that is whole and of the right kind; None if there is none.
        tree: what it holds.
        header: what it says of itself.
        refused: a message for each newer file that was not taken, newest first: its name and what is wrong with it.
    """

    epoch: int | None
    tree: Tree | None
    header: CheckpointHeader | None
    refused: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class CheckpointSeries:
    """Checkpoints of a run in one folder, as ``epoch-000120.ckpt``, each by
    :func:`ntkflow.networks.save_checkpoint`: whole or not there, every byte under a SHA-256.

    One process at a time writes a series.

    Attributes:
        folder: made where it is missing.
        keep: how many checkpoints stay, 1 or more; 2 or more leave one to fall back to when a disk damages the newest.
    """

    folder: Path
    keep: int = 2

    def __post_init__(self) -> None:
        if self.keep < 1:
            raise ValueError(f"CheckpointSeries: keep must be 1 or more, not {self.keep}")

    def save(self, tree: Any, *, epoch: int, step: int, seed: int, details: Mapping[str, Any] | None = None) -> Path:
        """Write the checkpoint of an epoch; then, when it is on the disk for good, delete all but the last ``keep``.

        Only earlier epochs are deleted. Files of later ones are of a run that got further and were refused when this
        one resumed; they stay until it gets there.

        Args:
            tree: the training state.
            epoch: finished epochs.
            step: finished steps.
            seed: of the run.
            details: anything that JSON can hold.

        Raises:
            CheckpointError: the file cannot be written.
        """
        path = self._write("epoch", tree, epoch, step, seed, details)
        earlier = [other for other in self.epochs() if other < epoch]
        for other in earlier[: max(len(earlier) - (self.keep - 1), 0)]:
            self.path(other).unlink(missing_ok=True)
        for stray in self.folder.iterdir():
            if _STRAY.fullmatch(stray.name):
                stray.unlink(missing_ok=True)
        return path

    def save_lasting(
        self, tree: Any, *, epoch: int, step: int, seed: int, details: Mapping[str, Any] | None = None
    ) -> Path:
        """Write ``snapshot-000120.ckpt``, which is never deleted: a network to measure or forecast from later.

        Raises:
            CheckpointError: the file cannot be written.
        """
        return self._write("snapshot", tree, epoch, step, seed, details)

    def latest(self, like: Tree) -> Found[Tree]:
        """The newest checkpoint that is whole, named right and of the same structure; snapshots are not looked at.

        A file that is cut off, changed in any byte, of another network or under another epoch's name is refused by
        name, and the one before is tried. Whoever resumes shows the messages, and decides what to do when there are
        some and no checkpoint is left.

        Args:
            like: a tree of the same structure, whose arrays may be shapes only.
        """
        refused: list[str] = []
        for epoch in reversed(self.epochs()):
            path = self.path(epoch)
            try:
                tree, header = load_checkpoint(path, like)
                if header.details.get("epoch") != epoch:
                    raise CheckpointError(
                        f"is the checkpoint of epoch {header.details.get('epoch')} under another epoch's name",
                        place=str(path),
                        remedy="Give it back the name it was written under.",
                    )
            except CheckpointError as error:
                refused.append(str(error))
                continue
            return Found(epoch, tree, header, tuple(refused))
        return Found(None, None, None, tuple(refused))

    def epochs(self) -> list[int]:
        """Epochs that there is a file of, rising; whether it is whole only :meth:`latest` knows."""
        return self._of("epoch")

    def snapshots(self) -> list[int]:
        """Epochs of the lasting snapshots, rising."""
        return self._of("snapshot")

    def path(self, epoch: int) -> Path:
        """Where the checkpoint of an epoch is, or would be."""
        return self.folder / f"epoch-{epoch:06d}.ckpt"

    def snapshot_path(self, epoch: int) -> Path:
        """Where the lasting snapshot of an epoch is, or would be."""
        return self.folder / f"snapshot-{epoch:06d}.ckpt"

    def _write(self, kind: str, tree: Any, epoch: int, step: int, seed: int, details: Mapping[str, Any] | None) -> Path:
        path = self.path(epoch) if kind == "epoch" else self.snapshot_path(epoch)
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise CheckpointError(
                f"the folder of checkpoints cannot be made ({error.strerror or error})",
                place=str(self.folder),
                remedy="Choose a folder in which you may write.",
            ) from error
        save_checkpoint(path, tree, step=step, seed=seed, details={**(details or {}), "epoch": epoch})
        return path

    def _of(self, kind: str) -> list[int]:
        if not self.folder.is_dir():
            return []
        names = (_NAME.fullmatch(path.name) for path in self.folder.iterdir())
        return sorted(int(name[2]) for name in names if name is not None and name[1] == kind)
