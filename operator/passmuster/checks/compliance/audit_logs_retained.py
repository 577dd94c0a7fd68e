"""Audit logs are kept as long as the policy wants, and nobody can delete or publish them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from datetime import datetime
from fnmatch import fnmatchcase
from functools import partial
from typing import Any

from passmuster.checks.declaration import Controls, check
from passmuster.inventory.call import Call
from passmuster.inventory.operations.audit_logs import ACCOUNT_ACCESS, SOURCE_CALLS, SOURCES, Source, places
from passmuster.inventory.operations.logs import LOG_GROUPS
from passmuster.inventory.operations.s3 import BUCKETS
from passmuster.inventory.policy_documents import listed, statements
from passmuster.inventory.snapshot import Row, View, all_of, any_of, seen, unmet
from passmuster.model.evidence import Evidence
from passmuster.model.finding import Finding, failed, not_applicable, passed
from passmuster.model.parameter import Kind, Parameter, Parameters, Stricter
from passmuster.model.verdict import Category, Phase, Severity

BLOCKS = ("BlockPublicAcls", "IgnorePublicAcls", "BlockPublicPolicy", "RestrictPublicBuckets")
PRIVATE = "blocks public access"
AN_ID = re.compile(r"o-[a-z0-9]+|\d{12}|aws-account-id=.*")
DELETIONS = ("s3:deleteobject", "s3:deleteobjectversion")
EXEMPTING = ("aws:principal", "aws:userid", "aws:username")
"""Condition keys that only say who is exempt from a denial."""


@check(
    title="Audit logs are kept and protected",
    category=Category.COMPLIANCE,
    phase=Phase.HARDENED,
    severity=Severity.MEDIUM,
    fix="AI",
    per="account",
    calls=(*(source.call for source in SOURCES), *SOURCE_CALLS, BUCKETS, ACCOUNT_ACCESS),
    nothing="No trail, flow log or web ACL of the account writes audit logs",
    parameters=(
        Parameter(
            "minRetentionDays",
            Kind.INTEGER,
            365,
            Stricter.HIGHER,
            "The shortest time that audit logs may be kept; without an expiry they are kept for ever.",
            minimum=1,
            maximum=3653,
        ),
    ),
    controls=Controls(
        config=("CW_LOGGROUP_RETENTION_PERIOD_CHECK", "S3_LIFECYCLE_POLICY_CHECK"),
        security_hub=("CloudWatch.16", "S3.13", "S3.15"),
        well_architected=("SEC04-BP02",),
    ),
)
def audit_logs_retained(view: View, parameters: Parameters, evidence: Evidence) -> Iterator[Finding]:
    """A break-in is often noticed months later, and whoever broke in deletes the traces first.

    Judged is every place that the account's trails, flow logs and web ACLs write to. A log group must keep its logs the
    policy's days or for ever. A bucket must not expire the logs earlier, must protect them by an object lock with a
    default retention or by versioning with a policy that denies deletion to everybody but named principals, and must
    block public access, each setting of it by itself or by the account. Lifecycle rules for other prefixes or for tags
    do not touch the logs. A bucket that does not exist keeps nothing. A bucket of another account and an organization's
    trail from elsewhere are judged there; where a delivery stream writes to is not looked at.
    """
    judged: set[tuple[str, str]] = set()
    for source in SOURCES:
        with view.judging(view.account_id):
            for row in view.rows(source.call):
                for place in places(view, row):
                    if (source.folder, place) not in judged:
                        judged.add((source.folder, place))
                        yield from _place(view, source, row, place, parameters["minRetentionDays"], evidence.now)


def _place(view: View, source: Source, row: Row, place: str, least: int, now: datetime) -> Iterator[Finding]:
    service = place.split(":")[2]
    if service == "s3":
        bucket, _, prefix = place.partition(":::")[2].partition("/")
        arn = f"arn:{view.partition}:s3:::{bucket}"
        with view.judging(arn, row.region):
            root = f"{prefix}/AWSLogs/".lstrip("/")
            yield _Bucket(view, source, row, bucket, root).verdict(arn, least, now)
    elif service == "logs":
        with view.judging(place, place.split(":")[3]):
            yield _group(view, source, row, place, least)
    elif service == "cloudtrail":
        message = f"The trail {row['Name']} belongs to another account, which keeps its logs"
        yield not_applicable(row.origin, place, message)
    else:
        message = f"The audit logs in the delivery stream {place.rpartition('/')[2]} go on to where nobody looks here"
        yield not_applicable(row.origin, place, message)


def _group(view: View, source: Source, row: Row, arn: str, least: int) -> Finding:
    name, region = arn.partition(":log-group:")[2], arn.split(":")[3]
    rows = view.rows(source.groups) if source.groups == LOG_GROUPS else view.rows(source.groups, row)
    group = next((one for one in rows if one["logGroupName"] == name and one.region == region), None)
    expected = f"a log group that keeps audit logs {least} days or for ever"
    if group is None:
        message = f"The log group {name}, which audit logs are sent to, does not exist"
        return failed(row.origin, arn, message, observed="no log group", expected=expected)
    days = group.get("retentionInDays")
    observed = "kept for ever" if days is None else f"kept {days} days"
    if days is None or days >= least:
        message = f"The log group {name} keeps audit logs long enough"
        return passed(group.origin, arn, message, observed=observed, expected=expected)
    message = f"The log group {name} forgets audit logs after {days} days"
    facts = {"LogGroupNames": name}
    return failed(group.origin, arn, message, observed=observed, expected=expected, facts=facts)


class _Bucket:
    """A bucket, and the root in it under which the logs of the source are, by account and by what writes them."""

    def __init__(self, view: View, source: Source, row: Row, name: str, root: str) -> None:
        self._view = view
        self._source = source
        self._row = row
        self._name = name
        self._root = root

    def verdict(self, arn: str, least: int, now: datetime) -> Finding:
        own = {bucket["Name"] for bucket in self._view.rows(BUCKETS)}
        expected = f"kept {least} days, protected from deletion, public access blocked"
        if self._name not in own and self._is_gone():
            message = f"The bucket {self._name}, which audit logs are sent to, does not exist"
            return failed(self._row.origin, arn, message, observed="no bucket", expected=expected)
        if own and self._name not in own:
            message = f"The bucket {self._name} belongs to another account and is judged there"
            return not_applicable(self._row.origin, arn, message)
        missing = unmet(
            {
                f"keeps audit logs {least} days": lambda: all(days >= least for days in self._expiries(now)),
                "protects them from deletion": lambda: any_of(
                    self._is_locked, lambda: all_of(self._is_versioned, self._denies_deletion)
                ),
                PRIVATE: lambda: all_of(*(partial(self._blocks, setting) for setting in BLOCKS)),
            }
        )
        if missing:
            message = f"The bucket {self._name} does not meet: {', '.join(missing)}"
            observed = ", ".join(f"not: {phrase}" for phrase in missing)
            facts = {"BucketName": self._name, "PublicAccess": "open" if PRIVATE in missing else "blocked"}
            facts |= {"Days": str(least)} | ({"missing": ", ".join(lasting)} if (lasting := _without(missing)) else {})
            return failed(self._row.origin, arn, message, observed=observed, expected=expected, facts=facts)
        message = f"The bucket {self._name} keeps audit logs and protects them"
        return passed(self._row.origin, arn, message, observed=expected, expected=expected)

    def _expiries(self, now: datetime) -> Iterator[int]:
        """In how many days the enabled rules that apply to the logs expire them."""
        for rule in self._view.rows(self._source.lifecycle, self._row):
            if rule.get("Status") == "Enabled" and not rule.get("Tagged") and self._touches(rule.get("Prefix") or ""):
                if rule.get("Days") is not None:
                    yield rule["Days"]
                elif rule.get("Date") is not None:
                    yield (rule["Date"] - now).days

    def _touches(self, prefix: str) -> bool:
        """Whether objects with that prefix are logs of the source: `AWSLogs/<account>/<folder>/`."""
        if not prefix.startswith(self._root):
            return self._root.startswith(prefix)
        folders = [one for one in prefix.removeprefix(self._root).split("/") if one and not AN_ID.fullmatch(one)]
        folder = folders[0].lower().removeprefix("aws-service=") if folders else ""
        return folder.startswith(self._source.folder) or self._source.folder.startswith(folder)

    def _is_locked(self) -> bool:
        row = self._view.row(self._source.lock, self._row)
        return row is not None and bool(row.get("Mode"))

    def _is_versioned(self) -> bool:
        row = self._view.row(self._source.versioning, self._row)
        return row is not None and row.get("Status") == "Enabled"

    def _denies_deletion(self) -> bool:
        row = self._view.row(self._source.policy, self._row)
        policy = json.loads((row.get("Policy") if row is not None else None) or "{}")
        folder = f"{self._root}{self._view.account_id}/{self._source.folder}"
        sample = f"arn:{self._view.partition}:s3:::{self._name}/{folder}/log".lower()
        return any(_denies(one, sample) for one in statements(policy))

    def _blocks(self, setting: str) -> bool:
        """Whether the bucket or the account says so: S3 applies what either of them blocks."""
        return any_of(
            lambda: _is_set(self._view.row(self._source.access, self._row), setting),
            lambda: _is_set(self._view.row(ACCOUNT_ACCESS), setting),
        )

    def _is_gone(self) -> bool:
        """Whether S3 says that there is no such bucket; one about which it answers nothing is another account's."""
        asked = (self._source.lifecycle, self._source.lock, self._source.policy, self._source.access)
        return any(map(self._answers, (*asked, self._source.versioning))) and (
            self._view.row(self._source.versioning, self._row) is None
        )

    def _answers(self, call: Call) -> bool:
        return bool(seen(self._view.row(call, self._row) is None for _ in (self._name,)))


