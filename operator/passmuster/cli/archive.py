"""Reports of earlier inspections on this machine: a file that a person names, or a folder that keeps every one.

Used by `inspect`, to say what changed and to keep the full report, and by `report`. The folder has the layout of an
evidence store, so that one can be copied into the other.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from passmuster.api.account import AWSAccount
from passmuster.api.policy import ReadinessPolicy
from passmuster.engine import evidence
from passmuster.model.errors import EvidenceRefused, UserError
from passmuster.model.report import Report
from passmuster.report import stored


@dataclass(frozen=True, slots=True)
class Earlier:
    """The report before. `stored_at` is when the last one was kept as evidence, None where none was; `same_policy` is
    whether both are under one policy, so that one continues the other."""

    report: Report
    document: Mapping[str, Any]
    stored_at: datetime | None = None
    same_policy: bool = True


@dataclass(frozen=True, slots=True)
class Archive:
    """What `--previous` and `--evidence-dir` name."""

    previous: Path | None = None
    folder: Path | None = None

    def prepare(self) -> None:
        """Makes sure of the folder before anything is inspected. Raises UserError for one that takes no file."""
        if self.folder is not None:
            demand_room(self.folder, f"--evidence-dir {self.folder}")

    def earlier(self, policy: ReadinessPolicy, account: AWSAccount) -> Earlier | None:
        """The report to compare with: of the named file, else the last one in the folder; None without either.

        Raises UserError where the named file has none on the account.
        """
        kept = self._last(policy, account)
        if self.previous is None:
            return kept
        account_id = account.spec.account_id
        found = stored.of_account(stored.parsed(text_of(self.previous), str(self.previous)), account_id)
        if not found:
            raise UserError(f"{self.previous} holds no report on the account {account_id}: name one with --previous")
        same = [one for one in found if one["spec"].get("policyRef", {}).get("name") == policy.metadata.name]
        document = (same or found)[-1]
        report = stored.read(document, str(self.previous)).report
        return Earlier(report, document, kept.stored_at if kept is not None else None, same_policy=bool(same))

    def keep(
        self, policy: ReadinessPolicy, account: AWSAccount, report: Report, document: Mapping[str, Any], html: str
    ) -> str | None:
        """Keeps the full report and its HTML if they say something new; where, or None where nothing was written.

        Raises UserError where the folder cannot be written.
        """
        if self.folder is None:
            return None
        content = evidence.content_of(document, report.checks)
        last = self._last(policy, account)
        if last is not None:
            known = evidence.content_of(last.document, last.report.checks)
            before = {"content": known, "storedAt": last.report.inspection.started_at.isoformat()}
            if not evidence.is_due(before, content, datetime.now(UTC)):
                return None
        store = evidence.FolderStore(self._root(account))
        inspection = report.inspection
        as_json, as_html = evidence.keys(
            report.account_id,
            policy.metadata.namespace or "",
            policy.metadata.name,
            inspection.id,
            inspection.started_at,
        )
        try:
            kept = store.put(as_json, (json.dumps(document, indent=2, ensure_ascii=False) + "\n").encode(), "")
            store.put(as_html, html.encode(), "")
        except EvidenceRefused as refused:
            raise UserError(f"--evidence-dir: {refused}") from refused
        return kept

    def _last(self, policy: ReadinessPolicy, account: AWSAccount) -> Earlier | None:
        if self.folder is None:
            return None
        namespace = policy.metadata.namespace or evidence.NO_NAMESPACE
        kept = self._root(account) / account.spec.account_id / namespace / policy.metadata.name
        paths = sorted(kept.glob("*/*.json"), key=lambda path: (path.parent.name, path.name))
        if not paths:
            return None
        document = stored.parsed(text_of(paths[-1]), str(paths[-1]))[-1]
        report = stored.read(document, str(paths[-1])).report
        return Earlier(report, document, report.inspection.started_at)

    def _root(self, account: AWSAccount) -> Path:
        """The folder; the account's own within it where the manifest names one."""
        root = self.folder or Path()
        spec = account.spec.evidence
        return root / spec.folder if spec is not None and spec.folder is not None else root


def demand_room(folder: Path, told: str) -> None:
    """Makes the folder if need be, and sure that it takes files. Raises UserError, which begins with `told`."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise UserError(f"{told} cannot be written: {error.strerror}; choose another place") from error


def text_of(path: Path) -> str:
    """The text of a file. Raises UserError that names it."""
    try:
        return decoded(path.read_bytes(), str(path))
    except FileNotFoundError as error:
        raise UserError(f"{path} does not exist") from error
    except IsADirectoryError as error:
        raise UserError(f"{path} is a folder: name a file in it") from error
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}") from error


def decoded(data: bytes, source: str) -> str:
    """The text that bytes are. Raises UserError that names where they come from."""
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise UserError(f"{source} is not text in UTF-8: save it in that encoding") from error
