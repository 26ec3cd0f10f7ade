"""The products that the benchmark finds in a step are those of the layers, by closed forms."""

import pytest

from experiments.benchmark import cases, matrix_products, plan, steps
from experiments.benchmark.convolutional import ConvolutionalCase, VeryDeepCase
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


def test_of_a_very_deep_network_they_are_those_of_its_blocks_in_every_turn_of_a_loop():
    width, middle, number = 4, 2, 3
    case = VeryDeepCase("small", (4, 4, 1), (4, 2, 2), (number,) * 3, width, 2, 2, 4)

    def block(side, inputs, outputs):
        return 2 * side**2 * (inputs * middle + 2 * 9 * middle**2 + middle * outputs)

    def block_of_points(side, inputs, outputs):
        return 2 * side**2 * (inputs * middle + 2 * middle**2 + middle * outputs)

    def layer(side, block):
        of_p, of_q = block(side, width, 2 * number + width), block(side, 2 * width, 2 * number)
        return of_p + of_q + 2 * side**2 * number * width + block(side, width, width)

    stem, last = 2 * 16 * 9 * width, 2 * 16 * width
    levels = block(4, width, width) + block_of_points(2, width, width)
    layers = layer(4, block) + 2 * layer(2, block_of_points)
    expected = 3 * (stem + levels + layers + last) - stem
    assert found(case.model(), case.event_shape, 2) == case.batch_size * expected


def test_both_programs_run():
    steps.products(SMALL)()
    steps.epoch(SMALL)()


def test_the_model_of_the_plan_has_the_parameters_that_its_paper_says():
    """39 million (Child 2021)."""
    assert round(plan.num_params() / 1e6) == 39
