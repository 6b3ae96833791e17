"""ntkflow: block-structured neural tangent kernel dynamics, integrated, trained for real, and compared.

Import from the rooms: `ntkflow.kernels`, `ntkflow.flows`, `ntkflow.collapse`, `ntkflow.networks`, `ntkflow.data`,
`ntkflow.training`, `ntkflow.comparison`, `ntkflow.scenario`, `ntkflow.experiments`, `ntkflow.results`,
`ntkflow.report`. Importing changes no setting of JAX; the flows need float64, which
`jax.config.update("jax_enable_x64", True)` switches on.
"""
