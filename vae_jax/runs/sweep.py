"""A sweep: many runs, trained side by side if one program can do it, and their table."""

import dataclasses
import json
import math
from collections.abc import Iterable
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

from vae_jax import processes
from vae_jax.config import Config, Grid, Hardware, written
from vae_jax.config.grid import Point, points, programs, with_objective_of
from vae_jax.errors import BadInputError, DivergenceError
from vae_jax.runs import choices, pictures, recipe, table
from vae_jax.runs import examples as examples_of
from vae_jax.runs.agreement import absolute, require_agreement, taken_from
from vae_jax.runs.events import Diverged, Event, Listener, Said, tell_all, telling
from vae_jax.runs.examples import Examples
from vae_jax.runs.files import read_json, replace, write_json
from vae_jax.runs.finishing import finish, make_evaluation
from vae_jax.runs.fit import check_devices, metrics_of
from vae_jax.runs.folder import RunFolder
from vae_jax.runs.held import build
from vae_jax.runs.jax_settings import require_usual_settings
from vae_jax.runs.listeners import default_listeners
from vae_jax.runs.report import write_report
from vae_jax.runs.resuming import Lane
from vae_jax.runs.starting import require_start
from vae_jax.runs.stop import StopSignal
from vae_jax.runs.summary import Summary
from vae_jax.runs.training import train


def sweep(
    config: Config,
    grid: Grid,
    workdir: str | Path,
    *,
    hardware: Hardware | None = None,
    listeners: Iterable[Listener] | None = None,
    stop: StopSignal | None = None,
    choose_objective: bool = True,
) -> list[table.Row]:
    """Trains and evaluates the runs of a grid, or continues them, and reports.

    The folder gets a folder for each run, sweep.json, sweep.md and figures. The same call with more
    seeds or values adds their runs.

    Args:
      config: common configuration of the runs.
      grid: seeds and values in which they differ.
      workdir: folder of the sweep.
      hardware: devices that share the work; None for the defaults.
      listeners: the same as for `fit`.
      stop: the same as for `fit`.
      choose_objective: whether a swept option of another objective selects that objective.

    Returns:
      The table, with a row for the finished runs of each setting.

    Raises:
      BadInputError: the arguments contradict each other, the data or the folder.
      DivergenceError: some runs diverged; the others are finished, and the report is written.
      Stopped: a signal has come.
    """
    require_usual_settings()
    hardware = hardware or Hardware()
    with ExitStack() as context:
        if stop is None:
            stop = context.enter_context(StopSignal().listening())
        tell = context.enter_context(
            telling(default_listeners() if listeners is None else listeners)
        )
        folder = RunFolder(workdir, say=lambda text: tell(Said(text)))
        chosen = with_objective_of(config, grid) if choose_objective else config
        if chosen != config:
            tell(Said(f"A swept option chooses objective={chosen.objective}."))
        return _Sweep(folder, hardware, tell, stop).run(absolute(chosen), grid)


