"""Turns a failing check into one proposed change: parameters filled, the way decided, cost added, digest taken.

A proposal is an *intent*: everything a person approves. The same facts give the same digest; anything that changes
what would happen changes it, and with it the approval is void. Called by assess for the plan and by the engine.
"""

from __future__ import annotations

import hashlib
import json
import re
import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import yaml

from passmuster.api.remediation import Way
from passmuster.inventory.snapshot import Snapshot
from passmuster.model.finding import Finding
from passmuster.model.parameter import Value
from passmuster.model.report import CheckResult, Report
from passmuster.model.verdict import Status
from passmuster.remediation import desired, template
from passmuster.remediation.admission import AdmissionUnread, NotAdmitted, admits, demand_network, demand_reached
from passmuster.remediation.adoption import ADOPTABLE, AdoptionUnread, stays_out
from passmuster.remediation.definition import (
    USAGE,
    ApiStep,
    Definition,
    Desired,
    Filling,
    Operation,
    Place,
    Shape,
    Target,
)
from passmuster.remediation.ownership import MARKERS_OF, NOBODY, OwnerKind, Ownership, OwnerUnread, owner_of
from passmuster.remediation.pricing import Cost, cost
from passmuster.remediation.wording import filled, names, said, text
from passmuster.remediation.zones import ZoneRefused, zone_of

CheckParameters = Mapping[str, Mapping[str, Value]]
"""The parameters of checks, by check, as the policy and the account's floors have them."""

EXECUTABLE = frozenset({Way.ADDITIVE_STACK, Way.OWNER_STACK, Way.ADOPTION, Way.API_STEP})
"""The ways that the operator carries out; proposals of the others are shown and never executed."""

STACK_PREFIX = "passmuster-"
"""How the names of stacks of ours begin, and how the remediation role knows them."""


@dataclass(frozen=True, slots=True)
class Owner:
    """For whom changes are proposed; the names of objects and stacks are a function of it.

    `cluster` and `policy_uid` keep two clusters, and two policies of one name, apart.
    """

    policy: str
    policy_uid: str = ""
    cluster: str = ""
    namespace: str = ""


@dataclass(frozen=True, slots=True)
class Blocked:
    """Why a proposal cannot be carried out yet; the message says what to do."""

    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class Named:
    """A finding that an intent promises to make pass."""

    check: str
    region: str
    resource: str


@dataclass(frozen=True, slots=True)
class Instructions:
    """The same change for people: steps in the console, commands, and the patch for the tool that owns the resource."""

    console: tuple[str, ...] = ()
    cli: tuple[str, ...] = ()
    patch: str = ""


@dataclass(frozen=True, slots=True)
class Proposal:
    """One change, ready to be shown, approved and made.

    `name` is that of the Remediation object, `stack` that of the CloudFormation stack: both stable whatever the intent.
    `body` is the template's text as it is sent, "" without one. `desired` and `api` are those of the definition with
    every name filled in, `owner` who owns the resource, None where the change is not about one that exists.
    `subject` is the load balancer that the change is about, where it is about one, else the target. `documents` are the
    folder's further files, filled in, by name.
    """

    definition: Definition
    name: str
    stack: str
    account_id: str
    region: str
    target: str
    subject: str
    findings: tuple[Named, ...]
    parameters: Mapping[str, str]
    tags: Mapping[str, str]
    body: str
    changes: tuple[str, ...]
    cost: Cost
    digest: str
    template_digest: str | None
    blocked: Blocked | None = None
    way: Way = Way.ADDITIVE_STACK
    owner: Ownership | None = None
    desired: Desired | None = None
    api: tuple[ApiStep, ...] = ()
    instructions: Instructions = Instructions()
    documents: Mapping[str, str] = field(default_factory=dict)

    @property
    def fixes(self) -> tuple[str, ...]:
        """The checks the change makes pass."""
        return self.definition.fixes


class _Missing(Exception):
    def __init__(self, blocked: Blocked) -> None:
        super().__init__(blocked.message)
        self.blocked = blocked