def _without(missing: list[str]) -> list[str]:
    """What the bucket lacks beside being private."""
    return [phrase for phrase in missing if phrase != PRIVATE]


def _is_set(row: Row | None, setting: str) -> bool:
    settings = (row.get("PublicAccessBlockConfiguration") or {}) if row is not None else {}
    return bool(settings.get(setting))


def _is_one_of(action: str, patterns: list[str]) -> bool:
    return any(fnmatchcase(action, pattern) for pattern in patterns)


def _denies(statement: Mapping[str, Any], sample: str) -> bool:
    """Whether the statement denies the deletion of the sample to everybody, or to all but those it exempts."""
    principal = statement.get("Principal")
    everybody = "NotPrincipal" in statement or "*" in listed(
        principal.get("AWS") if isinstance(principal, Mapping) else principal
    )
    actions = [str(action).lower() for action in listed(statement.get("Action"))]
    spared = [str(action).lower() for action in listed(statement.get("NotAction"))]
    exempting = all(
        "not" in operator.lower() and key.lower().startswith(EXEMPTING)
        for operator, keys in (statement.get("Condition") or {}).items()
        for key in keys
    )
    return (
        statement.get("Effect") == "Deny"
        and everybody
        and exempting
        and any(_is_one_of(one, actions) or (bool(spared) and not _is_one_of(one, spared)) for one in DELETIONS)
        and any(fnmatchcase(sample, str(resource).lower()) for resource in listed(statement.get("Resource")))
    )
