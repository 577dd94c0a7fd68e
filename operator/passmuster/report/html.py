"""The report as one HTML file that loads nothing: for a browser, for paper and for an auditor's archive.

Called by the command line and by whoever stores reports. The layout is `template.html.j2` with `style.css`; the content
is `content`. No script, no external address; colours follow the reader's scheme and every status is a word.
"""

from __future__ import annotations

import re
from functools import lru_cache

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from passmuster.assess.changes import Changes
from passmuster.assess.plan import Plan
from passmuster.model.report import Report
from passmuster.report import content, phrasing
from passmuster.report.content import Limits, PlanEntry

MOST_BYTES = 300_000
"""Size that a report stays under by writing out fewer rows; every check, verdict and sum is always there."""

_SIZES = (
    Limits(),
    Limits(folded=10),
    Limits(folded=7),
    Limits(folded=5),
    Limits(folded=3),
    Limits(folded=2, steps=50),
    Limits(rows=10, folded=1, steps=50),
    Limits(rows=5, folded=0, steps=25),
    Limits(rows=2, folded=0, steps=10),
)
_ARN = re.compile(r"(arn:[a-z-]+:[a-z0-9-]*:[a-z0-9-]*:[0-9]*:)(.+)", re.DOTALL)


def render(
    report: Report,
    plan: Plan | PlanEntry | None,
    *,
    title: str = "",
    changes: Changes | None = None,
    docs_url: str = "",
) -> str:
    """The whole report as an HTML document; the same arguments give the same bytes.

    `title` names the subject, for example the policy; without it the account's id does. `plan` None leaves out what to
    do next, `changes` None what changed. `docs_url` is where the pages of the checks are served, as `pages.address`
    takes it.
    """
    template = _environment().get_template("template.html.j2")
    text = ""
    for limits in _SIZES:
        text = template.render(doc=content.document(report, plan, title, limits, changes, docs_url))
        if len(text.encode()) < MOST_BYTES:
            break
    return text


@lru_cache(maxsize=1)
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("passmuster.report", ""),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters.update(
        arn=_arn, counted=phrasing.counted, dollars=phrasing.dollars, listed=phrasing.listed, prose=_prose
    )
    return environment


def _prose(text: str) -> Markup:
    """Text with its `code` marked up."""
    parts = text.split("`")
    if len(parts) % 2 == 0:
        return escape(text)
    marked = [Markup("<code>{}</code>").format(part) if n % 2 else escape(part) for n, part in enumerate(parts)]
    return Markup("").join(marked)


def _arn(resource: str) -> Markup:
    """A resource with the part of its ARN that every resource of the account shares set back."""
    match = _ARN.fullmatch(resource)
    return Markup("<i>{}</i>{}").format(match[1], match[2]) if match else escape(resource)