def proposals(
    definition: Definition,
    report: Report,
    snapshot: Snapshot,
    owner: Owner,
    inputs: Mapping[str, Value],
    parameters: CheckParameters | None = None,
) -> Iterator[Proposal]:
    """Every change this remediation would make to the account as it was inspected."""
    results = {result.id: result for result in report.checks}
    first = results.get(definition.fixes[0])
    if first is None or first.disabled or first.status is not Status.FAIL:
        return
    failures = [f for f in first.failures if _has_facts(definition.facts, f)]
    work = _Work(definition, report, snapshot, owner, inputs, parameters or {})
    if definition.each is not None:
        for value, finding in _each(definition.each, failures):
            yield work.proposal(finding, value)
        return
    match definition.target:
        case Target.ACCOUNT:
            if failures:
                yield work.proposal(failures[0], report.account_id)
        case Target.FINDING:
            for finding in failures:
                yield work.proposal(finding, finding.resource)


def expected_usage(definition: Definition, inputs: Mapping[str, Value]) -> dict[str, float]:
    """What the policy expects one change of the remediation to use a month, by key of the price list."""
    given: Mapping[str, float] = inputs.get(USAGE) or {}
    parted = {name.partition("/")[::2]: quantity for name, quantity in given.items()}
    return {key: quantity for (name, key), quantity in parted.items() if name == definition.name}


def _has_facts(wanted: Mapping[str, str], finding: Finding) -> bool:
    """Whether the finding has every fact that is asked for; `*` stands for any value."""
    facts = finding.facts
    return all(facts.get(name) == value or (value == "*" and bool(facts.get(name))) for name, value in wanted.items())


def _each(fact: str, failures: Sequence[Finding]) -> Iterator[tuple[str, Finding]]:
    """Every resource that the fact lists, once for each region, with a finding whose fact is that resource alone."""
    seen: set[tuple[str, str]] = set()
    for finding in failures:
        for value in listed(finding.facts[fact]):
            if (finding.region, value) not in seen:
                seen.add((finding.region, value))
                yield value, replace(finding, facts={**finding.facts, fact: value})


def listed(fact: str) -> list[str]:
    """The values of a fact that lists several."""
    return [value.strip() for value in fact.split(",") if value.strip()]


