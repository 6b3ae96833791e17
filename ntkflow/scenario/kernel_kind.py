"""The `kernel` kind: kernels of one real network, measured at moments of its training."""

from __future__ import annotations

import re
from itertools import pairwise
from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from ntkflow.scenario.common import MAX_COUNT, LossScale, Model, PositiveFloat, Seed
from ntkflow.scenario.data_sources import Data
from ntkflow.scenario.networks import Network

_UNITS = {"kB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}
_UNITS |= {"KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "TiB": 2**40}
_MEMORY = re.compile(rf"(\d{{1,9}}(?:\.\d{{1,9}})?) ?({'|'.join(_UNITS)})")

Memory = (
    Annotated[
        str,
        Field(
            pattern=f"^{_MEMORY.pattern}$",
            json_schema_extra={"patternErrorMessage": "a number with kB, MB, GB, TB, KiB, MiB, GiB or TiB: 2 GiB"},
        ),
    ]
    | PositiveFloat
)


class KernelTraining(Model):
    """Full-batch gradient descent on the measured samples; gradient-flow time is step_size times the step."""

    step_size: PositiveFloat = Field(description="η, of the loss ‖R‖²/(2Z).")


class Measurement(Model):
    """Which kernels, in how much detail, and how they are computed."""

    of: Annotated[tuple[Literal["logits", "features"], ...], Field(strict=False, min_length=1)] = Field(
        default=("logits", "features"), description="Θ of the logits, Θʰ of the last-layer features."
    )
    which: Literal["values", "traced", "outputs", "pairs"] = Field(
        default="traced",
        description="values: the three block values, without any kernel matrix. traced: the mean over outputs k of "
        "Θ_kk. outputs: every Θ_kk too. pairs: Θ_ks of all pairs of outputs too.",
    )
    random_outputs: Annotated[int, Field(ge=3, le=MAX_COUNT)] | None = Field(
        default=None,
        description="With which: values, so many random ±1 combinations stand for the outputs, and the standard errors "
        "say what that costs; every output, exactly, unless told.",
    )
    samples_per_class: Annotated[int, Field(ge=1, le=MAX_COUNT)] | None = Field(
        default=None,
        description="Kernels are measured on the first so many samples of each class of the data, as those that a "
        "training run records are, for a network that this run does not train; on all of them unless told.",
    )
    method: Literal["auto", "structured", "jacobian", "jvp-vjp"] = Field(
        default="auto",
        description="How matrices are computed; all are exact, and auto takes the one with the fewest operations that "
        "fits.",
    )
    memory: Memory = Field(
        default="2 GiB",
        description="What one tile of a kernel may take beside the network and the finished kernel: a size with its "
        "unit, or a number of MB.",
    )

    @field_validator("of")
    @classmethod
    def _distinct(cls, of: tuple[str, ...]) -> tuple[str, ...]:
        if len(set(of)) < len(of):
            raise ValueError(f"each kernel once, but they are {', '.join(of)}")
        return of

    @field_validator("memory")
    @classmethod
    def _some_memory(cls, memory: str | float) -> str | float:
        if _bytes(memory) < 1:
            raise ValueError(f"no kernel fits into {memory}; the default is 2 GiB")
        return memory

    @model_validator(mode="after")
    def _random_outputs_for_values(self) -> Measurement:
        if self.which == "values" and self.method != "auto":
            raise ValueError(f"which: values needs no kernel matrix, and method: {self.method} is a way to compute one")
        if self.which != "values" and self.random_outputs is not None:
            raise ValueError(f"random_outputs is for which: values, but which is {self.which}, which is exact")
        return self

    @property
    def memory_bytes(self) -> int:
        """The budget in bytes."""
        return _bytes(self.memory)


def _bytes(memory: str | float) -> int:
    if isinstance(memory, str):
        match = _MEMORY.fullmatch(memory)
        assert match is not None
        return round(float(match[1]) * _UNITS[match[2]])
    return round(memory * 10**6)


class CheckpointOptions(Model):
    """Whether the network is kept."""

    save: bool = Field(
        default=False, description="Whether network.ckpt, the network after the last step, is put into the result."
    )


class KernelScenario(Model):
    """Kernels of a real network, new, in training or from a file: values, structure, spectra, change."""

    kind: Literal["kernel"] = Field(description="Which kind of scenario it is.")
    name: str = Field(description="Title of the result.")
    description: str = Field(default="", description="What the scenario shows, for the report.")
    seed: Seed = Field(default=0, description="Seed of everything random: which samples, which initial weights.")
    loss_scale: LossScale = Field(
        description="Z in the loss ‖R‖²/(2Z): one, samples (N), samples_times_outputs (NC), or a number."
    )
    data: Data = Field(description="Which samples: kernels are measured on those that are trained on.")
    network: Network = Field(description="Which network.")
    training: KernelTraining | None = Field(
        default=None, description="How the network is trained between the moments; needed if there is a step after 0."
    )
    at: Annotated[tuple[Annotated[int, Field(ge=0, le=MAX_COUNT)], ...], Field(strict=False, min_length=1)] = Field(
        default=(0,), description="Steps of this run at which kernels are measured; increasing, the last ends training."
    )
    measure: Measurement = Field(default=Measurement(), description="What is measured, and how.")
    checkpoint: CheckpointOptions = Field(default=CheckpointOptions(), description="What is kept of the network.")

    @field_validator("at")
    @classmethod
    def _increasing(cls, at: tuple[int, ...]) -> tuple[int, ...]:
        if any(later <= earlier for earlier, later in pairwise(at)):
            raise ValueError(f"steps must increase, but are {', '.join(map(str, at))}")
        return at

    @model_validator(mode="after")
    def _trained_if_there_are_steps(self) -> KernelScenario:
        if self.at[-1] > 0 and self.training is None:
            raise ValueError(
                f"at asks for step {self.at[-1]}, but there is no training; add training: {{step_size: …}}"
            )
        if self.training is not None and self.measure.samples_per_class is not None:
            raise ValueError(
                "measure: samples_per_class is for a network that this run does not train: leave training or it away"
            )
        if self.at[-1] == 0 and self.training is not None:
            raise ValueError("there is training, but at asks for step 0 alone; add later steps to at")
        return self
