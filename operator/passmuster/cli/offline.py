"""Inspections without a cluster: from manifests or flags to the same engine the operator runs.

Used by `inspect`, `plan` and the demo.
"""

from __future__ import annotations

import re
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from passmuster.api import manifest
from passmuster.api.account import AWSAccount
from passmuster.api.parameters import CheckFacts, faults
from passmuster.api.policy import ReadinessPolicy
from passmuster.api.resource import API_VERSION
from passmuster.assess import grants
from passmuster.assess.changes import Changes, compare
from passmuster.assess.plan import Plan, Step, plan
from passmuster.aws import organization
from passmuster.aws.clients import Clients
from passmuster.aws.collector import Collector
from passmuster.aws.identity import Identities, control_region_of, default_region
from passmuster.aws.limits import DEFAULT_RATE, Limits
from passmuster.aws.models import operations_of
from passmuster.aws.principal import KeyRing
from passmuster.aws.transport import BotoTransport
from passmuster.checks import catalogue as checks
from passmuster.checks.catalogue import Catalogue
from passmuster.checks.judge import distinct_calls
from passmuster.cli import granted, plan_folder, terminal, totals
from passmuster.cli.archive import Archive, decoded, text_of
from passmuster.engine import documents
from passmuster.engine.evidence import NO_NAMESPACE
from passmuster.engine.inspection import Inspector, Task
from passmuster.engine.tenancy import Governed, without_cluster
from passmuster.model.account import Identity, Target, partition_of
from passmuster.model.errors import AccountError, InvalidManifest, UserError
from passmuster.model.evidence import Evidence
from passmuster.model.grant import Grant
from passmuster.model.parameter import Kind, Parameter
from passmuster.model.report import Report
from passmuster.model.verdict import Phase
from passmuster.remediation import catalogue as remediations
from passmuster.remediation.rendering import Owner

MANIFESTS = (".yaml", ".yml", ".json")
"""The files of a folder that are read."""

FLAGS = {"accountId": "--account-id", "regions": "--region", "roleArn": "--role-arn", "externalId": "--external-id"}
"""The flag from which a field of an AWSAccount comes where no manifest names it."""

SIMULATED_RATE = 500.0
"""Requests a second to an endpoint that is not AWS."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What a person named on the command line."""

    files: tuple[Path, ...] = ()
    profile: str | None = None
    account_id: str | None = None
    regions: tuple[str, ...] = ()
    role_arn: str | None = None
    external_id: str | None = None
    level: Phase | None = None
    inputs: Mapping[str, Any] = field(default_factory=dict)
    docs_url: str = ""


@dataclass(frozen=True, slots=True)
class Job:
    """One account under one policy. `name` is the account's where no other policy is for it, else tells them apart."""

    governed: Governed
    profile: str | None
    name: str


@dataclass(frozen=True, slots=True)
class Result:
    """A report with its plan."""

    job: Job
    report: Report
    plan: Plan
    changes: Changes | None = None
    docs_url: str = ""

    @property
    def _policy(self) -> str:
        return self.job.governed.policy.metadata.name

    def document(self) -> dict[str, Any]:
        """The ReadinessReport, with every finding."""
        policy = self.job.governed.policy
        name = f"{self._policy}-{self.report.account_id}"
        return documents.report_document(
            name,
            policy.metadata.namespace or "",
            self._policy,
            self.report,
            self.plan,
            limit=None,
            changes=self.changes,
        )

    def plan_document(self) -> dict[str, Any]:
        """The plan with the change of each step in words."""
        return {
            "accountId": self.report.account_id,
            "level": self.report.level,
            "score": self.report.score,
            "declared": self.report.declared.value,
            "monthlyCost": float(totals.whole(self.plan).monthly),
            "phases": [
                {
                    "phase": total.phase,
                    "steps": len(total.steps),
                    "monthlyCost": float(total.monthly),
                    "blockedMonthlyCost": float(total.blocked),
                    "stepsWithUsage": total.unpriced,
                }
                for total in totals.phases(self.plan)
            ],
            "steps": [self._step_document(step) for step in self.plan.steps],
            "byHand": [check.id for check in self.plan.by_hand],
        }

    def _step_document(self, step: Step) -> dict[str, Any]:
        proposal = step.proposal
        spec = documents.remediation_spec(proposal, self._policy)
        return {
            **documents.whole_step_document(step),
            "owner": spec.get("owner"),
            "parameters": dict(proposal.parameters),
            "digest": proposal.digest,
        }

    def plan_files(self) -> dict[str, str]:
        """The plan as files, by path."""
        return plan_folder.files(self.report, self.plan, self.job.name)

    @property
    def folder(self) -> str:
        """Where this result goes beside others: account, namespace, policy."""
        namespace = self.job.governed.policy.metadata.namespace or NO_NAMESPACE
        return f"{self.report.account_id}/{namespace}/{self._policy}"

    def html(self) -> str:
        """The report as one HTML file."""
        from passmuster.report import html

        return html.render(self.report, self.plan, title=self.job.name, changes=self.changes, docs_url=self.docs_url)

    def markdown(self) -> str:
        """The report as Markdown."""
        from passmuster.report import markdown

        return markdown.render(
            self.report, self.plan, title=self.job.name, changes=self.changes, docs_url=self.docs_url
        )


