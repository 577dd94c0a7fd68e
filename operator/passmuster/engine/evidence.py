"""Evidence in both directions: the full reports that are kept outside of the cluster, and the dated facts that checks
are given because no AWS call reports them.

Called by the reconciler around an inspection, and by the command line for its folder. A store that does not take a
report is told as a condition and an event; it never changes or stops an inspection.

::

    alerts webhook --heartbeats, probes--> status of the policy ----+
    Remediation objects --applied after an approval-----------------+--> Evidence --> checks
    evidence store <--full report-- inspection --stored at--> report+
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Protocol

from passmuster.api.account import AWSAccount
from passmuster.api.conditions import ConditionReason
from passmuster.api.fields import written
from passmuster.api.policy import ReadinessPolicy
from passmuster.api.remediation import HistoryEntry, Remediation, State
from passmuster.aws.evidence_bucket import EvidenceBucket, Place
from passmuster.engine.ports import REMEDIATIONS, Object
from passmuster.engine.services import Services
from passmuster.model.errors import EvidenceRefused
from passmuster.model.evidence import Evidence
from passmuster.model.report import CheckResult
from passmuster.model.verdict import Status
from passmuster.remediation.rendering import digest_of

STORED_AGAIN = timedelta(days=7)
"""How old the stored report may be before it is stored again although it says the same."""

NO_NAMESPACE = "local"
"""Stands in a key for the namespace of a policy that was not read from a cluster."""


class Store(Protocol):
    """Takes files under names with slashes, and keeps them."""

    def put(self, key: str, body: bytes, content_type: str) -> str:
        """Keeps the bytes; returns where they lie. Raises EvidenceRefused."""


class FolderStore:
    """A folder of this machine. A file appears whole or not at all."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def put(self, key: str, body: bytes, content_type: str) -> str:  # noqa: ARG002  # a file's name says what it is
        """Writes a file below the folder; returns its path."""
        path = self._root / key
        unfinished = path.with_name(f".{path.name}.unfinished")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            unfinished.write_bytes(body)
            unfinished.replace(path)
        except OSError as error:
            reason = ConditionReason.EVIDENCE_FOLDER_MISSING
            raise EvidenceRefused(reason, f"the folder {self._root} cannot be written: {error.strerror}") from error
        return str(path)


@dataclass(frozen=True, slots=True)
class Stored:
    """A full report in the store, as the report's status tells of it."""

    uri: str
    sha256: str
    content: str
    inspection: str
    stored_at: datetime

    def document(self) -> dict[str, Any]:
        """The member `evidence` of a report's status."""
        return {
            "uri": self.uri,
            "sha256": self.sha256,
            "content": self.content,
            "inspection": self.inspection,
            "storedAt": written(self.stored_at),
        }


def keys(account_id: str, namespace: str, policy: str, inspection: str, started_at: datetime) -> tuple[str, str]:
    """The names of a report's JSON and HTML: account, namespace, policy, day, id of the inspection."""
    name = f"{account_id}/{namespace or NO_NAMESPACE}/{policy}/{started_at:%Y-%m-%d}/{inspection}"
    return f"{name}.json", f"{name}.html"


def content_of(document: Mapping[str, Any], results: Iterable[CheckResult]) -> str:
    """Digest of what a report says, whenever it is said: verdicts, resources, what was seen of failing ones, plan."""
    status = document["status"]
    said = {
        "figures": [status[name] for name in ("declared", "level", "score", "coverage", "catalogueVersion")],
        "checks": [
            (result.id, result.status.value, result.disabled, sorted(_said(result), key=repr)) for result in results
        ],
        "plan": [(step["remediation"], step["monthlyCost"], step.get("blocked")) for step in status["plan"]],
    }
    return digest_of(json.dumps(said, sort_keys=True))


def _said(result: CheckResult) -> Iterable[tuple[Any, ...]]:
    for finding in result.findings:
        seen = finding.observed if finding.status in (Status.FAIL, Status.UNKNOWN) else ""
        people = (finding.waived_by, finding.attested_by)
        yield (finding.region, finding.resource, finding.status.value, finding.reason, seen, *people)


