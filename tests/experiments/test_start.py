"""The start of a run: nothing slow is imported before it is needed."""

SLOW = ("matplotlib", "scipy.stats", "tensorflow_datasets", "tensorflow", "sklearn", "torch")


def test_a_run_starts_without_what_it_needs_later_or_never(command):
    finished = command.python(
        "-c",
        "import sys, experiments.mnist, vae_jax\n"
        f"print(*(name for name in {SLOW} if name in sys.modules), sep=', ')",
    )
    assert finished.code == 0, finished.err
    assert finished.out.strip() == ""