def catalogue() -> Catalogue:
    """The checks of this installation."""
    return checks.load()


def facts() -> list[CheckFacts]:
    """What the custom resources' schemas must know of the checks."""
    return [
        CheckFacts(check.id, check.optional, check.parameters, check.attestable.days if check.attestable else None)
        for check in checks.load()
    ]


@dataclass(frozen=True, slots=True)
class Engine:
    """What inspects, for one run of a command."""

    clients: Clients
    identities: Identities
    inspector: Inspector


def engine(endpoint_url: str | None) -> Engine:
    """The same engine the operator runs."""
    known = checks.load()
    clients = Clients(
        KeyRing(), endpoint_url=endpoint_url, operations=operations_of((*distinct_calls(known), *organization.CALLS))
    )
    identities = Identities(clients)
    limits = Limits(SIMULATED_RATE if endpoint_url else DEFAULT_RATE)
    return Engine(clients, identities, Inspector(Collector(BotoTransport(clients), limits), identities, known))


def inspect(
    asked: Asked,
    endpoint_url: str | None,
    archive: Archive | None = None,
    refused: list[AccountError] | None = None,
) -> list[Result]:
    """A result for every account that was named, compared with what `archive` holds, and kept there.

    Raises UserError or AccountError with what to do. With `refused` an account that lets nobody in holds up no other:
    its error is put there.
    """
    archive = archive or Archive()
    at_work = engine(endpoint_url)
    results = []
    named = _known_places(jobs(asked, at_work.identities), at_work.clients)
    archive.prepare()
    for job in named:
        governed = job.governed
        task = Task(
            target=_with_profile(governed.target, job.profile),
            demand=governed.demand,
            recovery=governed.recovery,
            interval=governed.interval,
            payer=_with_profile(governed.payer, job.profile) if governed.payer is not None else None,
            payer_missing=governed.payer_missing,
            fresh=True,
        )
        earlier = archive.earlier(governed.policy, governed.account)
        evidence = Evidence(
            now=datetime.now(UTC),
            recovery=governed.recovery,
            attestations=grants.attestations(governed.demand.grants),
            report_stored_at=earlier.stored_at if earlier is not None else None,
        )
        before = earlier.report if earlier is not None else None
        with terminal.progress(f"Inspecting {governed.target.account_id}") as advance:
            continued = before if earlier is not None and earlier.same_policy else None
            try:
                outcome = at_work.inspector.inspect(task, evidence, continued, progress=advance)
            except AccountError as error:
                if refused is None:
                    raise
                refused.append(error)
                continue
        owner = Owner(policy=governed.policy.metadata.name, namespace=governed.policy.metadata.namespace or "")
        given = {**governed.inputs, **asked.inputs}
        parameters = governed.demand.every_parameter(catalogue())
        steps = plan(outcome.report, outcome.snapshot, remediations.load(), owner, given, parameters)
        changes = compare(before, outcome.report) if before is not None else None
        result = Result(job, outcome.report, steps, changes, asked.docs_url)
        if archive.folder is not None:
            archive.keep(governed.policy, governed.account, outcome.report, result.document(), result.html())
        results.append(result)
    return results


def _known_places(named: Sequence[Job], clients: Clients) -> Sequence[Job]:
    """The same, once no region is mistyped: an inspection would find nothing there, or wait for nobody's answer."""
    for job in named:
        demand_regions(job.governed.target.regions, clients, job.name)
    return named


