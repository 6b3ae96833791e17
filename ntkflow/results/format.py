"""Numbers as people read them, the same on the terminal and in the report."""

from __future__ import annotations

import math
import numbers

from ntkflow.results.summary import Cell, Quantity

NO_VALUE = "\N{EN DASH}"
_MINUS = "\N{MINUS SIGN}"
_TIMES_TEN = " \N{MULTIPLICATION SIGN} 10"
_SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
_PLAIN = range(-4, 4)  # Powers of ten of the leading digit that are written out: 0.0001234 to 9999.
_LONGEST_ERROR = 6  # Decimals of an error beyond which it gets a power of ten of its own.


def format_number(value: float | None, digits: int = 4) -> str:
    """``value`` with so many significant digits: ``0.1234``, ``1.234 x 10⁻⁵``; an int in full; ``None`` as a dash."""
    if value is None:
        return NO_VALUE
    if isinstance(value, numbers.Integral):
        return str(int(value)).replace("-", _MINUS)
    value = float(value)
    if value == 0 or not math.isfinite(value):
        return _special(value)
    power = _power(value, digits)
    if power in _PLAIN:
        return _fixed(value, digits - 1 - power)
    return _fixed(_scaled(value, power), digits - 1) + _ten_to(power)


def format_with_error(value: float | None, standard_error: float | None) -> str:
    """``value ± standard error``: two significant digits of the error, four of the value if the error allows them."""
    if value is None or standard_error is None:
        return format_number(value)
    if not (math.isfinite(value) and math.isfinite(standard_error)) or standard_error <= 0:
        return f"{format_number(value)} ± {format_number(standard_error, 2)}"
    power = _power(max(abs(value), standard_error), 4)
    shift = 0 if power in _PLAIN else power
    value, standard_error = _scaled(float(value), shift), _scaled(float(standard_error), shift)
    error_decimals = 1 - _power(standard_error, 2)
    value_decimals = error_decimals if value == 0 else min(error_decimals, 3 - _power(value, 4))
    if error_decimals > _LONGEST_ERROR:
        error = format_number(standard_error, 2)
    else:
        error = _fixed(standard_error, error_decimals)
    text = f"{_fixed(value, value_decimals)} ± {error}"
    return f"({text}){_ten_to(shift)}" if shift else text


def format_quantity(quantity: Quantity) -> str:
    """The number of a quantity with its standard error, without its unit."""
    return format_with_error(quantity.value, quantity.standard_error)


def format_cell(cell: Cell) -> str:
    """A cell of a table: text as it is, a truth as yes or no, numbers by :func:`format_number`."""
    if isinstance(cell, str):
        return cell
    if isinstance(cell, bool):
        return "yes" if cell else "no"
    return format_number(cell)


def format_unit(unit: str) -> str:
    """The unit to write behind a number: nothing for a pure number, whose unit is ``""`` or ``"1"``."""
    return "" if unit.strip() in ("", "1") else unit.strip()


def is_number(cell: Cell) -> bool:
    """Whether a cell is written as a number, and so belongs on the right of its column."""
    return isinstance(cell, numbers.Real) and not isinstance(cell, bool)


def _special(value: float) -> str:
    if math.isnan(value):
        return "NaN"
    return "0" if value == 0 else ("∞" if value > 0 else f"{_MINUS}∞")


def _power(value: float, digits: int) -> int:
    """The power of ten of the leading digit once ``value`` is rounded: 0.99996 with four digits is 1.000."""
    return int(f"{value:.{digits - 1}e}".partition("e")[2])


def _scaled(value: float, power: int) -> float:
    """``value`` over ten to the ``power``, through text, so that neither end of the range overflows."""
    mantissa, _, exponent = f"{value:.17e}".partition("e")
    return float(f"{mantissa}e{int(exponent) - power}")


def _fixed(value: float, decimals: int) -> str:
    text = f"{round(value, decimals):.{max(decimals, 0)}f}"
    if text.startswith("-"):
        return _MINUS + text[1:] if text.strip("-0.") else text[1:]
    return text


def _ten_to(power: int) -> str:
    return _TIMES_TEN + str(power).translate(_SUPERSCRIPTS)
