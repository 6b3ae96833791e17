"""From the numbers of a state to a verdict on each statement; derivations in docs/theory.md, "Predicted limits"."""

from __future__ import annotations

from ntkflow.collapse.conditions import StateConditions
from ntkflow.collapse.mean_mode import MeanMode
from ntkflow.collapse.verdicts import Answer, Verdict

FITTED = "R₁ → 0"


def class_residual(found: StateConditions) -> Verdict:
    """Whether the class means of the residual vanish."""

    def verdict(answer: Answer, reason: str) -> Verdict:
        return Verdict("residual", answer, reason)

    needed = found.classes - 1
    if found.coupled_dimension < needed:
        return verdict("fails", f"W and H₁ stay in {found.coupled_dimension} dimensions, the targets need {needed}")
    if found.symmetric and found.no_scatter.met:
        if found.class_part.growing_rank > found.tolerance:
            least = f"{found.class_part.growing_rank:.1e}"
            return verdict("holds", f"every direction grows from W = H = 0 (least singular value {least}, relative)")
        return verdict("fails", "on the stable manifold of a saddle, which any rounding leaves")
    return verdict("undetermined", "true for almost every state; the rest ends at strict saddles")


def variability_collapse(found: StateConditions) -> Verdict:
    """NC1."""

    def verdict(answer: Answer, reason: str, assuming: str = "") -> Verdict:
        return Verdict("NC1", answer, reason, assuming)

    if not found.no_spectators.met:
        return verdict("fails", f"scatter that W never sees is conserved: Tr S ≥ {found.spectator_trace:.3g}")
    if found.no_scatter.met:
        return verdict("holds", "there is no scatter, and none arises")
    if found.semi_definite.met:
        algebraic = found.balanced_without_mean and found.scatter_on_weight_mean > found.tolerance
        return verdict("holds", "E ⪰ 0" + (", but only as 1/t along Wᵀ1" if algebraic else ""))
    if not found.floor_is_zero.met:
        return verdict("fails", f"E has more negative eigenvalues than H₁ has columns: Tr S ≥ {found.floor.sum():.3g}")
    if found.symmetric:
        return verdict("holds", "all scatter is in the C − 1 dimensions in which W ends with rank C − 1", FITTED)
    if found.coupled_dimension <= found.classes - 1:
        return verdict("holds", "W of rank C − 1 leaves no direction for S in C − 1 dimensions", FITTED)
    return verdict("undetermined", f"E is indefinite; Tr S ends at most at {found.ceiling.sum():.3g}")


def simplex_means(found: StateConditions, residual: Verdict) -> Verdict:
    """NC2."""

    def verdict(answer: Answer, reason: str, assuming: str = "") -> Verdict:
        return Verdict("NC2", answer, reason, assuming)

    if residual.answer == "fails":
        return verdict("fails", "R₁ ↛ 0 leaves less than C − 1 dimensions of class means")
    assuming = "" if residual.answer == "holds" else FITTED
    if found.classes == 2:
        return verdict("holds", "two centred means are opposite, and not 0", assuming)
    if found.balanced_without_mean:
        return verdict("holds", "E = 0, ⟨h⟩ = 0 and b = 1/C (Theorem 5.2)", assuming)
    if found.symmetric:
        return verdict("holds", "the mean mode decouples and E is a multiple of I beside it: M̄ᵀM̄ → xP", assuming)
    if found.no_invariant.met:
        return verdict("undetermined", "E = 0: exactly if all entries of b∞ are equal", assuming)
    return verdict("undetermined", "E ≠ 0 does not determine the class means; false for almost every state")


def self_duality(found: StateConditions, residual: Verdict, mean_mode: MeanMode | None) -> Verdict:
    """NC3."""

    def verdict(answer: Answer, reason: str, assuming: str = "") -> Verdict:
        return Verdict("NC3", answer, reason, assuming)

    classes, eigenvalues, tolerance = found.classes, found.invariant_eigenvalues, found.tolerance
    if len(eigenvalues) >= classes and eigenvalues[classes - 1] > tolerance:
        return verdict("fails", "E has C positive eigenvalues, so W keeps rank C; M̄ has C − 1")
    if residual.answer == "fails":
        return verdict("undetermined", "R₁ ↛ 0: which saddle decides")
    assuming = "" if residual.answer == "holds" else FITTED
    if classes >= 4 and eigenvalues[0] > tolerance and eigenvalues[0] - eigenvalues[classes - 3] > tolerance:
        return verdict("fails", "the C − 2 largest eigenvalues of E would have to be equal", assuming)
    if found.balanced_without_mean:
        return verdict("holds", "E = 0, ⟨h⟩ = 0 and b = 1/C (Theorem 5.2)", assuming)
    if mean_mode is not None:
        # 1ᵀW beside the rest of W, whose rows have the length 1/√x.
        size = mean_mode.weight * found.class_part.means_scale**0.5
        if size <= tolerance:
            return verdict("holds", "the mean mode decouples, and 1ᵀW → 0", assuming)
        reason = f"1ᵀW stays: ‖Wᵀ1‖/√C is {size:.3g} times W's other singular values"
        return verdict("fails", reason, assuming)
    if found.no_invariant.met:
        return verdict("undetermined", "E = 0: exactly if b∞ = 1/C (one-hot)", assuming)
    return verdict("undetermined", "E ≠ 0 does not determine W; false for almost every state")


def nearest_mean_rule(found: StateConditions, residual: Verdict) -> Verdict:
    """NC4."""

    def verdict(answer: Answer, reason: str, assuming: str = "") -> Verdict:
        return Verdict("NC4", answer, reason, assuming)

    if residual.answer == "fails":
        return verdict("undetermined", "R₁ ↛ 0: which saddle decides")
    assuming = "" if residual.answer == "holds" else FITTED
    classes, eigenvalues, tolerance = found.classes, found.invariant_eigenvalues, found.tolerance
    if classes >= 5 and eigenvalues[1] > tolerance and eigenvalues[1] - eigenvalues[classes - 3] > tolerance:
        return verdict("fails", "the second to (C − 2)-th eigenvalues of E would have to be equal", assuming)
    if classes == 2 and found.coupled_dimension == 1:
        return verdict("holds", "two classes in one dimension", assuming)
    if found.balanced_without_mean or found.symmetric:
        return verdict("holds", "with R₁ = 0 from NC2 and (I − 11ᵀ/C)W ∝ M̄ᵀ", assuming)
    if found.no_invariant.met and classes > 2:
        return verdict("undetermined", "E = 0: exactly if all entries of b∞ are equal", assuming)
    return verdict("undetermined", "E ≠ 0 does not determine W; false for almost every state")
