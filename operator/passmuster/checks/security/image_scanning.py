"""The images that run are scanned, and no critical finding about them grows old."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from fnmatch import fnmatchcase
from typing import Any

from passmuster.checks.declaration import Controls, check
from passmuster.inventory.call import RARELY, Call
from passmuster.inventory.index import Index, by_region
from passmuster.inventory.operations.ecr import REPOSITORIES, private_image
from passmuster.inventory.operations.ecs import CONTAINER_IMAGES
from passmuster.inventory.operations.inspector2 import INSPECTOR
from passmuster.inventory.snapshot import Row, View, all_of, seen, unmet
from passmuster.model.evidence import Evidence
from passmuster.model.finding import Finding, failed, passed, unknown
from passmuster.model.parameter import Kind, Parameter, Parameters, Stricter
from passmuster.model.verdict import Category, Phase, Reason, Severity

SCANNING = Call("ecr", "GetRegistryScanningConfiguration", keep="scanningConfiguration || `{}`", freshness=RARELY)

_REGION = "reverse(last_of(reverse(last_of(last_of(host, 'ecr.'), 'ecr-fips.')), '.'))"
_PATH = "last_of(last_of(last_of(value, 'amazonaws.com/'), 'amazonaws.com.cn/'), 'on.aws/')"
FINDINGS = Call(
    "ecr",
    "DescribeImageScanFindings",
    each=CONTAINER_IMAGES,
    over="[@][?contains(host || '', '.dkr.ecr') || contains(host || '', '.dkr-ecr')].image",
    region_of=f"host && {_REGION}",
    args={"maxResults": 1000},
    param={
        "registryId": "reverse(last_of(reverse(value), '.'))",
        "repositoryName": f"reverse(last_of(last_of(reverse({_PATH}), ':'), '@'))",
        "imageId": "contains(value, '@') && {imageDigest: last_of(value, '@')} || "
        "{imageTag: contains(last_of(value, '/'), ':') && last_of(value, ':') || 'latest'}",
    },
    keep="{Status: imageScanStatus.status, CompletedAt: imageScanFindings.imageScanCompletedAt, "
    "Critical: imageScanFindings.findings[?severity == 'CRITICAL'].name, "
    "Enhanced: imageScanFindings.enhancedFindings[?severity == 'CRITICAL']."
    "{Title: title, FirstObservedAt: firstObservedAt, Status: status}}",
    absent=("ImageNotFoundException", "RepositoryNotFoundException", "ScanNotFoundException"),
    freshness=RARELY,
)
"""Of the images that run, asked where their registry is; what an address says is taken from it piece by piece."""

PUSHED = ("SCAN_ON_PUSH", "CONTINUOUS_SCAN")
UNDER_WAY = ("IN_PROGRESS", "PENDING")
SCANNED = (None, "COMPLETE", "ACTIVE")
INSPECTS = ("ENABLED", "ENABLING")
SCANS = "scanned on push or all the time"


@check(
    title="Container images are scanned",
    category=Category.SECURITY,
    phase=Phase.FOUNDATION,
    severity=Severity.MEDIUM,
    fix="I",
    per="account",
    calls=(REPOSITORIES, CONTAINER_IMAGES, SCANNING, INSPECTOR, FINDINGS),
    nothing="No active service runs an image from a repository of the account",
    parameters=(
        Parameter(
            "maxCriticalAgeDays",
            Kind.INTEGER,
            30,
            Stricter.LOWER,
            "How many days a critical finding about a running image may be known, at most.",
            minimum=0,
            maximum=365,
        ),
    ),
    controls=Controls(
        config=("ECR_PRIVATE_IMAGE_SCANNING_ENABLED", "INSPECTOR_ECR_SCAN_ENABLED"),
        security_hub=("ECR.1", "Inspector.2"),
        well_architected=("SEC06-BP01", "SEC11"),
    ),
)
def image_scanning(view: View, parameters: Parameters, evidence: Evidence) -> Iterator[Finding]:
    """An image that was clean on the day it was built is vulnerable a year later without anybody touching it.

    A repository of the account is judged if an active ECS service runs an image from it; what clusters of Kubernetes
    and functions run is not told. It passes if it is scanned on push, by its own setting or by the registry's rules,
    or by enhanced scanning with Amazon Inspector on, and if no image that runs has a critical finding older than the
    policy allows. Enhanced scanning says when a finding was first seen, and one that was suppressed does not count; of
    basic scanning the last scan is the age, because more is not told. An image that was never scanned, or cannot be, is
    Unknown; a scan under way is in transit. Tags that can be moved are a warning.
    """
    images = Index(_home, view.rows(CONTAINER_IMAGES))
    inspector = by_region(view.rows(INSPECTOR))
    maximum = timedelta(days=parameters["maxCriticalAgeDays"])
    with view.judging(view.account_id):
        for repository in view.rows(REPOSITORIES):
            with view.judging(repository["repositoryArn"], repository.region):
                if seen(images.rows((view.account_id, repository.region, repository["repositoryName"]))):
                    yield _Repository(view, repository, images, inspector, maximum, evidence.now).finding()
    with view.judging(view.account_id):
        for _ in view.rows(CONTAINER_IMAGES):
            pass  # what could not be read may run an image of a repository that was not judged


def _home(container: Row) -> tuple[str, str, str] | None:
    """The account, region and repository of a container's image, if it is in a private registry."""
    image = private_image(container.get("image") or "")
    return None if image is None else (image.account, image.region, image.name)


