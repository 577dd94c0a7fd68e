"""A page for every remediation and the table of all, generated from the folders of the catalogue.

`make crds` writes them to docs/remediations/. A new folder needs nothing here: whatever a page says stands in its
`remediation.yaml` and `template.yaml`. What the tests proved of each is handed in: an installation has no tests.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence

from passmuster.api.remediation import WaitsFor, Way
from passmuster.checks import catalogue
from passmuster.checks.declaration import Check
from passmuster.model.verdict import Fix
from passmuster.remediation import adoption, desired, template
from passmuster.remediation import catalogue as remediations
from passmuster.remediation.adoption import ADOPTABLE
from passmuster.remediation.definition import Definition, Operation, Target
from passmuster.remediation.pricing import PRICED_IN, Price, prices
from passmuster.report.pages import folder_of
from passmuster.report.phrasing import counted, listed, span
from passmuster.report.writing import fenced, guide, sections, table

FOLDER = "docs/remediations"
"""Where the pages are written in a checkout."""

GENERATED = "<!-- Generated from the folders of remediations/ by `make crds`: change the folder, not this page. -->"

IN_PLACE = "InPlace"
"""The way of a folder that leaves it to the owner of the resource."""

BY_PEOPLE = "because people do it"
"""Why no test closes the loop of a guide."""

_WAITS = {
    WaitsFor.SERVICE: "AWS",
    WaitsFor.SCHEDULE: "a schedule of AWS",
    WaitsFor.PERSON: "a person",
}
_FIXES = {
    Fix.ADDITIVE: "additive",
    Fix.IN_PLACE: "in place",
    Fix.PROPOSAL: "proposal",
    Fix.ATTESTATION: "attestation",
}

Unproven = Mapping[str, str]
"""Why the tests close no loop for a remediation, by its name; those that are not named are proven."""


def pages(unproven: Unproven) -> dict[str, str]:
    """Every file below docs/remediations with its content: index.md, and `<name>.md` for each remediation."""
    known = list(remediations.load())
    return {"index.md": index(unproven), **{f"{one.name}.md": page(one, unproven) for one in known}}


def index(unproven: Unproven) -> str:
    """The table of all checks with what fixes each, how, and whether the tests went there and back."""
    known = remediations.load()
    rows = [row for check in catalogue.load() for row in _rows(check, known.fixing(check.id), unproven)]
    executable = [one for one in known if one.way is not Way.GUIDE]
    proven = [one for one in executable if one.name not in unproven]
    lines = [
        GENERATED,
        "",
        "# The remediations",
        "",
        f"{counted(len(known), 'remediation')}: {_count(known, Way.ADDITIVE_STACK)} additive stacks, "
        f"{_count(known, None)} changes in place and {_count(known, Way.GUIDE)} guides. Of the {len(executable)} that "
        f"the operator can carry out, the tests closed the loop of {len(proven)} on a simulated account: the check "
        "fails, the change is proposed, approved, made and settled, the check passes, the change is taken back, the "
        "account is as before and the check fails again. For a change in place the way is decided for each resource "
        "by who owns it: the owner's stack, adoption, an API step, or a patch.",
        "",
        *table(("check", "fix", "remediation", "way", "closed loop proven", "undo proven"), rows),
    ]
    return "\n".join(lines) + "\n"


def _count(known: Iterable[Definition], way: Way | None) -> int:
    return sum(one.way is way for one in known)


def _rows(check: Check, fixing: Sequence[Definition], unproven: Unproven) -> Iterator[Sequence[str]]:
    name, classes = f"[{check.id}](../checks/{check.id}.md)", ", ".join(_FIXES[fix] for fix in check.fix)
    if not fixing:
        yield (name, classes, "none: by hand", "", "", "")
    for one in fixing:
        proof = _proof(one, unproven)
        yield (name, classes, f"[{one.name}]({one.name}.md)", _way(one), proof, proof)


def _way(one: Definition) -> str:
    return IN_PLACE if one.way is None else one.way.value


def _proof(one: Definition, unproven: Unproven) -> str:
    reason = BY_PEOPLE if one.way is Way.GUIDE else unproven.get(one.name)
    return "yes" if reason is None else f"no, {reason}"


def page(one: Definition, unproven: Unproven) -> str:
    """The page of one remediation, as Markdown."""
    return "\n".join([GENERATED, "", *_explained(one, unproven)]) + "\n"


def _explained(one: Definition, unproven: Unproven) -> Iterator[str]:
    yield f"# {one.title}"
    yield ""
    yield f"`{one.name}` · {_way(one)} · {one.phase.value} · risk {one.risk.lower()}"
    yield ""
    yield " ".join(one.description.split())
    yield from sections(
        (
            ("What it does", _does(one)),
            ("What it needs first", _needs(one)),
            ("What it costs", _costs(one)),
            ("What it interrupts, and how long it takes", _takes(one)),
            ("How to undo it", _undo(one)),
            ("By hand", _by_hand(one)),
            ("Whether it was tried", _tried(one, unproven)),
        )
    )


# -- what it does ------------------------------------------------------------------------------------------------------


def _does(one: Definition) -> Iterator[str]:
    yield f"It makes {listed([f'[{check}](../checks/{check}.md)' for check in one.fixes])} pass{_for_whom(one)}."
    lines = list(_changes(one))
    if lines:
        yield ""
        yield from fenced("text", lines)
    yield ""
    folder = folder_of(one)
    yield f"Everything about it is in [{folder}](../../{folder}/)."


def _for_whom(one: Definition) -> str:
    if one.each is not None:
        return ", with one change for each resource that a finding lists"
    return ", with one change for the account" if one.target is Target.ACCOUNT else ", with one change for each finding"


def _changes(one: Definition) -> Iterator[str]:
    if one.template:
        conditions = dict.fromkeys(one.parameters, "given")
        yield from template.changes(one.template, conditions)
    if one.desired is not None:
        words = "; ".join(desired.in_words(one.desired.properties, one.desired.keys))
        yield f"~ {one.desired.type} {one.desired.identifier}: {words}"
    for step in one.api:
        yield f"~ {_call(step.change)}"


def _call(operation: Operation) -> str:
    return f"{operation.service}:{operation.operation} {json.dumps(operation.arguments, sort_keys=True)}"


# -- what it needs -----------------------------------------------------------------------------------------------------


def _needs(one: Definition) -> Iterator[str]:
    for check in one.requires:
        yield f"- [{check}](../checks/{check}.md) passes."
    for given in one.inputs:
        yield f"- `spec.remediation.inputs.{given.name}`: {given.description}"
    if one.capabilities:
        yield f"- The stack makes roles ({', '.join(one.capabilities)}), which its approval includes."
    if one.way is None:
        yield from _permissions_in_place(one)
    if one.way is Way.GUIDE:
        yield "- Somebody who does it: Passmuster shows the steps and changes nothing."


def _permissions_in_place(one: Definition) -> Iterator[str]:
    if one.desired is not None:
        yield "- For a resource of somebody's stack: `allowOwnerStackUpdates` in the policy, or else it is a proposal."
    if one.desired is None or one.desired.type not in ADOPTABLE:
        yield "- For a resource of nobody's stack: `allowApiSteps` in the policy."
    elif one.desired.type in adoption.CALLS and one.api:
        yield (
            "- For a table of nobody's stack whose capacity is provisioned, and which is therefore not adopted: "
            "`allowApiSteps` in the policy."
        )


# -- what it costs -----------------------------------------------------------------------------------------------------


def _costs(one: Definition) -> Iterator[str]:
    if not one.cost:
        yield "Passmuster adds nothing to the bill."
        return
    known = prices()
    rows = []
    for item in one.cost:
        price = known[item.key]
        if item.quantity is not None:
            quantity = f"{item.quantity:g}{', once' if item.once else ''}"
        else:
            quantity = "by usage" if price.dollars is None else f"by usage (`{one.name}/{item.key}`)"
        by = f", for each of {listed(item.times)}" if item.times else ""
        unless = f", unless {item.unless} is given" if item.unless else ""
        rows.append((price.title, f"{quantity}{by}{unless}", _price(price), price.source, price.as_of))
    yield from table(("position", "how many a month", "price", "source", "as of"), rows)
    yield ""
    yield "The plan shows the sum for your region; what depends on usage is named there and never counted as nothing."
    if any(known[item.key].dollars is not None and not known[item.key].everywhere for item in one.cost):
        yield f"Where the price of your region is not known, it takes that of {PRICED_IN} and says so."


def _price(price: Price) -> str:
    """A price with the regions where it is known to be another."""
    if price.dollars is None:
        return f"no single price, by {price.unit}"
    other = [f"${dollars.normalize():f} in {region}" for region, dollars in sorted(price.by_region.items())]
    where = "" if price.everywhere or not price.dollars else f" in {PRICED_IN}"
    return ", ".join([f"${price.dollars.normalize():f} a {price.unit}{where}", *other])


# -- how long, and back ------------------------------------------------------------------------------------------------


def _takes(one: Definition) -> Iterator[str]:
    this = "" if one.interrupts.startswith("nothing") else "this: "
    yield f"It interrupts {this}{one.interrupts.rstrip('.')}."
    yield f"The checks have {span(one.settles)} to pass; meanwhile it waits for {_WAITS[one.waits_for]}."
    if one.leads_to:
        checks = listed([f"[{check}](../checks/{check}.md)" for check in one.leads_to])
        yield f"Because of what is there then, {checks} may ask for more, which is proposed next."


def _undo(one: Definition) -> Iterator[str]:
    yield f"{one.undo[:1].upper()}{one.undo[1:].rstrip('.')}."
    if one.retains:
        yield f"It leaves {listed(one.retains)} behind, which {'hold' if len(one.retains) > 1 else 'holds'} data."
    if one.way is not Way.GUIDE:
        yield f"`passmuster approve --undo` of the Remediation of `{one.name}` has the operator do it."


# -- by hand -----------------------------------------------------------------------------------------------------------


def _by_hand(one: Definition) -> Iterator[str]:
    if one.guide is not None:
        yield "Names in braces are filled in by the plan."
        yield from guide(one.guide.console, one.guide.cli, "text")
    if one.terraform is not None:
        yield ""
        yield "With Terraform:"
        yield ""
        inner = (f"  {line}" if line else "" for line in one.terraform.arguments.splitlines())
        yield from fenced("hcl", [f'resource "{one.terraform.resource}" "..." {{', *inner, "}"])
    for name in one.documents:
        yield ""
        yield f"The proposal brings [{name}](../../{folder_of(one)}/{name})."


def _tried(one: Definition, unproven: Unproven) -> Iterator[str]:
    if one.way is Way.GUIDE:
        yield "Nobody but people can try it."
    elif one.name in unproven:
        yield f"No test closes its loop, {unproven[one.name].rstrip('.')}."
    else:
        yield "The tests go there and back on a simulated account: the check fails, the change is made, the check"
        yield "passes, the change is taken back, and the account is as before."