@dataclass(frozen=True, slots=True)
class _Work:
    """What the changes of one remediation are made from."""

    definition: Definition
    report: Report
    snapshot: Snapshot
    owner: Owner
    inputs: Mapping[str, Value]
    parameters: CheckParameters

    def proposal(self, finding: Finding, target: str) -> Proposal:
        """One change for one finding."""
        definition, report, owner = self.definition, self.report, self.owner
        region = {
            Place.HOME: report.regions[0] if report.regions else self.snapshot.control_region,
            Place.CONTROL: self.snapshot.control_region,
            Place.FINDING: finding.region,
        }[definition.place]
        key = digest_of([owner.cluster, owner.policy_uid, report.account_id, region, definition.name, target])[7:17]
        standing = self._standing(region, key)
        values, blocked = self._values(finding, standing)
        known = {**standing, **values}
        change = self._change(region, known, f"{STACK_PREFIX}{standing['policy'][:60]}-{definition.name}-{key}")
        tags = {str(k): str(v) for k, v in sorted((self.inputs.get("tags") or {}).items())}
        texts = {name: said(value) for name, value in values.items()}
        price = cost(definition.cost, region, texts, expected_usage(definition, self.inputs))
        findings = tuple(sorted(self._named(finding, target), key=lambda n: (n.check, n.region, n.resource)))
        intent: dict[str, Any] = {
            "remediation": definition.name,
            "way": change.way.value,
            "account": report.account_id,
            "region": region,
            "target": target,
            "findings": [[n.check, n.region, n.resource] for n in findings],
            "template": change.template_digest,
            "parameters": texts,
            "tags": tags,
            "changes": list(change.words),
            "capabilities": list(definition.capabilities),
            "monthly": str(price.monthly),
        }
        if price.once:
            intent["once"] = str(price.once)
        if change.owner is not None:
            intent["owner"] = asdict(change.owner)
            intent["desired"] = asdict(change.desired) if change.desired is not None else None
            intent["api"] = [asdict(step) for step in change.api] if change.way is Way.API_STEP else []
        return Proposal(
            definition=definition,
            name=f"{owner.policy[:180].rstrip('.')}-{definition.name}-{key}",
            stack=change.stack,
            account_id=report.account_id,
            region=region,
            target=target,
            subject=finding.facts.get("loadBalancerArn", target),
            findings=findings,
            parameters=texts,
            tags=tags,
            body=change.body,
            changes=change.words,
            cost=price,
            digest=digest_of(intent),
            template_digest=change.template_digest,
            blocked=blocked or change.blocked,
            way=change.way,
            owner=change.owner,
            desired=change.desired,
            api=change.api,
            instructions=change.instructions,
            documents={name: text(body, known) for name, body in definition.documents.items()},
        )

    def _standing(self, region: str, key: str) -> dict[str, Any]:
        """The names that every text may use."""
        return {
            "policy": re.sub(r"[^A-Za-z0-9-]+", "-", self.owner.policy),
            "namespace": self.owner.namespace,
            "account": self.report.account_id,
            "partition": self.snapshot.partition,
            "region": region,
            "key": key,
        }

    def _values(self, finding: Finding, standing: Mapping[str, Any]) -> tuple[dict[str, Any], Blocked | None]:
        """The parameters in their kinds, and what is in the way of the first that could not be filled."""
        checked = self.parameters.get(self.definition.fixes[0], {})
        sources = _Sources(self.report, self.snapshot, self.inputs, checked, finding, standing)
        values: dict[str, Any] = {}
        blocked: Blocked | None = None
        for parameter, filling in self.definition.parameters.items():
            try:
                value = sources.fill(filling)
            except _Missing as missing:
                blocked = blocked or missing.blocked
                continue
            if value is not None:
                values[parameter] = value
        return values, blocked

    def _change(self, region: str, known: Mapping[str, Any], stack: str) -> _Change:
        definition = self.definition
        if definition.template:
            body = definition.template
            for word, replacement in definition.literals.items():
                body = body.replace(word, text(replacement, known))
            texts = {name: said(value) for name, value in known.items() if name in definition.parameters}
            way = definition.way or Way.ADDITIVE_STACK
            words = template.changes(body, texts)
            guide = self._instructions(known, "")
            return _Change(way, stack, words, body=body, template_digest=digest_of(body), instructions=guide)
        if definition.desired is not None:
            return self._in_place(definition.desired, region, known, stack)
        guide = self._instructions(known, "")
        if not definition.api:
            return _Change(Way.GUIDE, stack, (), instructions=guide)
        api = self._steps(known)
        return _Change(Way.API_STEP, stack, tuple(_calls(api)), owner=NOBODY, api=api, instructions=guide)

    def _steps(self, known: Mapping[str, Any]) -> tuple[ApiStep, ...]:
        """The steps that have something to do: one whose optional parameter nobody gave would change nothing."""
        filled_in = [_filled_step(step, known) for step in self.definition.api]
        unknown = set(self.definition.parameters) - set(known)
        return tuple(step for step in filled_in if unknown.isdisjoint(names(step.change.arguments)))

    def _in_place(self, declared: Desired, region: str, known: Mapping[str, Any], stack: str) -> _Change:
        """A change to a resource that exists: who owns it decides the way."""
        wanted = Desired(
            type=declared.type,
            identifier=text(declared.identifier, known),
            arn=text(declared.arn, known),
            properties=filled(declared.properties, known),
            keys=declared.keys,
            model=None if declared.model is None else text(declared.model, known),
        )
        markers = self.parameters.get(MARKERS_OF, {}).get("terraformTags") or {}
        why = None
        try:
            owner = owner_of(self.snapshot, region, wanted.type, wanted.identifier, wanted.arn, markers)
            adopted = owner.name == stack  # by this very change
            if adopted:
                owner = NOBODY
            if owner.kind is OwnerKind.NOBODY and not adopted:
                why = stays_out(self.snapshot, region, wanted.type, wanted.identifier)
        except (OwnerUnread, AdoptionUnread) as unread:
            reason = "OwnerUnread" if isinstance(unread, OwnerUnread) else "FactMissing"
            blocked = Blocked(reason, f"{unread}; without it nothing is changed")
            guide = self._instructions(known, "")
            told = None if isinstance(unread, OwnerUnread) else owner
            return _Change(Way.GUIDE, stack, (), owner=told, desired=wanted, instructions=guide, blocked=blocked)
        api = self._steps(known)
        way = _way_of(owner, bool(api), adoptable=wanted.type in ADOPTABLE and why is None)
        guide = self._instructions(known, self._patch(way, owner, wanted, known))
        if why is not None:
            guide = replace(guide, console=(f"The resource is not adopted into a stack: {why}.", *guide.console))
        return _Change(
            way=way,
            stack=owner.name if way is Way.OWNER_STACK else stack,
            words=tuple(_in_words(way, owner, wanted, api, stack)),
            owner=owner,
            desired=wanted,
            api=api,
            instructions=guide,
        )

    def _patch(self, way: Way, owner: Ownership, wanted: Desired, known: Mapping[str, Any]) -> str:
        if way is Way.OWNER_STACK:
            return "\n".join(_template_patch(owner, wanted))
        hcl = self.definition.terraform
        if hcl is None or way is not Way.PATCH:
            return ""
        quoted = {name: said(value).replace('"', '\\"').replace("${", "$${") for name, value in known.items()}
        lines = text(hcl.arguments, quoted).splitlines()
        indented = "\n".join(f"  {line}" if line else "" for line in lines)
        return f'resource "{hcl.resource}" "..." {{\n{indented}\n}}\n'

    def _instructions(self, known: Mapping[str, Any], patch: str) -> Instructions:
        guide = self.definition.guide
        if guide is None:
            return Instructions(patch=patch)
        quoted = {name: shlex.quote(said(value)) for name, value in known.items()}
        return Instructions(
            console=tuple(text(line, known) for line in guide.console),
            cli=tuple(text(line, quoted) for line in guide.cli),
            patch=patch,
        )

    def _named(self, finding: Finding, target: str) -> Iterator[Named]:
        """The finding that led here, and every other failure that the change ends with it."""
        definition = self.definition
        if definition.each is not None:
            for failure in _failures(self.report, definition.fixes[0]):
                if failure.region == finding.region and target in listed(failure.facts.get(definition.each, "")):
                    yield Named(definition.fixes[0], failure.region, failure.resource)
        else:
            yield Named(definition.fixes[0], finding.region, finding.resource)
        for check_id in definition.fixes[1:]:
            for failure in _failures(self.report, check_id):
                if definition.target is Target.ACCOUNT or failure.resource == finding.resource:
                    yield Named(check_id, failure.region, failure.resource)


