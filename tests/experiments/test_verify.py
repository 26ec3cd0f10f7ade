"""The command: everything holds here, a wrong library is one sentence and exit code 1."""

import pytest

from vae_jax import verify

GROUPS = ("densities", "bounds", "devices")  # `tests/verify/test_groups.py` has all of them


@pytest.mark.slow
def test_groups_of_checks_hold_on_this_machine(command):
    result = command.call("verify", f"--only={','.join(GROUPS)}")
    assert result.code == 0, result.out + result.err
    assert result.out.splitlines()[-1].endswith("checks, all hold.")
    assert result.err == ""
    for group in verify.GROUPS:
        assert (f"\n{group} " in result.out) == (group in GROUPS)
    assert "default matmul precision" in result.out
    assert not (command.folder / "runs").exists()


def test_a_wrong_library_is_one_sentence_and_exit_code_1(command):
    """A Python that starts with a KL of the wrong sign."""
    wrong = (
        "import runpy, experiments; from vae_jax.distributions import Normal; "
        "right = Normal.kl_per_dim; Normal.kl_per_dim = lambda q, p: -right(q, p); "
        "runpy.run_module('experiments.verify', run_name='__main__', alter_sys=True)"
    )
    result = command.python("-c", wrong, "--only=densities")
    assert result.code == 1, result
    assert "1 of 11 checks do not hold: densities: Normal.kl_per_dim." in result.err
    assert result.err.count("\n") == 1
    (line,) = (line for line in result.out.splitlines() if "Normal.kl_per_dim" in line)
    assert line.endswith("FAILS")
    assert "all hold" not in result.out


@pytest.mark.parametrize("flag", ["--only=everything", "--only=", "--seed=-1", "--runs=3"])
def test_bad_flags_are_one_sentence(command, flag):
    result = command.call("verify", flag)
    assert result.code == 2
    assert result.err.startswith("Error: ")
    assert result.err.count("\n") == 1
    assert "Verifying" not in result.out