class _Sweep(NamedTuple):
    """A sweep at work."""

    folder: RunFolder
    hardware: Hardware
    tell: Listener
    stop: StopSignal

    def run(self, config: Config, grid: Grid) -> list[table.Row]:
        config = self._agreed(config, grid)
        require_start(config)
        asked = points(config, grid)
        for group in programs(asked):
            recipe.check(group[0].config)
            check_devices(self.hardware, len(group), group[0].config.batch_size)
        with self.folder.claimed():
            dataset = examples_of.load_dataset(config, say=self.say)
            config = choices.chosen(config, dataset)
            asked = points(config, grid)
            examples = examples_of.prepare(dataset, asked[0].config)
            self.say(examples_of.in_words(examples, config, chosen=True))
            self.folder.record(written(config) | grid.written())
            diverged = _DivergedRuns(self.folder, self.tell)
            results: dict[str, Summary] = {}
            groups = programs(asked)
            for number, group in enumerate(groups, 1):
                self.say(f"Program {number} of {len(groups)}: {_count(len(group))}.")
                results |= self._train_group(group, examples, diverged)
            rows = table.rows(
                table.Result(
                    tuple(point.setting.items()), self.folder.path / point.name, results[point.name]
                )
                for point in asked
                if point.name in results
            )
            processes.on_first(lambda: self._report(asked, rows, results, diverged.found))
        lost = [point.name for point in asked if point.name in diverged.found]
        if lost:
            rest = " The others are finished." if results else ""
            raise DivergenceError(
                f"{_count(len(lost))} of {len(asked)} diverged: {', '.join(lost)}.{rest}"
            )
        return rows

    def say(self, text: str) -> None:
        self.tell(Said(text))

    def _agreed(self, config: Config, grid: Grid) -> Config:
        """The configuration, if it agrees with the folder."""
        recorded = self.folder.recorded()
        if recorded is None:
            return config
        where = f"workdir={self.folder.path}"
        if "num_seeds" not in recorded:
            raise BadInputError(f"{where} holds a single run: name another folder for a sweep.")
        before = Grid(int(recorded["num_seeds"]), [recorded.get("sweep", "")])
        of_config = {n: t for n, t in recorded.items() if n not in ("num_seeds", "sweep")}
        config = taken_from(config, of_config)
        require_agreement(config, of_config, where)
        own = {point.name for point in points(config, grid)}
        gone = [f"'{point.name}'" for point in points(config, before) if point.name not in own]
        if gone:
            raise BadInputError(
                f"{where} holds a sweep with runs that are not asked for ({', '.join(gone)}): "
                "values and seeds can be added to a sweep, not taken away; or name another folder."
            )
        return config

    def _train_group(
        self, group: list[Point], examples: Examples, diverged: "_DivergedRuns"
    ) -> dict[str, Summary]:
        """Trains and evaluates the unfinished runs of one program.

        Returns name -> summary of the runs that did not diverge.
        """
        results, left = {}, []
        spec = recipe.model_spec(group[0].config, examples.facts)
        model = build(spec, group[0].config, examples)  # first, since it may refuse the data
        with ExitStack() as claims:
            for point in group:
                if point.name in diverged.found:
                    continue
                folder = RunFolder(self.folder.path / point.name, say=self.say)
                if (summary := folder.finished(point.config)) is not None:
                    results[point.name] = Summary(summary)
                    continue
                claims.enter_context(folder.claimed())
                folder.record(written(point.config))
                left.append(Lane(folder, point.config))
            if not left:
                return results
            # Those that are left of a group that was stopped may not divide among as many devices
            # as are asked for.
            asked = self.hardware.num_devices if len(left) == len(group) else None
            hardware = dataclasses.replace(self.hardware, num_devices=asked)
            axis = "lanes" if len(group) > 1 else None
            tell = tell_all([metrics_of(left), diverged, self.tell])
            trained = train(left, examples, model, spec, hardware, axis, tell, self.stop)
            estimate = make_evaluation(left[0].config, model, examples)
            for index, what in sorted(trained.items()):
                name = left[index].folder.name
                self.say(f"{name}:")
                try:
                    results[name] = finish(
                        left[index], what, model, examples, estimate, self.tell, self.stop
                    )
                except DivergenceError as error:
                    diverged(Diverged(name, str(error)))
        return results

    def _report(
        self,
        asked: list[Point],
        rows: list[table.Row],
        results: dict[str, Summary],
        diverged: dict[str, str],
    ) -> None:
        """Writes sweep.json, sweep.md and figures, and tells the table."""
        runs = [
            {
                "values": point.values,
                "folder": point.name,
                "summary": results.get(point.name),
                "diverged": diverged.get(point.name),
            }
            for point in asked
        ]
        write_json(
            self.folder.path / "sweep.json",
            {"runs": runs, "table": [row.as_dict() for row in rows]},
        )
        text = "\n".join(
            [table.in_words(rows), *(f"{name}: {message}" for name, message in diverged.items())]
        )
        replace(self.folder.path / "sweep.md", text + "\n")
        if rows:
            pictures.save_all(self.folder.figures, _drawn(rows))
        write_report(self.folder)
        self.say(text)


class _DivergedRuns:
    """Runs that diverged, name -> sentence, on disk, so that they are not trained again."""

    def __init__(self, folder: RunFolder, tell: Listener):
        self._path = folder.path / "diverged.json"
        self._tell = tell
        self.found: dict[str, str] = processes.on_first(lambda: read_json(self._path)) or {}

    def __call__(self, event: Event) -> None:
        if isinstance(event, Diverged):
            self._tell(Said(f"{event.run}: {event.message}"))
            self.found[event.run] = event.message
            processes.on_first(lambda: replace(self._path, json.dumps(self.found, indent=1)))


def _drawn(rows: list[table.Row]) -> dict[str, Any]:
    """The validation ELBO over the epochs, and the NLL against each swept number."""
    from vae_jax import figures  # here, since the import of matplotlib is slow

    curves = {}
    for row in rows:
        histories = [RunFolder(result.folder).metrics() for result in row.results]
        curves[_label(row.setting) or "all"] = [
            [epoch["validation_elbo"] for epoch in history] for history in histories
        ]
    drawn = {"validation_elbo": figures.swept_curves(curves, "validation ELBO (nats)")}
    for name in rows[0].setting:
        values = {row.setting[name] for row in rows}
        if len(values) < 2 or not all(_is_number(text) for text in values):
            continue
        results: dict[str, list] = {}
        for row in rows:
            rest = {other: text for other, text in row.setting.items() if other != name}
            pair = (float(row.setting[name]), row.values("test_nll"))
            results.setdefault(_label(rest), []).append(pair)
        drawn[f"nll_against_{name}"] = figures.metric_against(name, results, "test NLL (nats)")
    return drawn


def _is_number(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False


def _label(setting: dict[str, str]) -> str:
    return ", ".join(f"{name}={text}" for name, text in setting.items())


def _count(number: int) -> str:
    return f"{number} run{'s' * (number != 1)}"