@dataclass(frozen=True, slots=True)
class _Change:
    """What a proposal would do, by its way."""

    way: Way
    stack: str
    words: tuple[str, ...]
    body: str = ""
    template_digest: str | None = None
    owner: Ownership | None = None
    desired: Desired | None = None
    api: tuple[ApiStep, ...] = ()
    instructions: Instructions = Instructions()
    blocked: Blocked | None = None


def _way_of(owner: Ownership, has_api: bool, *, adoptable: bool) -> Way:
    match owner.kind:
        case OwnerKind.STACK:
            return Way.OWNER_STACK
        case OwnerKind.TOOL:
            return Way.PATCH
        case OwnerKind.NOBODY:
            if adoptable:
                return Way.ADOPTION
            return Way.API_STEP if has_api else Way.GUIDE


def _in_words(way: Way, owner: Ownership, wanted: Desired, api: Sequence[ApiStep], stack: str) -> Iterator[str]:
    """The change, line by line: + adds, ~ changes, - removes."""
    properties = "; ".join(desired.in_words(wanted.properties, wanted.keys))
    line = f"~ {wanted.type} {wanted.identifier}: {properties}"
    match way:
        case Way.ADOPTION:
            yield f"+ AWS::CloudFormation::Stack {stack} adopts the resource, which stays when the stack is deleted"
            yield line
        case Way.API_STEP:
            yield from _calls(api)
        case Way.OWNER_STACK:
            place = f"resource {owner.logical_id} of the stack {owner.name}" if owner.logical_id else owner.name
            yield f"{line} (in the template: {place})"
        case _:
            yield line


