"""Every annotation can be evaluated: one that cannot is silently not checked, neither here nor by a user's checker."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import typing
from collections.abc import Iterator

import pytest


def functions(package: str) -> Iterator[tuple[str, typing.Any]]:
    """All classes, functions and methods that a package's own modules define, by name.

    Without the ``__init__`` that `dataclasses` writes: its annotations are the fields', a base class's too, and those
    have to be read where they were written, which is how a class's own are read.
    """
    root = importlib.import_module(package)
    for found in pkgutil.iter_modules(root.__path__):
        module = importlib.import_module(f"{package}.{found.name}")
        for name, value in vars(module).items():
            if getattr(value, "__module__", None) != module.__name__:
                continue
            if inspect.isclass(value):
                yield f"{found.name}.{name}", value
            members = vars(value).items() if inspect.isclass(value) else [(name, value)]
            for label, member in members:
                member = member.fget if isinstance(member, property) else member
                member = getattr(member, "__func__", member)
                plain = inspect.unwrap(member) if callable(member) else None
                if inspect.isfunction(plain) and plain.__code__.co_filename != "<string>":
                    yield f"{found.name}.{name}.{label}", plain


@pytest.mark.parametrize("package", ["kernels", "flows", "collapse", "networks"])
def test_annotations_can_be_evaluated(package: str) -> None:
    """`Float[Array, 3]` is a mistake for `Float[Array, "3"]`: ruff's UP037 makes it, and jaxtyping cannot read it."""
    wrong = []
    count = 0
    for name, function in functions(f"ntkflow.{package}"):
        count += 1
        try:
            typing.get_type_hints(function)
        except (AttributeError, NameError, ValueError) as error:
            wrong.append(f"{name}: {error}")
    assert not wrong
    assert count > 0
