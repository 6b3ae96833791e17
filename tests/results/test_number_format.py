"""Four significant digits, two of the error, and a dash where there is no value."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ntkflow.results import Cell, Quantity, format_cell, format_number, format_quantity, format_unit, format_with_error


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.12345678, "0.1235"),
        (2.0, "2.000"),
        (-3.2, "−3.200"),
        (9999.4, "9999"),
        (9999.6, "1.000 × 10⁴"),
        (0.99996, "1.000"),
        (0.0001234, "0.0001234"),
        (0.00001234, "1.234 × 10⁻⁵"),
        (1.7976931348623157e308, "1.798 × 10³⁰⁸"),
        (5e-324, "4.941 × 10⁻³²⁴"),
        (0.0, "0"),
        (-0.0, "0"),
        (math.inf, "∞"),
        (-math.inf, "−∞"),
        (math.nan, "NaN"),
        (None, "–"),
        (123456789, "123456789"),
        (-7, "−7"),
        (True, "yes"),
        (False, "no"),
        ("class means", "class means"),
    ],
)
def test_cells(value: Cell, text: str) -> None:
    assert format_cell(value) == text


@pytest.mark.parametrize(
    ("value", "error", "text"),
    [
        (0.12345, 0.0021, "0.1235 ± 0.0021"),
        (0.99876, 0.00012, "0.9988 ± 0.00012"),
        (0.5123, 0.13, "0.51 ± 0.13"),
        (0.5123, 0.0996, "0.51 ± 0.10"),
        (1234.0, 250.0, "1230 ± 250"),
        (1.234567e-5, 2.1e-7, "(1.235 ± 0.021) × 10⁻⁵"),
        (5e7, 3.2e5, "(5.000 ± 0.032) × 10⁷"),
        (-0.001, 0.5, "0.00 ± 0.50"),
        (1e-9, 2.0, "0.0 ± 2.0"),
        (0.0, 0.001, "0.0000 ± 0.0010"),
        (1.0, 1.3e-12, "1.000 ± 1.3 × 10⁻¹²"),
        (0.25, None, "0.2500"),
        (0.25, 0.0, "0.2500 ± 0"),
        (0.25, math.nan, "0.2500 ± NaN"),
        (math.nan, 0.1, "NaN ± 0.10"),
        (None, 0.1, "–"),
        (3, 1, "3.0 ± 1.0"),
    ],
)
def test_with_error(value: float | None, error: float | None, text: str) -> None:
    assert format_with_error(value, error) == text
    if value is not None:
        assert format_quantity(Quantity("name", value, "", "definition", error)) == text


@given(st.floats(min_value=-1e308, max_value=1e308, allow_subnormal=False))
def test_the_text_says_the_number(value: float) -> None:
    plain = format_number(value).replace("−", "-").replace(" × 10", "e")
    plain = plain.translate(str.maketrans("⁻⁰¹²³⁴⁵⁶⁷⁸⁹", "-0123456789"))
    assert float(plain) == pytest.approx(value, rel=5.01e-4)


@given(st.floats(), st.none() | st.floats(min_value=0))
def test_any_pair_has_a_text(value: float, error: float | None) -> None:
    assert format_with_error(value, error)


@pytest.mark.parametrize(("unit", "text"), [("", ""), ("1", ""), (" ", ""), ("1/t", "1/t")])
def test_units(unit: str, text: str) -> None:
    assert format_unit(unit) == text
