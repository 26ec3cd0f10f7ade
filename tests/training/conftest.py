import pytest

from tests.training.lanes import KEYS, by_itself


@pytest.fixture(scope="session")
def solo():
    """The result of training each lane by itself: (state, info)."""
    return [by_itself(lane) for lane in range(len(KEYS))]
