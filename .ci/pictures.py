"""Draws the pictures of README.md and docs/index.md anew, from a real run on the simulated account.

Run by hand when what they show has changed: `.venv/bin/python .ci/pictures.py`. The terminal is an SVG of what
`passmuster inspect` printed; the report is what Chromium shows of `passmuster inspect --output html`.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from rich.console import Console
from rich.text import Text

from passmuster.sandbox.accounts import catalogue
from passmuster.sandbox.simulated_aws import SimulatedAWS
from passmuster.sandbox.story import base_environment

ROOT = Path(__file__).resolve().parents[1]
PICTURES = ROOT / "docs" / "pictures"
WIDTH = 112
TITLE = "passmuster inspect -f shop.yaml"
FORMAT = """<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img"
 aria-label="What passmuster inspect prints">
<style>
.{unique_id}-matrix {{
  font-family: ui-monospace, SFMono-Regular, Menlo, Consolas, "DejaVu Sans Mono", monospace;
  font-size: {char_height}px; line-height: {line_height}px;
}}
.{unique_id}-title {{ font-size: 18px; font-weight: bold; font-family: system-ui, sans-serif; }}
{styles}
</style>
<defs>
<clipPath id="{unique_id}-clip-terminal">
<rect x="0" y="0" width="{terminal_width}" height="{terminal_height}" />
</clipPath>
{lines}
</defs>
{chrome}
<g transform="translate({terminal_x}, {terminal_y})" clip-path="url(#{unique_id}-clip-terminal)">
{backgrounds}
<g class="{unique_id}-matrix">
{matrix}
</g>
</g>
</svg>
"""
"""rich's own, without the font that it loads from elsewhere."""


def printed(output: str, manifest: Path, url: str, keys: dict[str, str]) -> str:
    """What `passmuster inspect` prints of the simulated account."""
    command = [sys.executable, "-m", "passmuster.cli.main", "inspect", "-f", str(manifest), "--endpoint-url", url]
    environment = {**os.environ, **keys, "FORCE_COLOR": "1", "COLUMNS": str(WIDTH)}
    ran = subprocess.run([*command, "--output", output], env=environment, capture_output=True, text=True, check=False)
    if ran.returncode not in (0, 1):
        raise SystemExit(ran.stderr)
    return ran.stdout


def first_screen(text: str) -> str:
    """The heading, the first phase that is not complete, and what to do next."""
    heading, first, *_ = text.split("\n\n")
    following = next(part for part in text.split("\n\n") if "Next:" in part)
    return f"{heading}\n\n{first}\n  …\n\n{following.rstrip()}\n"


def terminal(text: str) -> str:
    """An SVG of a terminal with that text."""
    with Path(os.devnull).open("w") as nowhere:
        console = Console(record=True, width=WIDTH, file=nowhere, force_terminal=True, color_system="truecolor")
        console.print(Text.from_ansi(text))
    drawn = console.export_svg(title=TITLE, code_format=FORMAT, unique_id="terminal")
    return re.sub(r"[ \t]+$", "", drawn, flags=re.MULTILINE)


def main() -> int:
    """Writes every picture."""
    PICTURES.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder, SimulatedAWS() as aws:
        seeded = catalogue.SEEDS["review"].build(aws)
        manifest, report = Path(folder) / "shop.yaml", Path(folder) / "report.html"
        manifest.write_text(seeded.manifest, encoding="utf-8")
        keys = dict(base_environment(aws))
        (PICTURES / "terminal.svg").write_text(
            terminal(first_screen(printed("table", manifest, aws.url, keys))), encoding="utf-8"
        )
        report.write_text(printed("html", manifest, aws.url, keys), encoding="utf-8")
        window = ["--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--window-size=1000,980"]
        picture = PICTURES / "report.png"
        subprocess.run(
            ["chromium", *window, f"--user-data-dir={folder}/profile", f"--screenshot={picture}", report.as_uri()],
            check=True,
            capture_output=True,
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
