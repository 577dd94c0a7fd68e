"""A page for every check, generated from its declaration, its remediations and the steps by hand.

`make crds` writes them to docs/checks/, `passmuster checks ID` prints the same, reports link them. A new check needs
nothing here: whatever a page says is in the check's module, in the folder of a remediation, or in `by_hand.yaml`.
"""

from __future__ import annotations

import importlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from typing import Any

import yaml

from passmuster.aws.collector import DEFAULT_MAX_AGE
from passmuster.checks import catalogue
from passmuster.checks.declaration import Check
from passmuster.checks.judge import calls_of
from passmuster.inventory.call import Call, Where, union
from passmuster.inventory.permissions import actions
from passmuster.model.documentation import DOCUMENTATION
from passmuster.model.parameter import Kind, Parameter, Stricter
from passmuster.model.verdict import Fix, Severity
from passmuster.remediation import catalogue as remediations
from passmuster.remediation.definition import Definition
from passmuster.remediation.pricing import prices
from passmuster.report.controls import Link, best_practices, config_rules, security_hub_controls
from passmuster.report.phrasing import counted, listed, span
from passmuster.report.writing import codes, fenced, guide, numbered, sections, table

FOLDER = "docs/checks"
"""Where the pages are written in a checkout."""

ADDRESS = DOCUMENTATION + "/checks/{check}/"
"""Where the pages are served, unless `--docs-url` says otherwise."""

GENERATED = "<!-- Generated from the catalogue of checks by `make crds`: change the check, not this page. -->"

_WAYS = {
    Fix.ADDITIVE: "by new resources; nothing that exists is touched",
    Fix.IN_PLACE: "by changing a resource in place",
    Fix.PROPOSAL: "by a proposal to the owner, who decides",
    Fix.ATTESTATION: "by an attestation of people",
}
_DIRECTIONS = {
    Stricter.LOWER: "lower is stricter",
    Stricter.HIGHER: "higher is stricter",
    Stricter.MORE: "more members are stricter",
    Stricter.FEWER: "fewer members are stricter",
    Stricter.LATER: "later in the list is stricter",
    Stricter.TRUE: "true is stricter",
    Stricter.SAME: "no value is stricter than another",
}
_KINDS = {
    Kind.STRINGS: "list of strings",
    Kind.INTEGERS: "list of integers",
    Kind.STRING_MAP: "map of strings",
    Kind.STRING_LISTS: "map of lists of strings",
}


@dataclass(frozen=True, slots=True)
class Steps:
    """How a person fixes what a check finds: in the console, and with the AWS command line."""

    console: tuple[str, ...]
    cli: tuple[str, ...]


@lru_cache(maxsize=1)
def by_hand() -> Mapping[str, Steps]:
    """The steps by hand, by check id; a check without an entry is fixed by its remediations or its owner."""
    document = yaml.safe_load((files(__package__) / "by_hand.yaml").read_text(encoding="utf-8"))
    return {
        check_id: Steps(tuple(entry.get("console", ())), tuple(entry.get("cli", ())))
        for check_id, entry in document.items()
    }


def pages() -> dict[str, str]:
    """Every file below docs/checks with its content: index.md, and `<id>.md` for each check."""
    known = list(catalogue.load())
    return {"index.md": index(known), **{f"{check.id}.md": page(check) for check in known}}


def address(docs_url: str, check_id: str) -> str:
    """Where the page of a check is served; `docs_url` has `{check}` for the id, or is the folder of the pages.

    >>> address("https://git.example/docs/checks", "https-redirect")
    'https://git.example/docs/checks/https-redirect.md'
    """
    pattern = docs_url or ADDRESS
    if "{check}" not in pattern:
        pattern = pattern.rstrip("/") + "/{check}.md"
    return pattern.replace("{check}", check_id)


def folder_of(definition: Definition) -> str:
    """Where a remediation stands in a checkout."""
    return f"remediations/{definition.phase.folder}/{definition.name}"


def index(checks: Sequence[Check]) -> str:
    """The table of all checks."""
    rows = (
        (
            f"[{check.id}]({check.id}.md)",
            check.title + (" (optional)" if check.optional else ""),
            check.phase.value,
            check.severity.value,
            ", ".join(category.value for category in check.categories),
            "".join(fix.value for fix in check.fix),
        )
        for check in checks
    )
    lines = [
        GENERATED,
        "",
        "# The readiness checks",
        "",
        f"{counted(len(checks), 'check')}, in the order of the phases. Fix: A additive, I in place, P proposal, T",
        "attestation. `passmuster checks` prints this table, `passmuster checks ID` one page.",
        "",
        *table(("check", "it passes when", "phase", "severity", "category", "fix"), rows),
    ]
    return "\n".join(lines) + "\n"


