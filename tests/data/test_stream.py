import subprocess
import sys
import threading
import time

import numpy as np
import pytest

from vae_jax.data import Rows, stream

RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 256, (50, 3, 2, 1), np.uint8)


def until(condition):
    """Waits for what another thread does, for at most five seconds."""
    deadline = time.monotonic() + 5
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.001)
    return condition()


def threads():
    return [thread for thread in threading.enumerate() if "grain" in thread.name]


class Slow:
    """Images that count how often they were read, and are slow or fail where they are told to."""

    def __init__(self, before=lambda call: None):
        self.begun = 0
        self.ended = []
        self._before = before
        self._lock = threading.Lock()

    def __getitem__(self, index):
        with self._lock:
            call = self.begun
            self.begun += 1
        self._before(call)
        self.ended.append(call)
        return IMAGES[index]


@pytest.mark.parametrize("make", [np.asarray, lambda images: Rows(*np.split(images, [20]))])
@pytest.mark.parametrize("shape", [(13, 4), (13, 2, 3), (12, 4), (1, 4), (13,), (0, 4)])
@pytest.mark.parametrize("steps_at_once", [1, 4, 100])
def test_blocks_are_the_batches_of_the_steps(make, shape, steps_at_once):
    rows = RNG.integers(0, 50, shape)
    blocks = list(stream(make(IMAGES), rows, steps_at_once))
    starts = range(0, len(rows), steps_at_once)
    assert len(blocks) == len(starts)
    for block, start in zip(blocks, starts, strict=True):
        expected = IMAGES[rows[start : start + steps_at_once]]
        assert type(block) is np.ndarray
        np.testing.assert_array_equal(block, expected, strict=True)


def test_blocks_come_in_order_however_long_each_takes_to_read():
    second_is_read = threading.Event()

    def before(call):
        if call == 0:
            assert second_is_read.wait(5)
        elif call % 2:
            second_is_read.set()
        else:
            time.sleep(0.005)

    images = Slow(before)
    rows = RNG.integers(0, 50, (20, 3))
    np.testing.assert_array_equal(
        np.stack([block[0] for block in stream(images, rows, 1)]), IMAGES[rows]
    )
    assert images.ended != sorted(images.ended)  # the threads did overtake one another


def test_two_blocks_are_read_ahead_and_no_more():
    images = Slow()
    blocks = stream(images, RNG.integers(0, 50, (12, 3)), 2)
    assert until(lambda: images.begun == 2)  # before the first is asked for
    for taken in range(1, 7):
        next(blocks)
        assert until(lambda taken=taken: len(images.ended) == min(taken + 2, 6))
        time.sleep(0.01)
        assert images.begun == min(taken + 2, 6)
    with pytest.raises(StopIteration):
        next(blocks)


@pytest.mark.parametrize("failing", [0, 1, 3])
def test_what_goes_wrong_in_reading_is_raised_where_its_block_is_asked_for(failing):
    error = OSError("the file is gone")

    class Gone:
        def __getitem__(self, index):
            if index[0, 0] == failing:
                raise error
            return IMAGES[index]

    blocks = stream(Gone(), np.arange(6)[:, None], 1)
    for step in range(failing):
        np.testing.assert_array_equal(next(blocks), IMAGES[[[step]]])
    with pytest.raises(OSError, match="the file is gone") as caught:
        next(blocks)
    assert caught.value is error
    assert str(error) == "the file is gone"
    assert next(blocks, None) is None
    assert until(lambda: not threads())


def test_an_index_out_of_range_is_raised_at_its_block():
    rows = np.zeros((6, 3), int)
    rows[4, 1] = 50
    blocks = stream(Rows(IMAGES), rows, 2)
    np.testing.assert_array_equal(next(blocks), IMAGES[rows[:2]])
    np.testing.assert_array_equal(next(blocks), IMAGES[rows[2:4]])
    with pytest.raises(IndexError):
        next(blocks)
    assert next(blocks, None) is None


@pytest.mark.parametrize(
    "end", ["exhausted", "closed", "closed unused", "forgotten", "forgotten unused"]
)
def test_no_thread_is_left(end):
    blocks = stream(IMAGES, RNG.integers(0, 50, (12, 3)), 2)
    assert until(threads)
    if end == "exhausted":
        assert len(list(blocks)) == 6
    elif "unused" not in end:
        next(blocks)
    if "closed" in end:
        blocks.close()
        assert next(blocks, None) is None
    elif "forgotten" in end:
        del blocks
    assert until(lambda: not threads())


def test_steps_at_once_is_positive():
    for steps_at_once in (0, -1):
        with pytest.raises(ValueError, match=f"steps_at_once={steps_at_once} must be positive"):
            stream(IMAGES, np.zeros((3, 2), int), steps_at_once)


def test_a_process_that_abandons_a_stream_ends_without_a_word():
    code = """
import sys
import numpy as np
from vae_jax import data
from vae_jax.data import Rows, stream

assert "grain" not in sys.modules
images = np.zeros((1000, 28, 28, 1), np.uint8)
blocks = stream(Rows(images), np.zeros((50, 200), int), 5)
assert "grain" in sys.modules
next(blocks)
"""
    start = time.monotonic()
    finished = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        check=True,
        capture_output=True,
        timeout=60,
    )
    assert (finished.stdout, finished.stderr) == (b"", b"")
    assert time.monotonic() - start < 30