class _Repository:
    """One repository, with the containers that run its images."""

    def __init__(
        self, view: View, row: Row, images: Index, inspector: Index, maximum: timedelta, now: datetime
    ) -> None:
        self._view = view
        self._row = row
        self._images = images
        self._inspector = inspector
        self._maximum = maximum
        self._now = now

    def finding(self) -> Finding:
        """The verdict; Unread if something that could still fail it was not read."""
        origin, arn, name = self._row.origin, self._row["repositoryArn"], self._row["repositoryName"]
        days = self._maximum.days
        clean = f"no critical finding older than {days} days about an image that runs"
        missing = unmet({SCANS: self._is_scanned, clean: self._is_clean})
        expected = f"{SCANS}, and {clean}"
        if missing:
            return failed(
                origin,
                arn,
                f"The repository {name} does not meet: {', '.join(missing)}",
                observed=", ".join([*(f"not: {phrase}" for phrase in missing), *self._old_findings()]),
                expected=expected,
                facts={
                    "missing": "scanning" if SCANS in missing else "patches",
                    "RepositoryName": name,
                    **self._registry(),
                },
            )
        for image in self._containers():
            states = [row.get("Status") for row in self._view.rows(FINDINGS, image)] or ["missing"]
            if any(state not in SCANNED for state in states):
                reason = Reason.IN_TRANSIT if states[0] in UNDER_WAY else Reason.PARTIAL
                message = f"The scan of the image {image['image'].rpartition('/')[2]}, which runs, is {states[0]}"
                return unknown(origin, arn, message, reason, observed=f"scan {states[0]}", expected=expected)
        mutable = not str(self._row.get("imageTagMutability") or "MUTABLE").startswith("IMMUTABLE")
        warnings = ("Tags can be moved to another image",) if mutable else ()
        message = f"The images of {name} are scanned"
        return passed(origin, arn, message, observed="scanned", expected=expected, warnings=warnings)

    def _containers(self) -> Iterator[Row]:
        key = (self._view.account_id, self._row.region, self._row["repositoryName"])
        return self._images.rows(key)

    def _is_scanned(self) -> bool:
        """Enhanced scanning leaves the repository's own setting aside."""
        registry = next((row for row in self._view.rows(SCANNING) if row.region == self._row.region), None)
        rules = (registry.get("rules") or []) if registry is not None else []
        covered = any(_covers(rule, self._row["repositoryName"]) for rule in rules)
        if registry is not None and registry.get("scanType") == "ENHANCED":
            return all_of(lambda: covered, self._has_inspector)
        return covered or bool((self._row.get("imageScanningConfiguration") or {}).get("scanOnPush"))

    def _registry(self) -> dict[str, str]:
        """Which kind of scanning the registry has chosen; enhanced scanning leaves the repository's setting aside."""
        rows = (row for row in seen(self._view.rows(SCANNING)) if row.region == self._row.region)
        return {"scanType": next((str(row.get("scanType") or "BASIC") for row in rows), "BASIC")}

    def _has_inspector(self) -> bool:
        told = self._inspector.rows(self._row.region, self._row.region)
        return all(row.get("ecr") in (None, *INSPECTS) for row in told)

    def _is_clean(self) -> bool:
        return all(not self._old(row) for image in self._containers() for row in self._view.rows(FINDINGS, image))

    def _old(self, scan: Row) -> list[str]:
        """The critical findings of a scan that are older than the policy allows."""
        completed = scan.get("CompletedAt")
        basic = scan.get("Critical") or []
        known = [(one.get("Title"), one.get("FirstObservedAt")) for one in scan.get("Enhanced") or [] if _is_open(one)]
        found = [*((name, completed) for name in basic), *known]
        return [str(name) for name, since in found if since is not None and self._now - since > self._maximum]

    def _old_findings(self) -> list[str]:
        scans = (row for image in seen(self._containers()) for row in seen(self._view.rows(FINDINGS, image)))
        return sorted({name for scan in scans for name in self._old(scan)})[:5]


def _is_open(finding: dict[str, Any]) -> bool:
    return finding.get("Status") in (None, "ACTIVE")


def _covers(rule: dict[str, Any], repository: str) -> bool:
    """Whether the rule scans the repository by itself; a filter without a star matches what contains it."""
    filters = [str(one.get("filter")) for one in rule.get("repositoryFilters") or []]
    matched = any(fnmatchcase(repository, text if "*" in text else f"*{text}*") for text in filters)
    return matched and rule.get("scanFrequency") in PUSHED
