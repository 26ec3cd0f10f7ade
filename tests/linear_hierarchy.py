"""The linear-Gaussian hierarchy z_2 -> z_1 -> x with exact truth, and encoders that reach it."""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import scipy.stats

from vae_jax.models import Model, heads, hierarchy, latents
from vae_jax.networks import mlp

STD, LAYER_STD = 0.6, 0.5  # of x given z_1, and of z_1 given z_2


class LinearHierarchy(NamedTuple):
    """z_2 ~ N(0, I), z_1 ~ N(a z_2 + b, LAYER_STD^2 I), x ~ N(w z_1 + m, STD^2 I); float64."""

    a: np.ndarray  # [L1, L2]
    b: np.ndarray  # [L1]
    w: np.ndarray  # [D, L1]
    m: np.ndarray  # [D]

    @property
    def joint(self) -> tuple[np.ndarray, np.ndarray]:
        """Mean and covariance of (z_1, z_2, x)."""
        (d, l1), l2 = self.w.shape, self.a.shape[1]
        # Each is an affine function of the noise of z_2, of z_1 and of x.
        of_z2 = np.hstack([np.eye(l2), np.zeros((l2, l1 + d))])
        of_z1 = self.a @ of_z2 + np.hstack(
            [np.zeros((l1, l2)), LAYER_STD * np.eye(l1), np.zeros((l1, d))]
        )
        of_x = self.w @ of_z1 + np.hstack([np.zeros((d, l2 + l1)), STD * np.eye(d)])
        factor = np.vstack([of_z1, of_z2, of_x])
        return np.concatenate([self.b, np.zeros(l2), self.w @ self.b + self.m]), factor @ factor.T

    def log_evidence(self, x) -> np.ndarray:
        """log p(x) of x [N, D], [N] nats."""
        mean, covariance = self.joint
        rows = slice(len(mean) - len(self.m), None)
        marginal = scipy.stats.multivariate_normal(mean[rows], covariance[rows, rows])
        return np.atleast_1d(marginal.logpdf(np.asarray(x)))

    def given(self, of: str, by: str):
        """The affine function of one group of variables whose value is the mean of another, and its
        covariance: (matrix, constant, covariance). The groups are made of "1", "2" and "x"."""
        (d, l1), l2 = self.w.shape, self.a.shape[1]
        places = {"1": range(l1), "2": range(l1, l1 + l2), "x": range(l1 + l2, l1 + l2 + d)}
        rows, columns = (
            np.array([i for name in names for i in places[name]]) for names in (of, by)
        )
        mean, cov = self.joint
        matrix = np.linalg.solve(cov[np.ix_(columns, columns)], cov[np.ix_(columns, rows)]).T
        rest = cov[np.ix_(rows, rows)] - matrix @ cov[np.ix_(columns, rows)]
        return matrix, mean[rows] - matrix @ mean[columns], rest

    def simulate(self, number: int, seed: int = 0) -> np.ndarray:
        """x [N, D]."""
        mean, covariance = self.joint
        draws = np.random.default_rng(seed).multivariate_normal(mean, covariance, number)
        return draws[:, -len(self.m) :]


def linear_hierarchy(l1: int = 3, l2: int = 2, d: int = 5, seed: int = 0) -> LinearHierarchy:
    """One whose w and a have orthogonal columns, those of w of one length, so that p(z_2|x) and
    p(z_1|x, z_2) have diagonal covariances."""
    rng = np.random.default_rng(seed)
    a = np.linalg.qr(rng.normal(size=(l1, l2)))[0] * np.linspace(1.4, 0.7, l2)
    w = 1.1 * np.linalg.qr(rng.normal(size=(d, l1)))[0]
    return LinearHierarchy(a, rng.normal(size=l1), w, rng.normal(size=d))


def model_of(truth: LinearHierarchy, inference: str) -> Model:
    """The library's model with affine networks, in which each inference can be exact."""
    (d, l1), l2 = truth.w.shape, truth.a.shape[1]
    affine = mlp(())
    # p(z_1|x) has any covariance, and only the inference from below needs it.
    posterior = heads.full_normal() if inference == "bottom_up" else heads.diagonal_normal()
    return hierarchy(
        (d,),
        (l1, l2),
        inference=inference,
        encoder=affine,
        decoder=affine,
        between=affine,
        likelihood=heads.normal_fixed_scale(STD),
        latents=latents.normal(posterior),
        num_features=d,
    )


def exact_params(truth: LinearHierarchy, inference: str) -> dict:
    """The parameters of `model_of` with the truth and its exact posterior."""
    d, l1 = truth.w.shape
    log_std = np.full(l1, np.log(LAYER_STD))
    params = {
        "posterior": [{}, {}],
        "prior": {},
        "layers": {"networks": [_diagonal(truth.a, truth.b, log_std)], "heads": [{}]},
        "decoder": _layer(truth.w, truth.m),
        "likelihood": {},
    }
    if inference == "bottom_up":
        encoder = {"up": [_full(*truth.given("1", "x")), _full(*truth.given("2", "1"))]}
    elif inference == "independent":
        encoder = {"up": [_of(*truth.given("1", "x2")), _of(*truth.given("2", "x"))]}
    else:
        # p(x|z_1) as a function of z_1 is a normal density around the least-squares solution.
        square = truth.w.T @ truth.w
        solve = np.linalg.solve(square, truth.w.T)
        likelihood = solve, -solve @ truth.m, STD**2 * np.linalg.inv(square)
        identity = _layer(np.eye(d), np.zeros(d))
        encoder = {
            "up": [identity, identity],
            "readout": [_of(*likelihood), _of(*truth.given("2", "x"))],
        }
    return jax.tree.map(jnp.asarray, {**params, "encoder": encoder})


def _layer(matrix, constant):
    return {"output": {"kernel": np.asarray(matrix).T, "bias": np.asarray(constant)}}


def _diagonal(matrix, constant, log_std):
    zeros = np.zeros((len(log_std), matrix.shape[1]))
    return _layer(np.vstack([matrix, zeros]), np.concatenate([constant, log_std]))


def _of(matrix, constant, covariance):
    """A diagonal normal head; the covariance must be diagonal."""
    variances = np.diag(covariance)
    np.testing.assert_allclose(covariance, np.diag(variances), atol=1e-12)
    return _diagonal(matrix, constant, 0.5 * np.log(variances))


def _full(matrix, constant, covariance):
    """A head of a normal distribution with any covariance, by its Cholesky factor."""
    factor = np.linalg.cholesky(covariance)
    rest = np.concatenate([np.log(np.diag(factor)), factor.ravel()])
    zeros = np.zeros((len(rest), matrix.shape[1]))
    return _layer(np.vstack([matrix, zeros]), np.concatenate([constant, rest]))


@partial(jax.jit, static_argnames="scale")
def perturbed(params: dict, scale: float = 0.1) -> dict:
    """The parameters with another encoder, whose q(z|x) is not the posterior."""
    leaves, structure = jax.tree.flatten(params["encoder"])
    keys = jax.random.split(jax.random.key(5), len(leaves))
    moved = [
        leaf + scale * jax.random.normal(key, leaf.shape, leaf.dtype)
        for key, leaf in zip(keys, leaves, strict=True)
    ]
    return {**params, "encoder": jax.tree.unflatten(structure, moved)}
