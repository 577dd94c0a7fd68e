"""Turns a failing check into one proposed change: parameters filled, resources named, cost added, digest taken.

A proposal is an *intent*: everything a person approves. The same facts give the same digest; anything that changes
what would happen changes it, and with it the approval is void. Called by assess for the plan and by the engine.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from passmuster.api.remediation import Way
from passmuster.inventory.snapshot import Snapshot
from passmuster.model.finding import Finding
from passmuster.model.parameter import Value
from passmuster.model.report import CheckResult, Report
from passmuster.model.verdict import Status
from passmuster.remediation import template
from passmuster.remediation.admission import AdmissionUnread, admits
from passmuster.remediation.definition import Definition, Filling, Place, Target
from passmuster.remediation.pricing import Cost, cost
from passmuster.remediation.zones import ZoneRefused, zone_of


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
class Proposal:
    """One change, ready to be shown, approved and made.

    `name` is that of the Remediation object, `stack` that of the CloudFormation stack: both stable whatever the intent.
    `body` is the template's text as it is sent.
    `subject` is the load balancer that the change is about, where it is about one, else the target.
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
    template_digest: str
    blocked: Blocked | None = None

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
) -> Iterator[Proposal]:
    """Every change this remediation would make to the account as it was inspected."""
    results = {result.id: result for result in report.checks}
    first = results.get(definition.fixes[0])
    if first is None or first.disabled or first.status is not Status.FAIL:
        return
    failures = [f for f in first.failures if _wanted(definition, f)]
    match definition.target:
        case Target.ACCOUNT:
            if failures:
                yield _proposal(definition, report, snapshot, owner, inputs, failures[0], report.account_id)
        case Target.FINDING:
            for finding in failures:
                yield _proposal(definition, report, snapshot, owner, inputs, finding, finding.resource)


def _wanted(definition: Definition, finding: Finding) -> bool:
    """Whether the finding has every fact the definition asks for; `*` stands for any value."""
    return all(
        name in finding.facts and wanted in ("*", finding.facts[name]) for name, wanted in definition.facts.items()
    )


def _proposal(
    definition: Definition,
    report: Report,
    snapshot: Snapshot,
    owner: Owner,
    inputs: Mapping[str, Value],
    finding: Finding,
    target: str,
) -> Proposal:
    region = {
        Place.HOME: report.regions[0] if report.regions else snapshot.control_region,
        Place.CONTROL: snapshot.control_region,
        Place.FINDING: finding.region,
    }[definition.place]
    key = digest_of([owner.cluster, owner.policy_uid, report.account_id, region, definition.name, target])[7:17]
    plain = re.sub(r"[^A-Za-z0-9-]+", "-", owner.policy)
    name = f"{owner.policy[:180]}-{definition.name}-{key}"
    stack = f"passmuster-{plain[:60]}-{definition.name}-{key}"
    blocked: Blocked | None = None
    values: dict[str, str] = {}
    sources = _Sources(report, snapshot, owner, inputs, finding, region, key)
    for parameter, filling in definition.parameters.items():
        try:
            value = sources.fill(filling)
        except _Missing as missing:
            blocked = blocked or missing.blocked
            continue
        if value is not None:
            values[parameter] = value
    tags = {str(k): str(v) for k, v in sorted((inputs.get("tags") or {}).items())}
    body = definition.template
    for word, text in definition.literals.items():
        body = body.replace(word, sources.named(text))
    changes = template.changes(body, values)
    price = cost(definition.cost, region, values)
    findings = tuple(sorted(_named(definition, report, finding), key=lambda n: (n.check, n.region, n.resource)))
    template_digest = digest_of(body)
    digest = digest_of(
        {
            "remediation": definition.name,
            "way": definition.way.value,
            "account": report.account_id,
            "region": region,
            "target": target,
            "findings": [[n.check, n.region, n.resource] for n in findings],
            "template": template_digest,
            "parameters": values,
            "tags": tags,
            "changes": list(changes),
            "capabilities": list(definition.capabilities),
            "monthly": str(price.monthly),
        }
    )
    return Proposal(
        definition=definition,
        name=name,
        stack=stack,
        account_id=report.account_id,
        region=region,
        target=target,
        subject=finding.facts.get("loadBalancerArn", target),
        findings=findings,
        parameters=values,
        tags=tags,
        body=body,
        changes=changes,
        cost=price,
        digest=digest,
        template_digest=template_digest,
        blocked=blocked,
    )


def _named(definition: Definition, report: Report, finding: Finding) -> Iterator[Named]:
    """The finding that led here, and every other failure that the change ends with it."""
    yield Named(definition.fixes[0], finding.region, finding.resource)
    for check_id in definition.fixes[1:]:
        for failure in _failures(report, check_id):
            if definition.target is Target.ACCOUNT or failure.resource == finding.resource:
                yield Named(check_id, failure.region, failure.resource)


def _failures(report: Report, check_id: str) -> tuple[Finding, ...]:
    return next((r.failures for r in report.checks if r.id == check_id and not r.disabled), ())


@dataclass(frozen=True, slots=True)
class _Sources:
    """Where parameters are filled from; see `definition.SOURCES`."""

    report: Report
    snapshot: Snapshot
    owner: Owner
    inputs: Mapping[str, Value]
    finding: Finding
    region: str
    key: str

    def fill(self, filling: Filling) -> str | None:
        if filling.value is not None:
            return self.named(filling.value)
        refused: Blocked | None = None
        for source in filling.sources:
            try:
                value = self._from(source)
            except ZoneRefused as error:
                refused = Blocked(error.reason, str(error))
                continue
            except AdmissionUnread as error:
                raise _Missing(Blocked("FactMissing", str(error))) from error
            if value not in (None, ""):
                return str(value)
        if filling.optional:
            return None
        raise _Missing(refused or self._unfilled(filling))

    def named(self, text: str) -> str:
        """Text with the names of this proposal in place of {policy}, {account}, {region} and {key}."""
        policy = re.sub(r"[^A-Za-z0-9-]+", "-", self.owner.policy)
        return text.format(policy=policy, account=self.report.account_id, region=self.region, key=self.key)

    def _from(self, source: str) -> Value:
        head, _, name = source.partition(".")
        readers: dict[str, Callable[[], Value]] = {
            "inputs": lambda: self.inputs.get(name),
            "facts": lambda: self.finding.facts.get(name),
            "zone": lambda: self._zone(name),
            "admission": lambda: self._admission(int(name)),
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
        group = self.finding.facts.get("securityGroupId")
        if group is None or admits(self.snapshot, self.finding.region, group, port):
            return None
        return group

    def _unfilled(self, filling: Filling) -> Blocked:
        inputs = [s.partition(".")[2] for s in filling.sources if s.startswith("inputs.")]
        if any(s.startswith("zone.") for s in filling.sources):
            inputs.append("domain")
        if inputs:
            return Blocked("InputMissing", f"set spec.remediation.inputs.{inputs[0]} in the policy")
        return Blocked("FactMissing", f"the account does not tell {' or '.join(filling.sources)}; do this one by hand")


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


EXECUTABLE = frozenset({Way.ADDITIVE_STACK})
"""The ways this release carries out; proposals of other ways are shown and never executed."""
