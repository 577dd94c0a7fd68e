"""`passmuster plan --output-dir DIR`: the plan as files, for those who review changes in a pull request and deploy them
by a pipeline of their own.

::

    DIR/plan.md                               for the pull request: every step, the totals, how to apply and undo
    DIR/<n-phase>/<name of the step>/
        template.yaml, parameters.json        a stack of its own
        patch.yaml or patch.hcl               lines for the template or configuration that owns the resource
        guide.md                              the same change by a person
        attestation.yaml, ...                 documents of the remediation, filled in
    DIR/.passmuster-plan                      what was written, so that the next run replaces it and nothing else

The same plan gives the same bytes: there is no time and no order of chance in them.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from passmuster.api.remediation import Way
from passmuster.assess.plan import Plan, Step
from passmuster.cli import totals
from passmuster.engine.documents import tenths
from passmuster.inventory.arn import short_name
from passmuster.model.errors import UserError
from passmuster.model.report import Report
from passmuster.model.verdict import Phase, level_order
from passmuster.remediation.catalogue import load
from passmuster.remediation.definition import Operation
from passmuster.remediation.ownership import OwnerKind
from passmuster.remediation.pricing import Position
from passmuster.remediation.rendering import Proposal
from passmuster.report.writing import code, codes, fenced, guide, inert, table

LIST = ".passmuster-plan"
PLAN = "plan.md"
TEMPLATE, PARAMETERS, GUIDE = "template.yaml", "parameters.json", "guide.md"
PATCHES = {Way.OWNER_STACK: "patch.yaml", Way.PATCH: "patch.hcl"}
RESERVED = frozenset({TEMPLATE, PARAMETERS, GUIDE, *PATCHES.values()})
"""Names in the folder of a step that no document of a remediation may have."""

_HEAD = "# Written by passmuster plan, which replaces these files and no others."


def owner_in_words(proposal: Proposal) -> str:
    """Who owns what is changed: a stack, a tool or nobody; `new` where nothing is there yet, else a dash."""
    owner = proposal.owner
    if owner is None:
        return "new" if proposal.way is Way.ADDITIVE_STACK else "-"
    match owner.kind:
        case OwnerKind.STACK:
            return f"stack {owner.name}" + (f", {owner.logical_id}" if owner.logical_id else "")
        case OwnerKind.TOOL:
            return owner.name
        case OwnerKind.NOBODY:
            return "nobody"


def files(report: Report, plan: Plan, title: str) -> dict[str, str]:
    """Every file by its path below the folder, with its text; a blocked step has none."""
    written = {PLAN: "\n".join(_plan(report, plan, title)) + "\n"}
    for step in plan.steps:
        if step.blocked is None:
            written |= {f"{folder_of(step)}/{name}": text for name, text in step_files(step.proposal).items()}
    return written


def folder_of(step: Step) -> str:
    """The folder of a step: stable whatever else the plan holds."""
    return f"{step.proposal.definition.phase.folder}/{step.proposal.name}"


def step_files(proposal: Proposal) -> dict[str, str]:
    """What a step's way has, by file name."""
    found = dict(sorted(proposal.documents.items()))
    if proposal.body:
        found[TEMPLATE] = proposal.body
        given = [{"ParameterKey": k, "ParameterValue": v} for k, v in sorted(proposal.parameters.items())]
        found[PARAMETERS] = json.dumps(given, indent=2, ensure_ascii=False) + "\n"
    patch = PATCHES.get(proposal.way)
    if patch is not None and proposal.instructions.patch:
        found[patch] = proposal.instructions.patch
    if proposal.instructions.console or proposal.instructions.cli:
        found[GUIDE] = "\n".join(_guide(proposal)) + "\n"
    return found