def page(check: Check) -> str:
    """The page of one check, as Markdown."""
    return "\n".join([GENERATED, "", *explained(check)]) + "\n"


def explained(check: Check, *, narrow: bool = False) -> Iterator[str]:
    """The lines of the page, which the terminal shows too: `narrow`, because it cuts names in wide tables short."""
    facts = [f"`{check.id}`", check.phase.value, check.severity.value, *(c.value for c in check.categories)]
    yield f"# {check.title}"
    yield ""
    yield " · ".join(facts + (["optional"] if check.optional else []))
    yield ""
    yield from check.description.splitlines()
    yield from sections(
        (
            ("Verdicts", _verdicts(check)),
            ("Parameters", _parameters(check)),
            ("What it reads", _reads(check, narrow=narrow)),
            ("How to fix it", _fix(check)),
            ("Waivers and attestations", _granted(check)),
            ("In the words of others", _controls(check)),
        )
    )


# -- verdicts ----------------------------------------------------------------------------------------------------------


def _verdicts(check: Check) -> Iterator[str]:
    expected = _expected(check)
    passes = f"{check.title}." + (f" Expected: {expected}." if expected else "")
    where = "each governed region is judged by itself" if check.per == "region" else "all governed regions together"
    yield from table(
        ("verdict", "when"),
        (
            ("Pass", passes),
            (
                "Fail",
                f"What applies was read and is not so; the finding names the resource and what was seen ({where}).",
            ),
            ("NotApplicable", " ".join(_not_applicable(check))),
            (
                "Unknown",
                "A read that the verdict depends on was denied, throttled, failed or came too late; the finding names"
                " the operation and the IAM action. Never a pass, never a failure.",
            ),
        ),
    )


def _expected(check: Check) -> str:
    """What the check's module says it expects of every resource, where one phrase says it."""
    phrase = getattr(importlib.import_module(check.module), "EXPECTED", "")
    return phrase.strip(".") if isinstance(phrase, str) else ""


def _not_applicable(check: Check) -> Iterator[str]:
    if check.optional:
        yield "The policy does not ask for this optional check."
    if check.nothing:
        yield f"{check.nothing}."
    if check.payer or check.payer_calls:
        yield "The account is a member of an organization and no payer account is named (JudgedInPayerAccount)."
    yield "The partition or region does not offer the service."


# -- parameters --------------------------------------------------------------------------------------------------------


def _parameters(check: Check) -> Iterator[str]:
    if not check.parameters:
        return
    yield from table(
        ("parameter", "type", "default", "direction", "meaning"),
        (
            (f"`{one.name}`", _kind(one), _default(one), _DIRECTIONS[one.stricter], one.description)
            for one in check.parameters
        ),
    )
    yield ""
    yield "A policy sets them under `spec.checks.parameters`; below the account's `floors` the floor is used."
    example = next((one for one in check.parameters if one.default is not None), None)
    if example is not None:
        given = {"spec": {"checks": {"parameters": {check.id: {example.name: _jsonable(example.default)}}}}}
        yield ""
        yield from fenced("yaml", yaml.safe_dump(given, sort_keys=False, width=100).rstrip().splitlines())


def _kind(one: Parameter) -> str:
    if one.choices:
        return " or ".join(f"`{choice}`" for choice in one.choices)
    bounds = [f"at least {one.minimum}"] if one.minimum is not None else []
    bounds += [f"at most {one.maximum}"] if one.maximum is not None else []
    return ", ".join([_KINDS.get(one.kind, one.kind.value), *bounds])


def _default(one: Parameter) -> str:
    return "unset" if one.default is None else f"`{json.dumps(_jsonable(one.default), ensure_ascii=False)}`"


def _jsonable(value: Any) -> Any:
    return json.loads(json.dumps(value, default=list))


# -- reads -------------------------------------------------------------------------------------------------------------


def _reads(check: Check, *, narrow: bool) -> Iterator[str]:
    """What is read, as a table, or as a list where there is no room for one."""
    rows = [(codes([call.name]), codes(actions(call)), _where(call), _age(call)) for call in union(calls_of(check))]
    if narrow:
        yield from (f"- {call} ({action}): {where}; read again after {age}" for call, action, where, age in rows)
    else:
        yield from table(("operation", "IAM action", "where", "read again after"), rows)
    yield ""
    yield f"`passmuster iam-policy --check {check.id}` prints the policy that permits exactly these."


