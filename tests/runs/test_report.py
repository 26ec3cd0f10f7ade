"""report.html: what it says is what the folder holds, and it needs nothing else."""

import json
import shutil
import subprocess
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image

import vae_jax as vj
from vae_jax.errors import BadInputError
from vae_jax.runs.folder import RunFolder
from vae_jax.runs.report import write_report

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")


class Page(HTMLParser):
    """The text, the targets and the open tags of a page."""

    def __init__(self, path):
        super().__init__()
        self.texts, self.targets, self.open = [], [], []
        self.feed(path.read_text())
        self.text = " ".join(" ".join(self.texts).split())

    def handle_starttag(self, tag, attrs):
        self.targets += [value for name, value in attrs if name in ("src", "href")]
        if tag not in ("meta", "img"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] != "style":
            self.texts.append(data)


@pytest.mark.usefixtures("finished")
def test_the_page_of_a_run_has_its_numbers_and_pictures_and_nothing_from_elsewhere(command):
    folder = command.folder / "finished"
    page = Page(folder / "report.html")
    assert page.open == []  # every tag is closed
    assert page.targets
    assert all(target.startswith("data:image/png;base64,") for target in page.targets)
    assert len(page.targets) == len(list((folder / "figures").glob("*.png")))
    summary = json.loads((folder / "summary.json").read_text())
    for text in (
        f"{summary['test_nll']:.3f} ± {summary['test_nll_stderr']:.3f}",
        f"{summary['test_elbo']:.3f}",
        f"{summary['test_kl']:.3f}",
        "K=7",
        "30 test images of npz:small",
        "latent_dim 2 Number of latent variables.",
        f"vj.load('{folder}')",
        f"vae-jax train --flagfile={folder}/flags.cfg",
    ):
        assert text in page.text


@pytest.mark.usefixtures("finished")
def test_what_was_found_since_is_on_the_page_that_is_written_again(command):
    folder = command.folder / "looked_at"
    shutil.copytree(command.folder / "finished", folder)
    (folder / "evidence").mkdir()
    (folder / "evidence" / "evidence.md").write_text("log p(x) is <between> two & more")
    shutil.copy(folder / "figures" / "samples.png", folder / "evidence" / "gaps.png")
    program = "from vae_jax.commands.main import main; main()"
    result = command.python("-c", program, "report", "looked_at")
    assert result.code == 0, result.err
    assert result.out.splitlines()[-1] == "looked_at/report.html"
    page = Page(folder / "report.html")
    assert "log p(x) is <between> two & more" in page.text
    assert len(page.targets) == 1 + len(list((folder / "figures").glob("*.png")))
    (folder / "summary.json").unlink()
    unfinished = Page(write_report(RunFolder(folder)))
    assert "The run is not finished." in unfinished.text


@pytest.mark.slow
def test_the_page_of_a_sweep_has_its_table_and_links_to_its_runs(tmp_path):
    images = np.zeros((60, 4, 4), np.uint8)
    images[::2, 1:3] = 255
    np.savez(tmp_path / "d.npz", x_train=images)
    config = vj.Config(
        dataset=str(tmp_path / "d.npz"), network="mlp", hidden=(4,), batch_size=10, nll_samples=3,
        epochs=1, latent_dim=1,
    )  # fmt: skip
    rows = vj.sweep(config, vj.Grid(1, {"ema_decay": [0.5, 0.9]}), tmp_path / "s", listeners=[])
    page = Page(tmp_path / "s" / "report.html")
    links = [target for target in page.targets if not target.startswith("data:")]
    assert links == [f"ema_decay={decay},seed=0/report.html" for decay in (0.5, 0.9)]
    assert all((tmp_path / "s" / target).exists() for target in links)
    for row in rows:
        nll = row.results[0].summary["test_nll"]
        assert f"ema_decay={row.setting['ema_decay']} 1 {nll:.2f} {nll:.2f}" in page.text
    (tmp_path / "s" / "sweep.json").unlink()
    with pytest.raises(BadInputError, match="holds a sweep that is not finished"):
        write_report(RunFolder(tmp_path / "s"))
    with pytest.raises(BadInputError, match=r"holds no flags\.cfg"):
        write_report(RunFolder(tmp_path))


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium to show the page")
@pytest.mark.usefixtures("finished")
def test_a_browser_shows_the_page_light_and_dark_and_narrow(command, tmp_path):
    page = command.folder / "finished" / "report.html"

    def shown(width, *flags):
        path = tmp_path / "shown.png"
        subprocess.run(
            [
                *(CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run"),
                *("--disable-background-networking", "--disable-component-update"),
                *("--disable-sync", f"--user-data-dir={tmp_path / 'profile'}", *flags),
                *(f"--window-size={width},1500", f"--screenshot={path}", page.as_uri()),
            ],
            check=True,
            capture_output=True,
            timeout=120,
        )
        with Image.open(path) as image:
            return np.asarray(image.convert("L"))

    for width in (1000, 500):
        light = shown(width)
        dark = shown(width, "--blink-settings=preferredColorScheme=0")
        assert light[:5].mean() > 240
        assert dark[:5].mean() < 40
        for image in (light, dark):
            assert image.std() > 20  # drawn on
