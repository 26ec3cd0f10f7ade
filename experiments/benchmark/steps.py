"""A training step of any model, and the matrix products that its gradient consists of."""

import math
from collections.abc import Callable, Iterator
from typing import Any, Protocol

import jax
import jax.numpy as jnp
import numpy as np

from experiments.benchmark import training_step
from vae_jax import data, training
from vae_jax.models import Model, draw_batch, mean_elbo
from vae_jax.objectives import closed_form_elbo


class Case(Protocol):
    """A model of images, and how it is trained."""

    @property
    def event_shape(self) -> tuple[int, int, int]:
        """The shape of an image."""

    @property
    def batch_size(self) -> int:
        """Images in a step."""

    @property
    def num_images(self) -> int:
        """Images of a timed epoch."""

    def model(self) -> Model:
        """The VAE."""


def noise(case: Case) -> np.ndarray:
    """The images of a timed epoch, [num_images, *event] uint8, whose content does not matter."""
    shape = (case.num_images, *case.event_shape)
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


def num_steps(case: Case) -> int:
    """The number of steps in a timed epoch."""
    return case.num_images // case.batch_size


def epoch(case: Case) -> Callable[[], None]:
    """An epoch of training, as `experiments.mnist` trains."""
    pixels = noise(case)
    trainer = training.make_trainer(
        case.model(),
        closed_form_elbo(),
        optimiser=training_step.optimiser(),
        clip_norm=training_step.CLIP_NORM,
        binarise=data.dynamic,
    )
    state = jax.jit(trainer.init)(jax.random.key(0), data.mean_example(pixels))
    on_device = jnp.asarray(pixels)
    run_epoch = training.make_epoch(trainer, case.batch_size)

    def run():
        nonlocal state
        state, _ = jax.block_until_ready(run_epoch(state, on_device))

    return run


def products(case: Case) -> Callable[[], None]:
    """The products of an epoch and nothing else.

    The operands are in the state of the loop, and each product changes one number of them, so that
    no product can be taken out of the loop.
    """
    found = list(products_of_step(case.model(), case.event_shape, case.batch_size))
    rng = np.random.default_rng(0)
    operands = [
        tuple(jnp.asarray(rng.normal(size=shape), jnp.float32) for shape in (lhs, rhs))
        for lhs, rhs, _ in found
    ]

    @jax.jit
    def run(operands):
        def step(operands, _):
            changed = []
            for (lhs, rhs), (_, _, dimensions) in zip(operands, found, strict=True):
                out = jax.lax.dot_general(lhs, rhs, dimensions)
                first = (0,) * lhs.ndim
                changed.append((lhs.at[first].set(1e-3 * out.ravel()[0]), rhs))
            return changed, None

        return jax.lax.scan(step, operands, length=num_steps(case))[0]

    return lambda: jax.block_until_ready(run(operands))


def products_of_step(
    model: Model, event_shape: tuple[int, ...], batch_size: int
) -> Iterator[tuple[tuple, tuple, Any]]:
    """The products in the gradient of the negative ELBO of a batch, without sums as products.

    Yields:
      The shapes of both matrices and the dimension numbers of `lax.dot_general`.
    """
    x = jnp.zeros((batch_size, *event_shape))
    params = jax.eval_shape(model.init, jax.random.key(0), x[0])
    keys = jax.random.split(jax.random.key(0), (1, batch_size))

    def loss(params):
        return -jnp.mean(mean_elbo(draw_batch(model, params, x, keys))[0])

    for equation in equations(jax.make_jaxpr(jax.grad(loss))(params).jaxpr):
        if equation.primitive.name == "dot_general":
            lhs, rhs = (variable.aval.shape for variable in equation.invars)
            if len(lhs) > 1 and len(rhs) > 1:
                yield lhs, rhs, equation.params["dimension_numbers"]


def flops(lhs: tuple, rhs: tuple, dimensions: Any) -> int:
    """The floating-point operations of a product, 2 for each multiplication and addition."""
    (contracted, _), (batched, _) = dimensions
    shared = math.prod(lhs[axis] for axis in (*contracted, *batched))
    inner = math.prod(lhs[axis] for axis in contracted)
    return 2 * inner * math.prod(lhs) * math.prod(rhs) // (shared * inner)


def equations(jaxpr: Any) -> Iterator[Any]:
    """The equations of a program, those of functions in it too, those of loops as often as they
    are computed; of branches, that for the CPU."""
    for equation in _used(jaxpr):
        yield equation
        if equation.primitive.name == "cond":
            yield from equations(equation.params["branches"][0].jaxpr)
            continue
        if equation.primitive.name == "scan":
            for _ in range(equation.params["length"]):
                yield from equations(equation.params["jaxpr"].jaxpr)
            continue
        for value in equation.params.values():
            inner = getattr(value, "jaxpr", value)
            if hasattr(inner, "eqns"):
                yield from equations(inner)


def _used(jaxpr: Any) -> list[Any]:
    """The equations whose results are used, as the compiler will find."""
    needed, used = set(map(id, jaxpr.outvars)), []
    for equation in reversed(jaxpr.eqns):
        if needed & set(map(id, equation.outvars)):
            needed |= set(map(id, equation.invars))
            used.append(equation)
    return used[::-1]
