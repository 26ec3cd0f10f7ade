"""The library is right by its own self-test, which holds for more than one seed.

These are the tests of what only statistics can show: that estimators have the means of their
closed forms. Other tests hold what needs no samples, and cases that the self-test leaves out.
"""

import re

import jax
import pytest

from vae_jax import verify
from vae_jax.errors import BadInputError, DoesNotHoldError
from vae_jax.verify import Check

# The command is tested with seed 0. Groups that are compiled quickly are run with several seeds.
SEEDS = {name: range(1, 4) if name in ("densities", "bounds") else [1] for name in verify.GROUPS}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "seed"), [(name, seed) for name, seeds in SEEDS.items() for seed in seeds]
)
def test_every_check_of_a_group_holds(name, seed):
    checks = verify.run_group(name, jax.random.key(seed))
    assert len({check.what for check in checks}) == len(checks)
    verify.require_all({name: checks})


def test_a_group_of_another_name_is_refused_in_a_sentence():
    sentence = (
        "name='speed' is no group of checks; there are densities, oracles, bounds, gradients, "
        "penalties, evidence, devices."
    )
    with pytest.raises(BadInputError, match=f"^{re.escape(sentence)}$"):
        verify.run_group("speed", jax.random.key(0))


RIGHT = Check("a mean", "closed form", "z", 1.25, 4.5)
WRONG = Check("a density", "its formula", "residual", 0.5, 2e-5)
NOT_A_NUMBER = Check("a bound", "log p(x)", "excess", float("nan"), 4.5)


def test_what_does_not_hold_is_named_in_one_sentence():
    verify.require_all({"bounds": [RIGHT], "devices": []})
    sentence = "2 of 3 checks do not hold: densities: a density; evidence: a bound."
    found = {"densities": [RIGHT, WRONG], "evidence": [NOT_A_NUMBER]}
    with pytest.raises(DoesNotHoldError, match=f"^{re.escape(sentence)}$"):
        verify.require_all(found)


def test_the_table_has_a_line_for_each_check_with_its_limit_and_marks_what_fails():
    table = verify.table({"densities": [RIGHT, WRONG], "evidence": [NOT_A_NUMBER]})
    words = [" ".join(line.split()) for line in table.splitlines()[2:5]]
    assert words == [
        "densities a mean closed form z 1.2 4.5",
        "densities a density its formula d 0.5 2e-05 FAILS",
        "evidence a bound log p(x) > nan 4.5 FAILS",
    ]


def test_the_header_says_which_machine_and_precision_the_numbers_come_from():
    header = verify.header()
    assert header.startswith(f"jax {jax.__version__}, {jax.default_backend()}, ")
    assert f"{jax.device_count()} device(s)" in header
    assert "matmul precision that of the device (here: highest)" in header
    with jax.default_matmul_precision("tensorfloat32"):
        assert "matmul precision tensorfloat32 (here: highest)" in verify.header()
