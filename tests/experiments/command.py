"""The command line called in this process: as a user calls it, with its exit code and what it printed."""

from __future__ import annotations

import contextlib
import dataclasses
import signal
import sys
import tempfile
from pathlib import Path
from typing import IO
from unittest.mock import patch

from ntkflow.cli import main

SCENARIOS = Path(__file__).parents[2] / "scenarios"


@dataclasses.dataclass(frozen=True)
class Said:
    """How a command ended, and its two streams."""

    code: int
    out: str
    err: str

    def refused(self) -> str:
        """The message of a command that refused its input: one ``error: …`` after the progress, and exit code 2."""
        assert self.code == 2, self
        assert "Report:" not in self.out
        return self._message()

    def interrupted(self) -> str:
        """The message of a command that was stopped."""
        assert self.code == 130, self
        assert "Report:" not in self.out
        return self._message()

    def _message(self) -> str:
        text = self.out + self.err
        assert "Traceback" not in text, text
        assert "mistake in ntkflow" not in text, text
        assert self.err.count("error: ") == 1, self.err
        return self.err.split("error: ")[1].rstrip("\n")


def ntkflow(*arguments: object) -> Said:
    """Runs ``ntkflow ARGUMENTS`` here. Whatever it does to the process's signals is undone."""
    handler = signal.getsignal(signal.SIGTERM)
    with _file() as out, _file() as err:
        try:
            with (
                patch.object(sys, "argv", ["ntkflow", *map(str, arguments)]),
                contextlib.redirect_stdout(out),
                contextlib.redirect_stderr(err),
            ):
                main()
        except SystemExit as left:
            return Said(int(str(left.code)), _content(out), _content(err))
        finally:
            signal.signal(signal.SIGTERM, handler)
    raise AssertionError("main() returned")


def _file() -> IO[str]:
    # A file and no io.StringIO, which is no TextIO to the type checker that watches the tests.
    return tempfile.TemporaryFile("w+", encoding="utf-8")


def _content(stream: IO[str]) -> str:
    stream.seek(0)
    return stream.read()


def settings(*overrides: str) -> list[str]:
    """Overrides as arguments."""
    return [argument for override in overrides for argument in ("--set", override)]
