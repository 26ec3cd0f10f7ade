"""A sweep: many runs, side by side where one program can train them, and what they say together."""

import json
import math
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from absl import flags

from experiments import command, grid, hosts, json_file, objectives, runs, settings, table
from experiments.command import StopSignal
from experiments.grid import Point
from experiments.images import Images, load_images
from experiments.run_folder import RunFolder, read_json, replace, writing
from experiments.runs import Run
from vae_jax.errors import DivergenceError

FLAGS = flags.FLAGS


def main(stop: StopSignal) -> None:
    """Trains the runs that the flags ask for, or goes on with them, and reports.

    Raises:
      BadInputError: flags do not go together, or the folder holds something else.
      DivergenceError: (after the report) runs diverged.
    """
    folder = RunFolder(FLAGS.workdir)
    grid.choose_objective()
    settings.settle(folder, grid.as_text())
    points = grid.points()
    for group in _programs(points):
        grid.check_devices(len(group), int(dict(group[0].program)["batch_size"]))
    command.use_compile_cache()
    with folder.claimed():
        images = load_images()
        chosen = {"dataset": FLAGS.dataset}  # --dataset=auto is what it became
        points = [point._replace(flags=point.flags | chosen) for point in points]
        folder.record_flags(settings.as_text() | grid.as_text())
        diverged = _Diverged(folder.path / "diverged.json")
        results = {}
        for number, group in enumerate(_programs(points), 1):
            print(f"Program {number} of {len(_programs(points))}: {_count(len(group))}.")
            results |= _train_group(folder, group, images, diverged, stop)
        hosts.on_first(lambda: report(folder, points, results, diverged.found))
    if diverged.found:
        rest = " The others are finished." if results else ""
        raise DivergenceError(
            f"{_count(len(diverged.found))} of {len(points)} diverged: "
            f"{', '.join(diverged.found)}.{rest}"
        )


def _programs(points: list[Point]) -> list[list[Point]]:
    """The runs that one program can train, together; in the order of the grid."""
    groups: dict[Any, list[Point]] = {}
    for point in points:
        groups.setdefault(point.program, []).append(point)
    return list(groups.values())


class _Diverged:
    """Runs that diverged, name -> sentence: kept on disk, so that they are not trained again."""

    def __init__(self, path: Path):
        self._path = path
        self.found: dict[str, str] = hosts.on_first(lambda: read_json(path)) or {}

    def add(self, run: Run, message: str) -> None:
        name = run.folder.path.name
        print(f"{name}: {message}", flush=True)
        self.found[name] = message
        hosts.on_first(lambda: replace(self._path, json.dumps(self.found, indent=1)))


def _train_group(
    folder: RunFolder, group: list[Point], images: Images, diverged: _Diverged, stop: StopSignal
) -> dict[str, dict[str, Any]]:
    """Trains and evaluates what is not finished of the runs of one program.

    Returns name -> summary, of those that did not diverge.
    """
    results = {}
    with ExitStack() as claims:
        left = []
        for point in group:
            if point.name in diverged.found:
                continue
            lane = RunFolder(folder.path / point.name)
            if (summary := lane.summary()) is not None:
                results[point.name] = summary
                continue
            claims.enter_context(lane.claimed())
            lane.record_flags(point.flags)
            left.append(Run(lane, point.seed, point.numbers))
        if left:
            with grid.flags_set_to(group[0].values):
                objectives.settle()
                # Those that are left of a group that was stopped may not divide among as many
                # devices as are asked for.
                asked = FLAGS.num_devices if len(left) == len(group) else None
                how = grid.plan_of(asked, axis="lanes" if len(group) > 1 else None)
                trained = runs.train(left, images, stop, diverged.add, how)
                estimate = runs.make_evaluation(images)
                for lane, what in trained.items():
                    run = left[lane]
                    print(f"{run.folder.path.name}:", flush=True)
                    try:
                        results[run.folder.path.name] = runs.finish(
                            run, what, images, estimate, stop
                        )
                    except DivergenceError as error:
                        diverged.add(run, str(error))
    return results


def report(
    folder: RunFolder,
    points: list[Point],
    results: dict[str, dict[str, Any]],
    diverged: dict[str, str],
) -> None:
    """Writes sweep.json, sweep.md and figures, and prints the table."""
    finished = [
        table.Result(_setting(point), folder.path / point.name, results[point.name])
        for point in points
        if point.name in results
    ]
    rows = table.rows(finished)
    text = table.in_words(rows)
    lost = [f"{name}: {message}" for name, message in diverged.items()]
    json_file.write(
        folder.path / "sweep.json",
        {
            "runs": [
                {
                    "values": point.values,
                    "folder": point.name,
                    "summary": results.get(point.name),
                    "diverged": diverged.get(point.name),
                }
                for point in points
            ],
            "table": [row.as_dict() for row in rows],
        },
    )
    text = "\n".join([text, *lost])
    replace(folder.path / "sweep.md", text + "\n")
    if rows:
        _draw(folder.figures, rows)
    print(text)


def _setting(point: Point) -> tuple[tuple[str, str], ...]:
    return tuple((name, text) for name, text in point.values.items() if name != "seed")


def _draw(folder: Path, rows: list[table.Row]) -> None:
    """Draws the validation ELBO over the epochs, and the NLL against each swept number."""
    from vae_jax import figures  # here, as matplotlib takes as long as the rest of a start

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
    with writing(folder):
        folder.mkdir(exist_ok=True)
    for name, figure in drawn.items():
        with writing(folder / f"{name}.png"):
            figures.save(figure, folder / f"{name}.png")


def _is_number(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False


def _label(setting: dict[str, str]) -> str:
    return ", ".join(f"{name}={text}" for name, text in setting.items())


def _count(number: int) -> str:
    return f"{number} run{'s' * (number != 1)}"