def _template_patch(owner: Ownership, wanted: Desired) -> Iterator[str]:
    """What the template of the resource's stack is to say of it, with a line for all that the properties cannot say."""
    gone = [name for name, value in wanted.properties.items() if value == desired.ABSENT]
    name = owner.logical_id or "LogicalId"
    yield f"# Merge into the resource {name} ({wanted.type}) in the template of the stack {owner.name}."
    if not owner.logical_id:
        yield f"# The stack does not say what it calls it there: look for {wanted.identifier}."
    yield from (f"# {one}: take this property out." for one in gone)
    for one, key in wanted.keys.items():
        yield f"# {one}: add these members, or replace those of the same {key}; the others stay."
    properties = {one: value for one, value in wanted.properties.items() if one not in gone}
    document = {"Resources": {name: {"Properties": properties}}}
    yield yaml.safe_dump(document, sort_keys=False, default_flow_style=False)


def _calls(api: Sequence[ApiStep]) -> Iterator[str]:
    for step in api:
        arguments = json.dumps(step.change.arguments, sort_keys=True)
        yield f"~ {step.change.service}:{step.change.operation} {arguments}"


def _filled_step(step: ApiStep, known: Mapping[str, Any]) -> ApiStep:
    escaped = {name: said(value).replace("\\", "\\\\").replace("'", "\\'") for name, value in known.items()}
    return ApiStep(
        read=_filled_operation(step.read, known),
        value=text(step.value, escaped),
        wanted=filled(step.wanted, known),
        change=_filled_operation(step.change, known),
        undo=_filled_operation(step.undo, known),
        absent=filled(step.absent, known),
        undo_absent=None if step.undo_absent is None else _filled_operation(step.undo_absent, known),
        ready=None if step.ready is None else text(step.ready, escaped),
    )


def _filled_operation(operation: Operation, known: Mapping[str, Any]) -> Operation:
    return replace(operation, arguments=filled(operation.arguments, known))


def _failures(report: Report, check_id: str) -> tuple[Finding, ...]:
    return next((r.failures for r in report.checks if r.id == check_id and not r.disabled), ())


@dataclass(frozen=True, slots=True)
class _Sources:
    """Where parameters are filled from; see `definition.SOURCES`."""

    report: Report
    snapshot: Snapshot
    inputs: Mapping[str, Value]
    checked: Mapping[str, Value]
    finding: Finding
    standing: Mapping[str, Any]

    def fill(self, filling: Filling) -> Any:
        """The value in its kind; None where an optional one is not there. Raises _Missing."""
        if filling.value is not None:
            return _shaped(filling, text(filling.value, self.standing))
        refused: Blocked | None = None
        for source in filling.sources:
            try:
                value = self._from(source)
            except ZoneRefused as error:
                refused = Blocked(error.reason, str(error))
                continue
            except AdmissionUnread as error:
                raise _Missing(Blocked("FactMissing", str(error))) from error
            except NotAdmitted as error:
                raise _Missing(Blocked("PortNotAdmitted", str(error))) from error
            if value not in (None, ""):
                return _shaped(filling, value)
        if filling.optional:
            return None
        raise _Missing(refused or self._unfilled(filling))

    def _from(self, source: str) -> Value:
        head, _, name = source.partition(".")
        readers: dict[str, Callable[[], Value]] = {
            "inputs": lambda: self.inputs.get(name),
            "facts": lambda: self.finding.facts.get(name),
            "parameters": lambda: self.checked.get(name),
            "zone": lambda: self._zone(name),
            "admission": lambda: self._admission(int(name)),
            "reachable": lambda: self._reachable(name),
            "account": lambda: {"id": self.report.account_id, "partition": self.snapshot.partition}[name],
        }
        return readers[head]()

    def _zone(self, name: str) -> Value:
        domain = self.finding.facts.get("domain") or self.inputs.get("domain")
        if not domain:
            return None
        zone = zone_of(self.snapshot, str(domain))
        return {"id": zone.id, "name": zone.name}[name]

    def _admission(self, port: int) -> Value:
        """The group that must be opened for the port; None where there is no group or it is open already."""
        facts, region = self.finding.facts, self.finding.region
        group = facts.get("securityGroupId")
        demand_network(self.snapshot, region, facts.get("loadBalancerArn", ""), port)
        if group is None or admits(self.snapshot, region, group, port):
            return None
        return group

    def _reachable(self, fact: str) -> Value:
        """`true` where the world reaches the port that a fact names; raises NotAdmitted where it does not."""
        port = self.finding.facts.get(fact, "")
        if not port.isdigit():
            return None
        demand_reached(self.snapshot, self.finding.region, self.finding.facts.get("loadBalancerArn", ""), int(port))
        return "true"

    def _unfilled(self, filling: Filling) -> Blocked:
        inputs = [s.partition(".")[2] for s in filling.sources if s.startswith("inputs.")]
        if any(s.startswith("zone.") for s in filling.sources):
            inputs.append("domain")
        if inputs:
            return Blocked("InputMissing", f"set spec.remediation.inputs.{inputs[0]} in the policy")
        return Blocked("FactMissing", f"the account does not tell {' or '.join(filling.sources)}; do this one by hand")


