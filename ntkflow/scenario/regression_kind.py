"""The `regression` kind: kernel regression on real data, training and test outputs in closed form."""

from __future__ import annotations

from itertools import pairwise
from typing import Annotated, Literal

from pydantic import Field, model_validator

from ntkflow.scenario.common import MAX_COUNT, LossScale, Model, PositiveFloat, PositiveInt, Seed, TimeGrid
from ntkflow.scenario.data_sources import Data
from ntkflow.scenario.networks import MLP


class EmpiricalKernel(Model):
    """The tangent kernel of a network at its initial parameters, measured on the samples."""

    kind: Literal["empirical"] = Field(description="The kind of kernel.")
    network: MLP = Field(description="Which network.")
    outputs: Literal["coupled", "shared"] = Field(
        default="coupled",
        description="coupled: Θ_ks of every pair of outputs, exact for the linearised network. shared: the mean over "
        "outputs of Θ_kk for each output and 0 between two, the form it takes at infinite width.",
    )


class RBFKernel(Model):
    """The Gaussian kernel exp(−‖x − x'‖²/(2ℓ²)) of every output."""

    kind: Literal["rbf"] = Field(description="The kind of kernel.")
    length_scale: PositiveFloat = Field(description="ℓ, in the units of the inputs.")


class LinearKernel(Model):
    """The kernel ⟨x, x'⟩ + bias² of every output: linear regression."""

    kind: Literal["linear"] = Field(description="The kind of kernel.")
    bias: Annotated[float, Field(ge=0)] = Field(default=1.0, description="Weight of the offset; 0 for none.")


class InfiniteNetwork(Model):
    """What an infinitely wide network of any kind needs to be told, in the NTK parametrisation."""

    hidden_layers: PositiveInt = Field(description="Layers with φ behind them; one dense layer follows the last.")
    sigma_w: PositiveFloat = Field(default=2**0.5, description="σ_w: weights are N(0, σ_w²/fan-in) at the start.")
    sigma_b: Annotated[float, Field(ge=0)] = Field(default=0.0, description="σ_b: biases are N(0, σ_b²) at the start.")
    trained: Literal["all_layers", "last_layer"] = Field(
        default="all_layers",
        description="all_layers: by the NTK. last_layer: by the NNGP, Gaussian-process regression.",
    )
    depths: Annotated[tuple[PositiveInt, ...], Field(strict=False)] = Field(
        default=(),
        description="Hidden layers of further networks for a table by depth, rising, none above hidden_layers: their "
        "kernels come with the deepest.",
    )

    @model_validator(mode="after")
    def _rising_depths(self) -> InfiniteNetwork:
        if any(later <= earlier for earlier, later in pairwise(self.depths)):
            raise ValueError(f"depths must increase, but are {', '.join(map(str, self.depths))}")
        if self.depths and self.depths[-1] > self.hidden_layers:
            raise ValueError(f"depths must not exceed hidden_layers, {self.hidden_layers}, but go to {self.depths[-1]}")
        return self


class InfiniteMLP(InfiniteNetwork):
    """A fully connected network of infinite width."""

    kind: Literal["infinite_mlp"] = Field(description="The kind of kernel.")
    activation: Literal["relu", "erf", "gelu", "tanh", "linear"] = Field(description="φ after every hidden layer.")


class InfiniteCNN(InfiniteNetwork):
    """A convolutional network of infinitely many channels (CNTK); data must be images."""

    kind: Literal["infinite_cnn"] = Field(description="The kind of kernel.")
    # Those with moments in closed form: an expansion at every pair of positions would take days.
    activation: Literal["relu", "erf", "gelu", "linear"] = Field(description="φ after every convolution.")
    filter_size: Annotated[int, Field(ge=1, le=MAX_COUNT)] = Field(
        default=3, description="q of filters q×q, odd; zero padding, stride 1."
    )
    head: Literal["flatten", "global_average_pooling"] = Field(
        default="flatten",
        description="What is before the dense layer. Pooling looks at all pairs of positions, and costs their number.",
    )

    @model_validator(mode="after")
    def _odd(self) -> InfiniteCNN:
        if self.filter_size % 2 == 0:
            raise ValueError(f"filter_size must be odd, not {self.filter_size}")
        return self


RegressionKernel = Annotated[
    EmpiricalKernel | RBFKernel | LinearKernel | InfiniteMLP | InfiniteCNN, Field(discriminator="kind")
]