def write(folder: Path, wanted: Mapping[str, str]) -> None:
    """Writes the files, and removes those of an earlier run that are no longer wanted.

    Raises UserError, before anything is written, for a folder that holds something and was not written by us, and for
    a file in the way that is not ours.
    """
    with _reachable(folder):
        known = _known(folder)
        foreign = sorted(path for path in wanted if path not in known and (folder / path).exists())
        if foreign:
            raise UserError(f"{folder / foreign[0]} is in the way and was not written by passmuster plan: move it")
        folder.mkdir(parents=True, exist_ok=True)
        _note(folder, {*known, *wanted})
        for path in sorted(known - set(wanted)):
            _remove(folder, path)
        for path, text in sorted(wanted.items()):
            place = folder / path
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(text.encode())
        _note(folder, wanted)


def demand_ours(folder: Path) -> None:
    """Makes sure, before anything is inspected, of a folder that is empty, ours, or not there yet.

    Raises UserError for any other.
    """
    with _reachable(folder):
        _known(folder)


@contextmanager
def _reachable(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        place = error.filename or folder
        raise UserError(f"--output-dir: {place} cannot be written: {error.strerror}; choose another folder") from error


def _known(folder: Path) -> set[str]:
    """What an earlier run wrote. Raises UserError for a folder that is not empty and not ours."""
    if not folder.exists():
        return set()
    if not folder.is_dir():
        raise UserError(f"--output-dir {folder} is no folder: name one that is empty or not there yet")
    if not (folder / LIST).is_file():
        if any(folder.iterdir()):
            raise UserError(
                f"--output-dir {folder} holds files that passmuster plan did not write: name a folder that is empty, "
                "not there yet, or was written by it before"
            )
        return set()
    lines = (folder / LIST).read_text(encoding="utf-8", errors="replace").splitlines()
    paths = {line for line in lines if line and not line.startswith("#")}
    astray = sorted(path for path in paths if PurePosixPath(path).is_absolute() or ".." in PurePosixPath(path).parts)
    if astray:
        raise UserError(f"{folder / LIST} names {astray[0]}, which is outside of the folder: remove that line")
    return paths


def _note(folder: Path, paths: Iterable[str]) -> None:
    (folder / LIST).write_bytes(("\n".join([_HEAD, *sorted(paths)]) + "\n").encode())


def _remove(folder: Path, path: str) -> None:
    """A file of an earlier run, with the folders that it leaves empty."""
    place = folder / path
    place.unlink(missing_ok=True)
    for parent in PurePosixPath(path).parents:
        left = folder / parent
        if parent == PurePosixPath() or not left.is_dir() or any(left.iterdir()):
            return
        left.rmdir()


def _guide(proposal: Proposal) -> Iterator[str]:
    yield f"# {proposal.definition.title}"
    yield ""
    yield f"Account {proposal.account_id}, {proposal.region}: {code(proposal.target)}"
    if proposal.way in PATCHES and proposal.owner is not None:
        name = inert(proposal.owner.name)
        owner = f"the stack {name}" if proposal.owner.kind is OwnerKind.STACK else name
        better = f" Merge {PATCHES[proposal.way]} there instead." if proposal.instructions.patch else ""
        yield ""
        yield f"The resource belongs to {owner}, whose next deployment may revert what is changed past it.{better}"
    yield from guide(proposal.instructions.console, proposal.instructions.cli, "bash")
    yield ""
    yield f"Undo: {proposal.definition.undo}"


def _plan(report: Report, plan: Plan, title: str) -> Iterator[str]:
    numbered = list(enumerate(plan.steps, start=1))
    yield f"# {inert(title)}: from {report.level} to {report.declared}"
    yield ""
    yield (
        f"Account {report.account_id}, {', '.join(report.regions)}: level {report.level}, score "
        f"{tenths(report.score)}. {len(numbered)} steps, {totals.whole(plan)}."
    )
    yield from _upto_declared(report, plan)
    yield ""
    yield (
        f"Run the commands below in the folder of this file, with credentials of the account {report.account_id}. "
        "Steps stand in the order in which they build on each other."
    )
    yield ""
    yield "## Cost"
    yield ""
    rows = [_total_row(total.phase.value if total.phase else "", total) for total in totals.phases(plan)]
    rows.append(_total_row("**All**", totals.whole(plan)))
    yield from table(("Phase", "Steps", "A month", "If nothing were blocked", "Steps with usage"), rows)
    yield ""
    yield "## Steps"
    yield ""
    header = (
        "#",
        "Phase",
        "Step",
        "Resource",
        "Owner",
        "Way",
        "Cost a month",
        "Risk",
        "Level and score then",
        "Digest",
    )
    yield from table(header, (_step_row(number, step) for number, step in numbered), inert)
    for number, step in numbered:
        yield ""
        yield from _step(number, step)
    if plan.by_hand:
        yield ""
        yield "## What is left"
        yield ""
        yield "These checks fail still when every step above is made:"
        yield ""
        yield from (f"- `{check}`: {why}" for check, why in left_over(plan))


def _upto_declared(report: Report, plan: Plan) -> Iterator[str]:
    """What of the plan leads to the declared level, where other steps lead beyond it."""
    declared = [phase for phase in Phase if level_order(phase.value) <= level_order(report.declared)]
    steps = tuple(step for step in plan.steps if step.proposal.definition.phase in declared)
    if steps and len(steps) < len(plan.steps):
        rest = len(plan.steps) - len(steps)
        yield ""
        yield (
            f"{_counted(len(steps))} for {report.declared}: {totals.PhaseTotal(None, steps)}. The other "
            f"{_counted(rest)} beyond it."
        )


def _counted(steps: int) -> str:
    return "1 step is" if steps == 1 else f"{steps} steps are"


def left_over(plan: Plan) -> Iterator[tuple[str, str]]:
    """Each failing check that no step of the plan makes pass, and what leads on."""
    for result in plan.by_hand:
        blocked = [str(n) for n, step in enumerate(plan.steps, start=1) if result.id in step.proposal.fixes]
        offers = [one for one in load().fixing(result.id) if one.way is not Way.GUIDE]
        first = dict.fromkeys(check for one in offers for check in one.requires if check != result.id)
        if blocked:
            yield result.id, f"{'steps' if len(blocked) > 1 else 'step'} {', '.join(blocked)}, blocked so far"
        elif first:
            yield result.id, f"a step is proposed once {codes(first)} {'pass' if len(first) > 1 else 'passes'}"
        elif offers:
            yield result.id, "a step is proposed once the account has what it builds on"
        else:
            yield result.id, f"by hand; `passmuster checks {result.id}` says how it is judged"


def _total_row(name: str, total: totals.PhaseTotal) -> Sequence[str]:
    after = total.monthly + total.blocked
    return name, str(len(total.steps)), f"${total.monthly:.2f}", f"${after:.2f}", str(total.unpriced)


def _step_row(number: int, step: Step) -> Sequence[str]:
    proposal, definition = step.proposal, step.proposal.definition
    then = "blocked" if step.blocked is not None else f"{step.level_after}, {tenths(step.score_after)}"
    cost = totals.of_step(step)
    digest = f"`{proposal.digest.removeprefix('sha256:')[:12]}`"
    phase, owner, way = definition.phase.value, owner_in_words(proposal), proposal.way.value
    about = "-" if proposal.target == proposal.account_id else short_name(proposal.target)
    return str(number), phase, definition.title, about, owner, way, cost, str(definition.risk), then, digest


def _step(number: int, step: Step) -> Iterator[str]:
    proposal, definition = step.proposal, step.proposal.definition
    yield f"### {number}. {inert(definition.title)}"
    yield ""
    yield " ".join(definition.description.split())
    yield ""
    yield f"- Name: `{proposal.name}`, in {proposal.region}, of {code(proposal.target)}"
    yield f"- Fixes: {codes(proposal.fixes)}"
    if step.waits_for:
        yield f"- Needs first: {codes(step.waits_for)} to pass"
    yield f"- Interrupts: {definition.interrupts}"
    if definition.leads_to:
        yield f"- Leads to: {codes(definition.leads_to)}, which may ask for more then"
    for position in proposal.cost.positions:
        yield f"- Costs: {position.title}, {_price(position)}"
    yield f"- Digest: `{proposal.digest}`"
    if proposal.changes:
        yield ""
        yield from fenced("diff", map(_diff, proposal.changes))
    yield ""
    if step.blocked is not None:
        yield f"**Blocked**: {inert(step.blocked.message)}. There are no files for it yet."
        return
    folder = folder_of(step)
    names = ", ".join(f"[{name}]({folder}/{name})" for name in sorted(step_files(proposal)))
    yield f"Files: {names or 'none'}"
    yield ""
    yield from _commands(step, folder)


def _price(position: Position) -> str:
    if position.once is not None:
        return f"${position.once:.2f} once"
    return "depends on usage" if position.monthly is None else f"${position.monthly:.2f} a month"


def _diff(change: str) -> str:
    """A change in words as a diff shows it: what is changed stands with `!`, which it colours."""
    return f"!{change[1:]}" if change.startswith("~") else change


def _commands(step: Step, folder: str) -> Iterator[str]:
    proposal, undo = step.proposal, step.proposal.definition.undo
    match proposal.way:
        case Way.ADDITIVE_STACK:
            made = shlex.join(_deploy(proposal, folder))
            deleted = shlex.join([*_aws(proposal, "delete-stack"), "--stack-name", proposal.stack])
            yield from fenced("bash", ("# apply", made, "# undo", deleted))
            if proposal.definition.retains:
                yield ""
                kept = proposal.definition.retains
                hold = "they hold" if len(kept) > 1 else "it holds"
                yield (
                    f"The undo keeps {', '.join(kept)}: {hold} data. To apply the template again after that, make the "
                    "change set with `--import-existing-resources`, or what was kept under a fixed name is in the way."
                )
            return
        case Way.OWNER_STACK | Way.PATCH if proposal.instructions.patch:
            where = "template of the stack" if proposal.way is Way.OWNER_STACK else "configuration that owns it,"
            name = inert(proposal.owner.name) if proposal.owner is not None else ""
            yield f"Apply: merge `{PATCHES[proposal.way]}` into the {where} {name}, and deploy that as always."
        case Way.API_STEP:
            yield f"Apply: follow [{GUIDE}]({folder}/{GUIDE}); note before what is there, to go back to:"
            yield ""
            yield from fenced("bash", dict.fromkeys(_reading(proposal, step.read, step.value) for step in proposal.api))
        case _:
            yield f"Apply: follow [{GUIDE}]({folder}/{GUIDE})."
    yield ""
    yield f"Undo: {undo}"


def _reading(proposal: Proposal, read: Operation, value: str) -> str:
    """The command that tells the value which a step of the API changes."""
    given = ["--cli-input-json", json.dumps(read.arguments, sort_keys=True)] if read.arguments else []
    words = ["aws", read.service, command_of(read.operation), "--region", proposal.region, *given, "--query"]
    plain = "'" in value and not set(value) & set('"$`\\!')
    return f"{shlex.join(words)} " + (f'"{value}"' if plain else shlex.quote(value))


def command_of(operation: str) -> str:
    """An operation as AWS's command line names it: DescribeDBInstances is describe-db-instances."""
    return re.sub("(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "-", operation).lower()


def _deploy(proposal: Proposal, folder: str) -> list[str]:
    command = [*_aws(proposal, "deploy"), "--stack-name", proposal.stack, "--template-file", f"{folder}/{TEMPLATE}"]
    if proposal.parameters:
        command += ["--parameter-overrides", f"file://{folder}/{PARAMETERS}"]
    if proposal.definition.capabilities:
        command += ["--capabilities", *proposal.definition.capabilities]
    if proposal.tags:
        command += ["--tags", *(f"{name}={value}" for name, value in proposal.tags.items())]
    return command


def _aws(proposal: Proposal, operation: str) -> list[str]:
    return ["aws", "cloudformation", operation, "--region", proposal.region]
