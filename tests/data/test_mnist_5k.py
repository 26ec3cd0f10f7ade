import numpy as np

from vae_jax.data import load, mnist_5k


def test_they_are_five_thousand_different_digits():
    digits = mnist_5k.read().train.x
    assert digits.shape == (5000, 28, 28, 1)
    assert digits.dtype == np.uint8
    assert digits.max() == 255
    assert len(np.unique(digits.reshape(5000, -1), axis=0)) == 5000
    # The mean pixel of MNIST is 0.1307; that of 5,000 digits deviates by about 0.0005.
    assert abs(digits.mean() / 255 - 0.1307) < 0.002
    # The margin of four pixels around every MNIST digit's box is all but empty.
    assert digits[:, :2].mean() < 0.1


def test_every_split_has_every_class():
    """The file is sorted by class, so the first pixels of a split must not come from one tenth."""
    digits = mnist_5k.read().train.x.reshape(5000, -1)
    class_of = {pixels.tobytes(): index // 500 for index, pixels in enumerate(digits)}
    dataset = load("mnist_5k", split_seed=1)
    assert dataset.name == "mnist_5k"
    assert [len(split) for split in dataset[1:4]] == [4125, 375, 500]
    for split in dataset[1:4]:
        classes = [class_of[image.tobytes()] for image in split.x[:100]]
        np.testing.assert_array_equal(split.labels[:100], classes)
        assert set(classes) == set(range(10))
