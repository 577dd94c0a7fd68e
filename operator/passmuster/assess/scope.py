"""Narrows a verdict to the resources that have certain tags, without turning what could not be read into a pass.

Called by `assessment` for policies with `spec.scope`. A finding is in one of three classes::

    about the account or one of its controls   always judged: a trail or a detector serves everything in the account
    about a resource of a workload             judged if its tags match; left out if they do not, or if it has none
    the same, and the tags were not read       Unknown, whatever the check said

What a resource's tags are is what resourcegroupstaggingapi:GetResources lists; a listener is in scope with its load
balancer, an alias with its function, a stage with its API.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace

from passmuster.checks.judge import explain
from passmuster.inventory.call import Call
from passmuster.inventory.operations.tagging import TAGGED, TAGGED_GLOBAL, tags
from passmuster.inventory.snapshot import Gap, Reading, Row, Snapshot, Unread, View
from passmuster.model.finding import Finding, Origin, not_applicable, unknown
from passmuster.model.verdict import Reason

CALLS = (TAGGED, TAGGED_GLOBAL)
"""What must be read to tell what is in scope."""

WORKLOADS: Mapping[str, str] = {
    "acm": r"certificate/",
    "apigateway": r"",
    "appsync": r"",
    "cloudfront": r"distribution/",
    "codedeploy": r"deploymentgroup:",
    "codepipeline": r"",
    "cognito-idp": r"userpool/",
    "dax": r"cache/",
    "dynamodb": r"table/",
    "ec2": r"",
    "ecr": r"repository/",
    "ecs": r"(service|cluster|task-definition)/",
    "eks": r"cluster/",
    "elasticache": r"",
    "elasticfilesystem": r"file-system/",
    "elasticloadbalancing": r"",
    "es": r"domain/",
    "kms": r"key/",
    "lambda": r"function:",
    "logs": r"log-group:",
    "rds": r"",
    "redshift": r"",
    "s3": r"",
    "secretsmanager": r"secret:",
    "sns": r"",
    "sqs": r"",
    "states": r"",
}
"""Resources of workloads that GetResources lists: the service of the ARN, and how the rest of the ARN begins.

Whatever is not in this list is always judged, so that nothing disappears because a service is missing here; Auto
Scaling groups, for example, whose tags that operation need not know.
"""

_CARRIERS = (
    (r"(.*:elasticloadbalancing:[^:]*:[^:]*:)listener(?:-rule)?/(\w+/[^/]+/[^/]+)/.*", r"\1loadbalancer/\2"),
    (r"(.*:lambda:[^:]*:[^:]*:function:[^:]+):.*", r"\1"),
    (r"(.*:dynamodb:[^:]*:[^:]*:table/[^/]+)/.*", r"\1"),
    (r"(.*:s3:::[^/]+)/.*", r"\1"),
    (r"(.*:logs:[^:]*:[^:]*:log-group:[^:]+):.*", r"\1"),
    (r"(.*:apigateway:[^:]*::/(?:restapis|apis)/[^/]+)/.*", r"\1"),
)
"""Whose tags count for a part of a resource that has none of its own."""


@dataclass(frozen=True, slots=True)
class TagFilter:
    """A tag that a resource must have; any value will do where no values are named."""

    key: str
    values: tuple[str, ...] = ()

    def admits(self, found: Mapping[str, str]) -> bool:
        """Whether tags meet the filter."""
        return self.key in found and (not self.values or found[self.key] in self.values)


class Scope:
    """The tags of one snapshot under the filters of one policy; all filters must be met."""

    def __init__(self, filters: tuple[TagFilter, ...], snapshot: Snapshot) -> None:
        self._filters = filters
        self._snapshot = snapshot
        self._admitted: dict[str, bool] = {}
        self._gaps: dict[str, Gap] = {}
        self._read(TAGGED_GLOBAL, None)
        for region in snapshot.regions:
            self._read(TAGGED, region)
        self.narrowed = self._narrowed()
        """The snapshot with only the tagged resources in scope, for checks that judge a share of all resources."""

    def _read(self, call: Call, region: str | None) -> None:
        try:
            for row in View(self._snapshot, (call,), region).rows(call):
                self._admitted[row["ResourceARN"]] = self._admits(row)
        except Unread as unread:
            self._gaps[region or ""] = unread.gaps[0]

    def _admits(self, row: Row) -> bool:
        found = tags(row)
        return all(one.admits(found) for one in self._filters)

    @property
    def empty(self) -> bool:
        """Whether nothing that was read is in scope."""
        return not any(self._admitted.values())

    @property
    def unread(self) -> Gap | None:
        """What could not be read of the tags, if anything."""
        return next(iter(self._gaps.values()), None)

    def _narrowed(self) -> Snapshot:
        readings = dict(self._snapshot.readings)
        for call in CALLS:
            readings[call] = {request: self._only(reading) for request, reading in readings.get(call, {}).items()}
        return replace(self._snapshot, readings=readings)

    def _only(self, reading: Reading) -> Reading:
        return replace(reading, rows=tuple(row for row in reading.rows if self._admitted.get(row["ResourceARN"])))

    def applied(self, findings: tuple[Finding, ...]) -> tuple[Finding, ...]:
        """The findings within the scope; at least one."""
        kept = [judged for finding in findings if (judged := self._judged(finding)) is not None]
        if kept or not findings:
            return tuple(kept)
        first = findings[0]
        origin = Origin(first.source, first.region, first.observed_at)
        message = "No resource that the check speaks of is in the scope of the policy"
        return (not_applicable(origin, self._snapshot.account_id, message, Reason.OUTSIDE_SCOPE),)

    def _judged(self, finding: Finding) -> Finding | None:
        """The finding, Unknown where its tags are, None where it is outside."""
        if not of_workload(finding.resource):
            return finding
        for arn in carriers(finding.resource):
            if arn in self._admitted:
                return finding if self._admitted[arn] else None
        gap = self._gap(finding)
        if gap is None:
            return None
        message = f"Whether it is in the policy's scope cannot be told: {explain(gap)}"
        return unknown(gap.origin, finding.resource, message, gap.reason, observed=gap.code, expected="its tags")

    def _gap(self, finding: Finding) -> Gap | None:
        """What hides the tags of a finding's resource: a gap of its region, or any gap for what names no region."""
        _, _, service, region, *_ = finding.resource.split(":", 5)
        if service == "cloudfront":
            return self._gaps.get("")
        if not region:
            return self.unread
        if region in self._gaps:
            return self._gaps[region]
        if region in self._snapshot.regions:
            return None
        request = TAGGED.root_request(region)
        return Gap(TAGGED, request, Reason.STALE, "NotGoverned", "the region is not governed")


def of_workload(resource: str) -> bool:
    """Whether a resource belongs to a workload and is listed with its tags; everything else is always judged."""
    parts = resource.split(":", 5)
    if len(parts) != 6 or parts[0] != "arn":
        return False
    begins = WORKLOADS.get(parts[2])
    return begins is not None and re.match(begins, parts[5]) is not None


def carriers(resource: str) -> tuple[str, ...]:
    """The ARNs whose tags are those of a resource: its own, then that of what it is a part of."""
    for pattern, whole in _CARRIERS:
        if match := re.fullmatch(pattern, resource):
            return (resource, match.expand(whole))
    return (resource,)
