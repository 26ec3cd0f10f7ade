"""Checks that a configuration agrees with the one that a run folder holds."""

import dataclasses
import os
from pathlib import Path
from typing import Any

from vae_jax import data
from vae_jax.config import Config
from vae_jax.errors import BadInputError

_OF_A_SWEEP = ("num_seeds", "sweep")


def absolute(config: Config) -> Config:
    """The same configuration with absolute paths, which mean the same files in any folder."""
    dataset, data_dir, start = config.dataset, config.data_dir, config.start
    if data.shards.is_folder(dataset):
        # With the / it stays the name of a folder even if the folder is gone.
        dataset = os.path.join(os.path.abspath(os.path.expanduser(dataset)), "")
    elif data.is_file(dataset):
        dataset = os.path.abspath(os.path.expanduser(dataset))
    if data_dir is not None and "://" not in data_dir:
        data_dir = os.path.abspath(os.path.expanduser(data_dir))
    paths = {"start": start, "schema": config.schema}
    if not config.missing_rate:
        paths["missing"] = config.missing
    whole: dict[str, Any] = {
        name: None if path is None else os.path.abspath(os.path.expanduser(path))
        for name, path in paths.items()
    }
    return dataclasses.replace(config, dataset=dataset, data_dir=data_dir, **whole)


def taken_from(config: Config, recorded: dict[str, str] | None) -> Config:
    """The configuration, with defaults that the run in the folder has settled before.

    These are what `auto` of the data set, the binarisation and the likelihood became, and, if the
    epochs are raised, the epochs of annealing, whose default depends on the number of epochs.
    """
    if recorded is None:
        return config
    taken: dict[str, Any] = {}
    for name in ("dataset", "binarisation", "likelihood"):
        if getattr(config, name) == "auto":
            taken[name] = recorded.get(name, "auto")
    if config.num_trials is None and "num_trials" in recorded:
        taken["num_trials"] = int(recorded["num_trials"])
    raised = config.epochs > int(recorded.get("epochs", config.epochs))
    if raised and config.anneal_epochs is None and "anneal_epochs" in recorded:
        taken["anneal_epochs"] = Config.OPTIONS["anneal_epochs"].parse(recorded["anneal_epochs"])
    return dataclasses.replace(config, **taken)


def require_agreement(config: Config, recorded: dict[str, str] | None, where: str) -> None:
    """Raises a BadInputError that names how a configuration differs from that of a run folder.

    Some fields may differ: those that change no number; a larger number of epochs, with which a run
    is trained further; another number of samples of the NLL, with which it is evaluated again; and
    the place of the user's own images, which are recognised by their bytes.

    Args:
      config: new configuration, settled for a run and as given for a sweep.
      recorded: fields in the folder, name -> text; None for an empty folder.
      where: name of the folder in the message.
    """
    if recorded is None:
        return
    if unknown := [name for name in recorded if name not in Config.OPTIONS]:
        swept = unknown[0] in _OF_A_SWEEP
        reason = "a sweep" if swept else f"a run of another version, with {unknown[0]}"
        raise BadInputError(f"{where} holds {reason}: name another folder.")
    differences = []
    for name, known in Config.OPTIONS.items():
        text = recorded.get(name)
        there = known.default if text is None else known.parse(text)
        here = getattr(config, name)
        if there != here and not _may_differ(name, there, here):
            shown = ["default" if value is None else known.write(value) for value in (there, here)]
            differences.append(f"{name}={shown[0]} there, {name}={shown[1]} here")
    if differences:
        raise BadInputError(
            f"{where} holds a run with other settings ({'; '.join(differences)}): give it those "
            "settings to go on with it, name another folder, or delete it."
        )


def read_config(recorded: dict[str, str], path: Path) -> Config:
    """Reads the configuration in a run folder, settled.

    Raises:
      BadInputError: the configuration is of another version.
    """
    known = Config.OPTIONS
    try:
        for name in recorded:
            if name not in known:
                raise BadInputError(f"there is no {name}")
        return Config(
            **{name: known[name].parse(text) for name, text in recorded.items()}
        ).settled()
    except BadInputError as error:
        raise BadInputError(
            f"{path} is of another version of vae_jax ({str(error).rstrip('.')}): use the "
            "version that trained it."
        ) from error


def _may_differ(name: str, there: Any, here: Any) -> bool:
    if name == "dataset":
        return _is_own(there) and _is_own(here)
    if name == "epochs":
        return here > there
    return name == "nll_samples" or not Config.OPTIONS[name].changes_numbers


def _is_own(dataset: str) -> bool:
    """Whether a data set is the user's own: a file, a folder or arrays."""
    if dataset.startswith("tfds:"):
        return False
    return "/" in dataset or data.is_file(dataset) or dataset.startswith(data.IN_MEMORY)