def demand_regions(regions: Iterable[str], clients: Clients, told: str) -> None:
    """Raises UserError, which begins with `told`, for a region that does not exist."""
    for region in regions:
        if (fault := clients.unknown(region)) is not None:
            raise UserError(f"{told}: {fault}")


def jobs(asked: Asked, identities: Identities) -> list[Job]:
    """Every account under every policy that was named. Raises UserError for what contradicts itself."""
    if asked.files:
        told = {"--account-id": asked.account_id, "--role-arn": asked.role_arn, "--external-id": asked.external_id}
        beside = [flag for flag, value in {**told, "--region": asked.regions}.items() if value]
        if beside:
            raise UserError(f"{beside[0]} does not go with -f: the manifest says it, in its AWSAccount")
        return list(_from_files(asked))
    account_id = asked.account_id
    regions = asked.regions
    if not regions and asked.profile is not None:
        found = default_region(asked.profile)
        regions = (found,) if found else ()
    identity = Identity(asked.role_arn, asked.external_id, asked.profile)
    if account_id is None and asked.role_arn is not None:
        account_id = asked.role_arn.split(":")[4] if asked.role_arn.count(":") >= 5 else None
    if account_id is None:
        account_id = identities.whoami(identity, regions[0] if regions else control_region_of(regions))
    partition = partition_of(regions[0]) if regions else "aws"
    Target(account_id, regions, partition)
    manifest_of_it = {
        "apiVersion": API_VERSION,
        "kind": "AWSAccount",
        "metadata": {"name": account_id},
        "spec": {
            "accountId": account_id,
            "partition": partition,
            **({"regions": list(regions)} if regions else {}),
            **({"roleArn": asked.role_arn} if asked.role_arn else {}),
            **({"externalId": asked.external_id} if asked.external_id else {}),
        },
    }
    try:
        account = AWSAccount.read(manifest_of_it)
    except ValidationError as error:
        raise UserError(wrong_flag(error, FLAGS)) from error
    return [Job(without_cluster(_policy(account_id, asked.level), account), asked.profile, account_id)]


def wrong_flag(error: ValidationError, flags: Mapping[str, str]) -> str:
    """What is wrong with the first field, by the flag that it came from; `flags` has it by the field's name."""
    first = error.errors(include_url=False)[0]
    field_name = next((str(part) for part in first["loc"][1:2]), "")
    told = (first.get("ctx") or {}).get("what", first["msg"])
    return f"{flags.get(field_name, field_name)}: {told}"


def _policy(account: str, level: Phase | None) -> ReadinessPolicy:
    return ReadinessPolicy.read(
        {
            "apiVersion": API_VERSION,
            "kind": "ReadinessPolicy",
            "metadata": {"name": account},
            "spec": {"accountRef": {"name": account}, "level": (level or Phase.PRODUCTION).value},
        }
    )


def _from_files(asked: Asked) -> Iterable[Job]:
    written: list[Any] = []
    for path in _manifests(asked.files):
        written.extend(manifest.load(_text(path), facts(), remediations.load().inputs(), source=str(path)))
    objects = _once(written)
    accounts = {o.metadata.name: o for o in objects if isinstance(o, AWSAccount)}
    policies = [o for o in objects if isinstance(o, ReadinessPolicy)]
    if not accounts:
        raise InvalidManifest("the files hold no AWSAccount: add the one that the policy's accountRef names")
    if not policies:
        policies = [_policy(name, asked.level) for name in accounts]
    if asked.level is not None:
        policies = [_at(asked.level, policy) for policy in policies]
    pairs = [(policy, account) for policy in policies for account in _accounts_of(policy, accounts)]
    times = Counter(account.metadata.name for _, account in pairs)
    given, told = granted.granted_in(objects, policies, accounts.values()), list[Grant]()
    for policy, account in pairs:
        payer = account.spec.payer_account_ref
        paying = accounts.get(payer.name) if payer is not None else None
        found = granted.standing(given, policy, account, catalogue(), datetime.now(UTC))
        told.extend(found)
        name = account.metadata.name
        if times[name] > 1:
            name += f" under {'/'.join(filter(None, (policy.metadata.namespace, policy.metadata.name)))}"
        yield Job(without_cluster(policy, account, paying, found), asked.profile, name)
    granted.tell(told)


def _at(level: Phase, policy: ReadinessPolicy) -> ReadinessPolicy:
    """The policy with another level declared."""
    return policy.model_copy(update={"spec": policy.spec.model_copy(update={"level": level})})