def store_of(services: Services, account: AWSAccount) -> Store:
    """The store that the account names. Raises EvidenceRefused where this process cannot serve it."""
    spec = account.spec.evidence
    if spec is None:
        raise ValueError(f"the AWSAccount {account.metadata.name} names no evidence store")
    if spec.s3 is not None:
        place = Place(
            bucket=spec.s3.bucket,
            prefix=spec.s3.prefix,
            region=spec.s3.region,
            partition=account.spec.partition.value,
            role_arn=spec.s3.role_arn,
            external_id=account.spec.external_id,
            kms_key=spec.s3.kms_key_arn,
        )
        return EvidenceBucket(
            services.clients,
            services.identities,
            place,
            lambda operation, outcome: services.counters.request("s3", operation, outcome, 0.0),
        )
    if services.evidence_dir is None:
        message = (
            f"the AWSAccount {account.metadata.name} names the folder {spec.folder}: start the operator with "
            "--evidence-dir, or name an S3 prefix"
        )
        raise EvidenceRefused(ConditionReason.EVIDENCE_FOLDER_MISSING, message)
    return FolderStore(services.evidence_dir / str(spec.folder))


def kept_of(account: AWSAccount, status: Mapping[str, Any]) -> Mapping[str, Any]:
    """What a report's status tells of the account's store; empty where it tells of another, or the account has none.

    Who moves the store would else wait a week for the first report in it.
    """
    kept: Mapping[str, Any] = status.get("evidence") or {}
    store, uri = account.spec.evidence, str(kept.get("uri", ""))
    if store is None:
        return {}
    if store.s3 is not None:
        return kept if uri.startswith(f"s3://{store.s3.bucket}/{store.s3.prefix}/") else {}
    return kept if f"/{store.folder}/{account.spec.account_id}/" in f"/{uri}" else {}


def is_due(before: Mapping[str, Any], content: str, now: datetime) -> bool:
    """Whether a report is to be stored: it says something else than the stored one, or that is a week old.

    `before` is the member `evidence` of the report's status, empty where nothing was stored.
    """
    if before.get("content") != content:
        return True
    return now - datetime.fromisoformat(before["storedAt"]) >= STORED_AGAIN


# what checks are given


def gathered(
    services: Services, policy: ReadinessPolicy, account: AWSAccount, report: Object | None, evidence: Evidence
) -> Evidence:
    """The evidence with what the operator itself has seen: signs of life, stored reports, approved changes.

    `report` is the ReadinessReport of the policy and account as stored, None before the first.
    """
    remediations = [body for _, body in services.cache.all(REMEDIATIONS)]
    return replace(
        evidence,
        heartbeats=dict(policy.status.heartbeats),
        probes=dict(policy.status.probes),
        report_stored_at=stored_at(account, report),
        change_approved_at=change_approved_at(remediations, account.spec.account_id),
    )


def stored_at(account: AWSAccount, report: Object | None) -> datetime | None:
    """When a report was last kept in the account's evidence store; None without a store, whatever there was once."""
    moment = kept_of(account, (report or {}).get("status") or {}).get("storedAt")
    return datetime.fromisoformat(moment) if moment else None


def change_approved_at(remediations: Iterable[Object], account_id: str) -> datetime | None:
    """When a change to the account was last applied after a person had approved it."""
    moments = [
        moment
        for body in remediations
        if body["spec"]["accountId"] == account_id and _was_applied(body)
        for moment in _approved_and_applied(Remediation.read(body).status.history)
    ]
    return max(moments, default=None)


def _was_applied(body: Object) -> bool:
    """Whether the object ever came to be applied: most never do, and need not be read whole."""
    return any(entry["state"] == State.APPLIED for entry in (body.get("status") or {}).get("history") or ())


def _approved_and_applied(history: Iterable[HistoryEntry]) -> Iterable[datetime]:
    approved = False
    for entry in history:
        if entry.state is State.SCHEDULED:
            approved = any(not by.startswith("system:") for by in entry.by)
        elif entry.state is State.APPLIED and approved:
            yield entry.at