def _shaped(filling: Filling, value: Any) -> Any:
    """A value in the kind that the folder asks for. Raises _Missing where it is not of that kind."""
    try:
        match filling.shape:
            case Shape.STRING:
                return said(value)
            case Shape.INTEGER:
                return _rounded(filling, int(said(value)))
            case Shape.BOOLEAN:
                return {"true": True, "false": False}[said(value).lower()]
            case Shape.STRINGS:
                return list(value) if isinstance(value, (list, tuple)) else listed(str(value))
    except (KeyError, ValueError) as error:
        raise _Missing(
            Blocked("FactMissing", f"{value!r} is not of kind {filling.shape}; do this one by hand")
        ) from error


def _rounded(filling: Filling, number: int) -> int:
    """The smallest value that AWS accepts and that is not less."""
    if not filling.round_up:
        return number
    enough = [one for one in filling.round_up if one >= number]
    if not enough:
        raise ValueError(f"{number} is more than AWS offers")
    return enough[0]


def awaited(proposal: Proposal, results: Mapping[str, CheckResult]) -> tuple[str, ...]:
    """The checks the proposal requires that do not pass yet for its subject; what fails elsewhere is not waited for.

    A check that is disabled or not judged cannot be waited for.
    """
    return tuple(
        check
        for check in proposal.definition.requires
        if check in results
        and not results[check].disabled
        and any(_in_the_way(finding, proposal) for finding in results[check].findings)
    )


def _in_the_way(finding: Finding, proposal: Proposal) -> bool:
    open_failure = finding.status is Status.FAIL and finding.waived_by is None
    about = (finding.resource, finding.facts.get("loadBalancerArn"))
    return (open_failure or finding.status is Status.UNKNOWN) and (
        proposal.subject in about or proposal.account_id in (finding.resource, proposal.subject)
    )


def digest_of(value: object) -> str:
    """`sha256:` and the digest of a text, or of the canonical JSON of anything else."""
    text = value if isinstance(value, str) else json.dumps(value, sort_keys=True, separators=(",", ":"))
    return "sha256:" + hashlib.sha256(text.encode()).hexdigest()


def fixed(named: Named, result: CheckResult | None) -> bool:
    """Whether a fresh inspection shows a named finding passing.

    A finding about an absence has no successor of the same name: then something must pass in its region or account
    and nothing of the check may be Unknown or failing for that resource.
    """
    if result is None or result.disabled:
        return False
    same = [f for f in result.findings if f.resource == named.resource and f.region == named.region]
    if same:
        return all(f.status is Status.PASS for f in same)
    return result.status is Status.PASS or (
        result.status is Status.FAIL and any(f.status is Status.PASS for f in result.findings)
    )


def done(named: Named, result: CheckResult | None, definition: Definition | None, target: str | None) -> bool:
    """Whether a change has done its part for a finding: it passes, or the change achieved what it can for it.

    A link of a chain is done when the finding has the facts that it achieves; a change to one of several resources that
    a finding lists, when the finding no longer lists that one.
    """
    if fixed(named, result):
        return True
    if result is None or result.disabled or definition is None:
        return False
    same = [f for f in result.findings if f.resource == named.resource and f.region == named.region]
    if not same or any(f.status not in (Status.FAIL, Status.PASS) for f in same):
        return False
    failing = [f for f in same if f.status is Status.FAIL]
    if definition.achieves:
        return all(_has_facts(definition.achieves, f) for f in failing)
    return definition.each is not None and all(
        definition.each in f.facts and target not in listed(f.facts[definition.each]) for f in failing
    )
