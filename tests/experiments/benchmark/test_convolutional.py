"""The products that the benchmark finds in a step are those of the layers, by closed forms."""

import pytest

from experiments.benchmark import cases, matrix_products, steps
from experiments.benchmark.convolutional import ConvolutionalCase
from experiments.benchmark.steps import flops, products_of_step

SMALL = ConvolutionalCase("small", (8, 8, 3), (4, 6), (10,), 5, 0, batch_size=2, num_images=4)


def found(model, event_shape, batch_size):
    return sum(flops(*product) for product in products_of_step(model, event_shape, batch_size))


def test_of_a_dense_network_they_are_the_products_of_the_other_benchmark():
    case = cases.Case((7, 7), 3, "tanh", batch_size=4, num_images=4)
    assert found(case.model(), (cases.SIDE, cases.SIDE, 1), 4) == matrix_products.step_flops(case)


@pytest.mark.parametrize("num_blocks", [0, 1])
def test_of_a_convolutional_network_they_are_those_of_its_layers(num_blocks):
    """Forward, gradient of the kernel, and of the input except of the image."""
    case = SMALL._replace(num_blocks=num_blocks)

    def convolution(side, size, inputs, outputs):
        return 2 * side**2 * size**2 * inputs * outputs

    blocks = num_blocks * 2 * (convolution(4, 3, 4, 4) + convolution(2, 3, 6, 6))
    strided = [convolution(4, 4, 3, 4), convolution(2, 4, 4, 6)]
    dense = [2 * 24 * 10, 2 * 10 * 10]
    encoder = 3 * (sum(strided) + sum(dense) + blocks) - strided[0]
    decoder = 3 * (sum(strided) + 2 * (5 * 10 + 10 * 24) + blocks)
    expected = case.batch_size * (encoder + decoder)
    assert found(case.model(), case.event_shape, case.batch_size) == expected


def test_both_programs_run():
    steps.products(SMALL)()
    steps.epoch(SMALL)()