def _where(call: Call) -> str:
    places = {Where.GLOBAL: "once for the account", Where.CONTROL: "the partition's control region"}
    told = places.get(call.scope, "every governed region")
    return f"{told}, where {codes([call.each.name])} finds what it is about" if call.gated and call.each else told


def _age(call: Call) -> str:
    least = span(call.freshness) if call.freshness is not None else "the policy's interval"
    if call.gated:
        return f"{least}, or when there is something new"
    if call.each is None or call.by_age_alone:
        return f"{least}; AWS charges ${call.billed:.2f} for a request" if call.billed else least
    most = span(call.max_age or DEFAULT_MAX_AGE)
    told = f"{least} to {most}" if call.freshness is not None else most
    return f"{told}, or when what it belongs to changed"


# -- fixing ------------------------------------------------------------------------------------------------------------


def _fix(check: Check) -> Iterator[str]:
    yield f"It can be fixed {listed([_WAYS[way] for way in check.fix])} ({''.join(way.value for way in check.fix)})."
    steps = by_hand().get(check.id)
    if steps is not None and steps.console:
        yield ""
        yield "### In the console"
        yield ""
        yield from numbered(steps.console)
    if steps is not None and steps.cli:
        yield ""
        yield "### With the AWS command line"
        yield ""
        yield from fenced("bash", steps.cli)
    for definition in remediations.load().fixing(check.id):
        yield ""
        yield from _remediation(definition)


def _remediation(definition: Definition) -> Iterator[str]:
    folder = folder_of(definition)
    yield f"### By the remediation {definition.name}"
    yield ""
    yield " ".join(definition.description.split())
    yield ""
    rows = [
        ("way", "decided for each resource by who owns it" if definition.way is None else definition.way.value),
        ("fixes", ", ".join(f"[{one}]({one}.md)" for one in definition.fixes)),
        ("waits for", ", ".join(f"[{one}]({one}.md)" for one in definition.requires) or "nothing"),
        ("inputs", "; ".join(f"`{one.name}`: {one.description}" for one in definition.inputs) or "none"),
        ("costs", _costs(definition)),
        ("risk", definition.risk),
        ("interrupts", definition.interrupts),
        ("undo", definition.undo),
        ("files", f"[{folder}](../../{folder}/)"),
    ]
    yield from table(("of the change", "as declared"), rows)
    yield ""
    yield (
        "`passmuster plan` shows it for your account; in mode Propose or Apply the operator makes a Remediation of it, "
        "which `passmuster approve` approves."
    )
    if definition.template and not definition.capabilities:
        yield ""
        yield "The same stack by hand, with the parameters that `passmuster plan --output json` shows:"
        yield ""
        deploy = f"aws cloudformation deploy --stack-name {definition.name} --template-file {folder}/template.yaml"
        yield from fenced("bash", [deploy])
    if definition.guide is not None:
        yield ""
        yield "By hand, with the names that the plan fills in:"
        yield from guide(definition.guide.console, definition.guide.cli, "text")


def _costs(definition: Definition) -> str:
    known = prices()
    parts = []
    for item in definition.cost:
        price = known.get(item.key)
        if price is None:
            parts.append(f"{item.key}, which has no price")
        elif item.quantity is None or price.dollars is None:
            parts.append(f"{price.title}, by usage")
        else:
            each = f", for each of {' and '.join(item.times)}" if item.times else ", once" if item.once else ""
            parts.append(f"{item.quantity:g} x {price.title} at ${price.dollars.normalize():f} a {price.unit}{each}")
    return "; ".join(parts) or "nothing"


def _granted(check: Check) -> Iterator[str]:
    needed = "two approvals, because the check is Critical" if check.severity is Severity.CRITICAL else "one approval"
    yield "A failure can be accepted for a time by a ReadinessWaiver, which counts with " + needed + "."
    yield "A waived failure is in no score."
    yield ""
    if check.attestable is None:
        yield "An attestation is not accepted: only what AWS reports counts."
    else:
        part = " in place of one part of it, which the check names" if check.weighs_attestation else ""
        yield f"A ReadinessAttestation is accepted{part} for at most {counted(check.attestable.days, 'day')}, with one"
        yield "approval. What AWS reports counts first."


def _controls(check: Check) -> Iterator[str]:
    named = (
        ("AWS Config", config_rules(check.controls.config)),
        ("Security Hub", security_hub_controls(check.controls.security_hub)),
        ("Well-Architected", best_practices(check.controls.well_architected)),
    )
    yield from (f"- {name}: {_links(links)}" for name, links in named if links)


def _links(links: Iterable[Link]) -> str:
    return ", ".join(f"[{link.name}]({link.url})" for link in links)
