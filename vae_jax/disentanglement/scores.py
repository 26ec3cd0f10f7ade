"""All the metrics at once."""

from numpy.typing import ArrayLike

from vae_jax.disentanglement.beta_vae import beta_vae_score
from vae_jax.disentanglement.dci import dci
from vae_jax.disentanglement.factor_vae import factor_vae_score
from vae_jax.disentanglement.mig import mig
from vae_jax.disentanglement.sap import sap


def all_scores(codes: ArrayLike, factors: ArrayLike, seed: int = 0) -> dict[str, float]:
    """All scores of this room by name. Higher is better for each.

    Args:
      codes: [N, L] posterior means.
      factors: [N, F] integers, such as those of `vae_jax.data.shapes`.
      seed: seed of all random choices.

    Raises:
      ValueError: the same as for `arrays.checked`.
    """
    disentanglement, completeness, informativeness = dci(codes, factors, seed)
    return {
        "mig": mig(codes, factors),
        "dci_disentanglement": disentanglement,
        "dci_completeness": completeness,
        "dci_informativeness": informativeness,
        "sap": sap(codes, factors),
        "factor_vae": factor_vae_score(codes, factors, seed),
        "beta_vae": beta_vae_score(codes, factors, seed),
    }
