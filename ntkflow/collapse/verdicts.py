"""What is said about NC1–NC4, and from which numbers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Answer = Literal["holds", "fails", "undetermined"]

STATEMENTS: dict[str, str] = {
    "residual": "R₁ → 0: the class means of the outputs reach the targets",
    "NC1": "S → 0: no scatter is left within classes",
    "NC2": "M̄ᵀM̄ ∝ I − 11ᵀ/C, not 0: the centred class means have equal lengths and equal angles",
    "NC3": "Wᵀ = aM̄, a > 0: the readout is a multiple of the centred class means",
    "NC4": "largest logit and nearest class mean agree for every h in ℝⁿ: (I − 11ᵀ/C)W = aM̄ᵀ, a > 0, with the bias "
    "that R₁ = 0 then gives",
}
"""Name of each statement and its definition, all in terms of the limit t → ∞; M̄ has the columns ⟨h⟩_c − ⟨h⟩."""


@dataclass(frozen=True)
class Condition:
    """A number that a verdict rests on, beside its threshold.

    Args:
        name: what was asked, in a few words.
        value: the number, 0 where the condition holds exactly.
        limit: the condition counts as met up to this.
    """

    name: str
    value: float
    limit: float

    @property
    def met(self) -> bool:
        """Whether the number is at most its threshold."""
        return self.value <= self.limit

    @property
    def borderline(self) -> bool:
        """Whether the number is within a factor 100 of its threshold, on either side."""
        return self.limit / 100 < self.value < self.limit * 100

    def __str__(self) -> str:
        mark = "yes" if self.met else "no"
        return f"{self.name}: {mark} ({self.value:.2e}, counts as 0 up to {self.limit:.0e})"


@dataclass(frozen=True)
class Verdict:
    """Whether one statement of :data:`STATEMENTS` holds in the limit, and why.

    Args:
        statement: its name.
        answer: holds, fails, or undetermined by what was looked at.
        reason: the condition that decides, with its number.
        assuming: what is assumed besides; empty where the answer is proved.
    """

    statement: str
    answer: Answer
    reason: str
    assuming: str = ""

    def __str__(self) -> str:
        given = f" (if {self.assuming})" if self.assuming else ""
        return f"{self.statement} {self.answer}{given}: {self.reason}"
