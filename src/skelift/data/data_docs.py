"""Great Expectations' Data Docs, made readable without a network.

Its pages ask content delivery networks for their style sheets, scripts and logo, and its index is
empty without them. Here scripts and remote resources go, one small style sheet comes in, and
``index.html`` says what came of every expectation and links to the pages.
"""

import re
import shutil
from collections.abc import Sequence
from html import escape
from pathlib import Path

from skelift.data.rules import Outcome

DROPPED = re.compile(
    r"<script\b.*?</script>|<style\b.*?</style>|<footer\b.*?</footer>|<link\b[^>]*>"
    r"|<img\b[^>]*https?://[^>]*>|<button\b.*?</button>",
    re.DOTALL | re.IGNORECASE,
)
REMOTE_ANCHOR = re.compile(
    r"<a\b[^>]*href=[\"']https?://[^>]*>(.*?)</a>", re.DOTALL | re.IGNORECASE
)

STYLE = """
<style>
  body { font: 15px/1.5 system-ui, sans-serif; margin: 0 auto; max-width: 72rem; padding: 1rem; }
  a { color: #0b5cad; }
  h1, h2, h3, h4, h5, h6 { margin: .6rem 0 .3rem; }
  table { border-collapse: collapse; margin: .5rem 0 1.5rem; width: 100%; }
  th, td { border: 1px solid #ccc; padding: .35rem .6rem; text-align: left; vertical-align: top; }
  .alert { background: #eef1f4; border-radius: 4px; padding: .5rem .8rem; }
  .breadcrumb { display: flex; list-style: none; gap: .5rem; padding: 0; }
  .breadcrumb li + li::before { content: "/ "; }
  .sticky, .cooltip .top, [data-toggle="collapse"], [hidden] { display: none; }
  .fa-check-circle::before, .fa-check::before { content: "\\2713"; }
  .fa-times::before, .fa-exclamation-triangle::before { content: "\\2717"; }
  .text-success, .passed { color: #18794e; }
  .text-danger, .failed { color: #b42318; }
</style>
"""


def make_offline(folder: Path, title: str, rows: Sequence[Outcome]) -> None:
    """Rewrite the Data Docs in a folder so that they need nothing else; write their index."""
    for page in folder.rglob("*.html"):
        html = DROPPED.sub("", page.read_text(encoding="utf-8"))
        html = REMOTE_ANCHOR.sub(r"\1", html)
        page.write_text(html.replace("</head>", f"{STYLE}</head>", 1), encoding="utf-8")
    shutil.rmtree(folder / "static", ignore_errors=True)
    (folder / "index.html").write_text(_index(folder, title, rows), encoding="utf-8")


def _index(folder: Path, title: str, rows: Sequence[Outcome]) -> str:
    pages = {
        page.relative_to(folder / "validations").parts[0]: page.relative_to(folder).as_posix()
        for page in (folder / "validations").rglob("*.html")
    }
    failed = sum(row.stops for row in rows)
    verdict = f"{failed} of {len(rows)} expectations failed" if failed else "All expectations hold"
    lines = "".join(
        f'<tr><td class="{"failed" if row.stops else "passed"}">{_sign(row)}</td>'
        f"<td>{escape(row.rule.says)}</td>"
        f'<td><a href="{escape(pages[row.rule.table])}">{escape(row.rule.table)}</a></td>'
        f"<td>{row.rows}</td><td>{row.unexpected}</td>"
        f"<td>{'<br>'.join(map(escape, row.examples))}</td></tr>\n"
        for row in rows
    )
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        f"<title>{escape(title)}</title>{STYLE}</head><body><h1>{escape(title)}</h1>"
        f'<p class="{"failed" if failed else "passed"}">{verdict}.</p>\n'
        "<table><tr><th></th><th>Expectation</th><th>Table</th><th>Rows</th><th>Unexpected</th>"
        f"<th>Such as</th></tr>\n{lines}</table></body></html>\n"
    )


def _sign(row: Outcome) -> str:
    if row.success:
        return "&#10003;"
    return "&#10007;" if row.stops else "warning"
