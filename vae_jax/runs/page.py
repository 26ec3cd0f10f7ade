"""Pages: one self-contained HTML file, readable on a phone, in light and in dark."""

import base64
from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path

from vae_jax.runs.files import reading

_STYLE = """
:root { color-scheme: light dark; --text: #1b1f24; --quiet: #57606a; --page: #ffffff;
  --panel: #f3f5f7; --line: #d5dae0; --link: #0b57d0; }
@media (prefers-color-scheme: dark) { :root { --text: #e4e7eb; --quiet: #a3acb8; --page: #14171b;
  --panel: #1f242a; --line: #3a424c; --link: #8ab4f8; } }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 1.5rem 1rem 4rem; max-width: 56rem; color: var(--text);
  background: var(--page); font: 16px/1.55 system-ui, sans-serif; overflow-wrap: break-word; }
h1 { font-size: 1.6rem; line-height: 1.25; margin: 0 0 .3rem; }
h2 { font-size: 1.2rem; margin: 2.2rem 0 .6rem; border-bottom: 1px solid var(--line); }
p.quiet, td.quiet, figcaption { color: var(--quiet); }
a { color: var(--link); }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th, td { text-align: left; vertical-align: top; padding: .3rem .7rem .3rem 0;
  border-bottom: 1px solid var(--line); }
td.number { text-align: right; white-space: nowrap; }
figure { margin: 1rem 0; }
figure img { max-width: 100%; height: auto; background: #ffffff; border-radius: 4px; }
pre { background: var(--panel); padding: .8rem; overflow-x: auto; border-radius: 4px;
  font-size: .85rem; }
pre.words { white-space: pre-wrap; }
summary { cursor: pointer; }
@media (max-width: 40rem) {
  .prose, .prose tbody, .prose tr, .prose td { display: block; }
  .prose th { display: none; }
  .prose tr { border-bottom: 1px solid var(--line); padding: .5rem 0; }
  .prose td { border: 0; padding: 0; }
  .prose td:first-child { font-weight: 600; }
  .prose td.number { text-align: left; }
}
"""


def document(title: str, subtitle: str, sections: Iterable[str]) -> str:
    """A page with a title, a line below it, and sections of HTML."""
    return "\n".join(
        [
            '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f"<title>{escape(title)}</title>\n<style>{_STYLE}</style>\n</head>\n<body>",
            f'<h1>{escape(title)}</h1>\n<p class="quiet">{escape(subtitle)}</p>',
            *sections,
            "</body>\n</html>\n",
        ]
    )


def section(title: str, *parts: str) -> str:
    """A heading and the HTML below it; nothing if there is no HTML."""
    body = "\n".join(part for part in parts if part)
    return f"<section>\n<h2>{escape(title)}</h2>\n{body}\n</section>" if body else ""


def paragraph(text: str) -> str:
    """A paragraph of plain text."""
    return f"<p>{escape(text)}</p>"


def table(
    header: Sequence[str],
    rows: Iterable[Sequence[str]],
    numbers: Sequence[int] = (),
    *,
    prose: bool = False,
) -> str:
    """A table.

    Args:
      header: names of the columns.
      rows: rows of cells, which are plain text, or HTML if they are `Html`.
      numbers: indices of columns of numbers.
      prose: whether cells are sentences, which a narrow page shows below each other.
    """
    lines = ["".join(f"<th>{escape(name)}</th>" for name in header)] if any(header) else []
    for row in rows:
        lines.append(
            "".join(
                f'<td class="number">{_cell(cell)}</td>'
                if column in numbers
                else f"<td>{_cell(cell)}</td>"
                for column, cell in enumerate(row)
            )
        )
    inside = "\n".join(f"<tr>{line}</tr>" for line in lines)
    kind = ' class="prose"' if prose else ""
    return f'<div class="scroll"><table{kind}>\n{inside}\n</table></div>'


class Html(str):
    """Text that is HTML already."""


def link(text: str, target: str) -> Html:
    """A link to a file beside the page."""
    return Html(f'<a href="{escape(target, quote=True)}">{escape(text)}</a>')


def figure(path: Path, caption: str) -> str:
    """A PNG file, embedded in the page; nothing if there is no file.

    Raises:
      BadInputError: the file cannot be read.
    """
    if not path.exists():
        return ""
    with reading(path):
        content = base64.b64encode(path.read_bytes()).decode()
    return (
        f'<figure><img alt="{escape(caption, quote=True)}" src="data:image/png;base64,{content}">'
        f"<figcaption>{escape(caption)}</figcaption></figure>"
    )


def code(text: str) -> str:
    """Lines of code."""
    return f"<pre>{escape(text)}</pre>"


def words(text: str) -> str:
    """Text that keeps its line breaks."""
    return f'<pre class="words">{escape(text)}</pre>'


def details(title: str, inside: str) -> str:
    """HTML that is shown when its title is clicked."""
    return f"<details><summary>{escape(title)}</summary>\n{inside}\n</details>"


def _cell(text: str) -> str:
    return text if isinstance(text, Html) else escape(text)