def _accounts_of(policy: ReadinessPolicy, accounts: Mapping[str, AWSAccount]) -> Sequence[AWSAccount]:
    reference, selector = policy.spec.account_ref, policy.spec.account_selector
    if reference is not None:
        if reference.name not in accounts:
            known = ", ".join(sorted(accounts))
            raise InvalidManifest(
                f"ReadinessPolicy {policy.metadata.name}: there is no AWSAccount {reference.name} in the files, only "
                f"{known}"
            )
        return [accounts[reference.name]]
    chosen = [a for a in accounts.values() if selector is not None and selector.selects(a.metadata.labels)]
    if not chosen:
        raise InvalidManifest(
            f"ReadinessPolicy {policy.metadata.name}: accountSelector matches no AWSAccount in the files"
        )
    return chosen


def _manifests(given: Iterable[Path]) -> Iterator[Path]:
    """The files that were named; of a folder the manifests in it, as kubectl reads them."""
    for path in given:
        try:
            found = sorted(one for one in path.iterdir() if one.suffix in MANIFESTS and one.is_file())
        except (NotADirectoryError, FileNotFoundError):
            yield path
            continue
        except OSError as error:
            raise UserError(f"{path} cannot be read: {error.strerror}") from error
        if not found:
            raise UserError(f"the folder {path} holds no manifest ({', '.join(MANIFESTS)})")
        yield from found


def _once(objects: Iterable[Any]) -> list[Any]:
    """Each object once. Raises InvalidManifest where two that differ have one name."""
    seen: dict[tuple[str, str | None, str], Any] = {}
    for one in objects:
        name = (one.kind, one.metadata.namespace, one.metadata.name)
        if seen.setdefault(name, one) != one:
            raise InvalidManifest(f"{one.kind} {one.metadata.name} is there twice and differs: remove one of the two")
    return list(seen.values())


def _text(path: Path) -> str:
    """The text of a manifest, whatever mark of its encoding an editor put before it or one of its parts."""
    if str(path) != "-":
        text = text_of(path)
    elif sys.stdin is None:
        raise UserError("-f -: standard input is closed: pipe a manifest into it")
    else:
        text = decoded(sys.stdin.buffer.read(), "standard input")
    return re.sub("^\ufeff", "", text, flags=re.MULTILINE)


def _with_profile(target: Target, profile: str | None) -> Target:
    if profile is None:
        return target
    identity = Identity(target.identity.role_arn, target.identity.external_id, profile)
    return Target(target.account_id, target.regions, target.partition, identity)


def inputs(given: Iterable[str]) -> dict[str, Any]:
    """Inputs given as NAME=VALUE, checked against what remediations ask for."""
    known = {parameter.name: parameter for parameter in remediations.load().inputs()}
    found: dict[str, Any] = {}
    for entry in given:
        name, separator, value = entry.partition("=")
        if not separator:
            raise UserError(f"--input {entry!r}: write NAME=VALUE")
        if name not in known:
            raise UserError(f"--input {name}: remediations know {', '.join(sorted(known))}")
        if not value:
            raise UserError(f"--input {name}: a value is missing")
        if known[name].kind is Kind.INTEGER:
            if not value.isdecimal():
                raise UserError(f"--input {name}: {value!r} is not a whole number")
            found[name] = int(value)
        elif known[name].kind is Kind.STRING_MAP:
            pairs = [pair.partition(":") for pair in value.split(",")]
            if not all(key and middle and given for key, middle, given in pairs):
                raise UserError(f"--input {name}: write KEY:VALUE,KEY:VALUE instead of {value!r}")
            found[name] = {key: given for key, _, given in pairs}
        elif known[name].kind is Kind.QUANTITIES:
            found[name] = {**found.get(name, {}), **_quantities(known[name], value)}
        else:
            found[name] = value
        for fault in faults(known[name], found[name]):
            raise UserError(f"--input {name}: {fault.what}")
    return found


def _quantities(parameter: Parameter, given: str) -> dict[str, float]:
    """Quantities by name, given as name:number parted by commas."""
    found: dict[str, Any] = {}
    for pair in given.split(","):
        name, _, number = pair.rpartition(":")
        try:
            found[name] = float(number)
        except ValueError:
            raise UserError(f"--input {parameter.name}: write name:number instead of {pair!r}") from None
    for fault in faults(parameter, found):
        raise UserError(f"--input {parameter.name}: {', '.join(map(str, fault.at))}: {fault.what}")
    return found
