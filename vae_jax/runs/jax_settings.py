"""Settings of JAX for debugging, with which a run cannot be trained or measured."""

from typing import Any

import jax

from vae_jax.errors import BadInputError


def require_usual_settings() -> None:
    """Raises a BadInputError for a setting of JAX with which a run cannot work.

    A run compiles whole epochs, moves images to the device and back, and uses optax, which mixes
    whole numbers and floats. `jax_debug_nans`, `jax_check_tracer_leaks` and `jax_enable_x64` are
    allowed.
    """
    settings: Any = jax.config  # whose attributes exist only after the import of JAX
    found = [
        (settings.jax_disable_jit, "jax_disable_jit=true", "compiles whole epochs"),
        (
            "disallow" in f"{settings.jax_transfer_guard_host_to_device}"
            f"{settings.jax_transfer_guard_device_to_host}"
            f"{settings.jax_transfer_guard_device_to_device}",
            "jax_transfer_guard=disallow",
            "moves images to the device and numbers back",
        ),
        (
            settings.jax_numpy_dtype_promotion == "strict",
            "jax_numpy_dtype_promotion=strict",
            "uses optax, which mixes whole numbers and floats",
        ),
    ]
    for is_set, setting, reason in found:
        if is_set:
            raise BadInputError(
                f"JAX is set to {setting}, and a run {reason}: unset it (JAX_... in the "
                "environment, or jax.config.update); the functions of vae_jax do without."
            )