class RegressionDescent(Model):
    """Gradient descent on the model linear in its parameters, beside the flow."""

    step_size: PositiveFloat = Field(description="η, of the loss.")
    steps: PositiveInt = Field(description="Steps to take.")
    momentum: Annotated[float, Field(ge=0, lt=1)] = Field(
        default=0.0, description="β of the heavy ball v ← βv − η∇L, θ ← θ + v; its time is about ηk/(1 − β)."
    )


class DenseSolver(Model):
    """The whole kernel matrix and one eigendecomposition: everything in closed form."""

    kind: Literal["dense"] = Field(description="How the regression is solved.")


class ConjugateGradientSolver(Model):
    """The kernel applied tile by tile and never stored: the limit by conjugate gradients, times by Lanczos' method."""

    kind: Literal["conjugate_gradients"] = Field(description="How the regression is solved.")
    rank: Annotated[int, Field(ge=0, le=MAX_COUNT)] | None = Field(
        default=None,
        description="Samples that the preconditioner is made of (Nyström), at most N; 0 for none; 200, or N if that is "
        "less, unless told.",
    )
    tolerance: Annotated[float, Field(gt=0, lt=1)] = Field(
        default=1e-8,
        description="Of the residual's norm over that of Y − f₀(X), for each output; of the outputs' error at times "
        "likewise.",
    )
    max_steps: PositiveInt = Field(default=1000, description="The largest number of iterations for the limit.")
    time_steps: PositiveInt = Field(
        default=256,
        description="The largest number of Lanczos steps for the times; as many arrays of outputs × samples are kept.",
    )


class NystromSolver(Model):
    """A kernel of low rank in the place of the whole one, made of some of its columns; its closed forms."""

    kind: Literal["nystrom"] = Field(description="How the regression is solved.")
    rank: PositiveInt = Field(description="Samples that the kernel of low rank is made of, at most N.")


RegressionSolver = Annotated[DenseSolver | ConjugateGradientSolver | NystromSolver, Field(discriminator="kind")]


class RegressionScenario(Model):
    """Kernel regression on real data: training and test outputs at every time from one eigendecomposition."""

    kind: Literal["regression"] = Field(description="Which kind of scenario it is.")
    name: str = Field(description="Title of the result.")
    description: str = Field(default="", description="What the scenario shows, for the report.")
    seed: Seed = Field(default=0, description="Seed of everything random: which samples, which initial weights.")
    loss_scale: LossScale = Field(
        description="Z in the loss ‖R‖²/(2Z): one, samples (N), samples_times_outputs (NC), or a number."
    )
    data: Data = Field(description="Which samples.")
    test_samples_per_class: int = Field(
        ge=1, le=MAX_COUNT, description="Test samples of each class, drawn from those that are not trained on."
    )
    kernel: RegressionKernel = Field(description="Which kernel.")
    initial: Literal["zero", "network"] = Field(
        default="zero", description="f₀, where the outputs start: 0, or the empirical kernel's own network."
    )
    ridge: Annotated[float, Field(ge=0)] = Field(
        default=0.0, description="ρ of the penalty ρ‖f − f₀‖²/(2Z) in the kernel's norm."
    )
    time: TimeGrid = Field(description="When outputs are evaluated.")
    descent: RegressionDescent | None = Field(default=None, description="Gradient descent beside the flow, if wanted.")
    solver: RegressionSolver = Field(
        default=DenseSolver(kind="dense"),
        description="dense, or for kernels infinite_mlp and rbf of many samples conjugate_gradients or nystrom.",
    )

    @model_validator(mode="after")
    def _initial_of_a_network(self) -> RegressionScenario:
        if self.initial == "network" and not isinstance(self.kernel, EmpiricalKernel):
            raise ValueError(f"initial: network needs the empirical kernel, but the {self.kernel.kind} kernel has none")
        return self

    @model_validator(mode="after")
    def _solver_that_fits(self) -> RegressionScenario:
        if isinstance(self.solver, DenseSolver):
            return self
        if not isinstance(self.kernel, InfiniteMLP | RBFKernel):
            raise ValueError(
                f"solver: {self.solver.kind} makes the kernel tile by tile, which kernels infinite_mlp and rbf can, "
                f"but not the {self.kernel.kind} kernel; take solver: {{kind: dense}}"
            )
        if isinstance(self.kernel, InfiniteMLP) and self.kernel.depths:
            raise ValueError(
                f"solver: {self.solver.kind} makes one kernel, not those of all depths; leave out depths, or take "
                "solver: {kind: dense}"
            )
        if isinstance(self.solver, ConjugateGradientSolver) and self.descent is not None:
            raise ValueError(
                "solver: conjugate_gradients gives the flow and its limit, not gradient descent; leave out descent, or "
                "take solver nystrom or dense"
            )
        return self
