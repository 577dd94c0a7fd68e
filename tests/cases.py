"""The fixtures of the checks as objects: what an account answers, under which policy, and what the check must say.

Read by the test of the fixtures themselves and by the tests of the whole registry, which spoil the answers of every
case and demand that no verdict turns.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass
from datetime import timedelta
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import yaml

from passmuster.assess.demand import Demand
from passmuster.checks.catalogue import load
from passmuster.checks.declaration import Check
from passmuster.checks.judge import calls_of, judge
from passmuster.inventory.call import Request
from passmuster.inventory.snapshot import Snapshot
from passmuster.model.evidence import Attestation, Evidence, Recovery
from passmuster.model.finding import Finding
from passmuster.model.parameter import Parameters
from replay import ACCOUNT, NOW, REGION, Replay, aware, collect

LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
FOLDER = Path(__file__).parent / "checks"
PAYER = "999999999999"
PAGING = re.compile(r"(?i)next.*|.*marker|.*token|position|istruncated")
ALLOWED = {
    "name",
    "regions",
    "partition",
    "account",
    "parameters",
    "floors",
    "answers",
    "payer",
    "missing",
    "recovery",
    "evidence",
    "expect",
    "findings",
}


@dataclass(frozen=True)
class Account:
    """What a check judges: a snapshot, and that of the payer account where the case has one."""

    snapshot: Snapshot
    payer: Snapshot | None


@dataclass(frozen=True)
class Case:
    """One case of a fixture; `answers` are those of the whole file under its own."""

    check_id: str
    raw: Mapping[str, Any]
    answers: Mapping[str, Any]

    @property
    def name(self) -> str:
        return str(self.raw["name"])

    @property
    def expect(self) -> str:
        return str(self.raw["expect"])

    @property
    def check(self) -> Check:
        return load().get(self.check_id)

    @property
    def parameters(self) -> Parameters:
        holders = (self.check_id, *self.check.shares)
        given, floors = self.raw.get("parameters", {}), self.raw.get("floors", {})
        demand = Demand(parameters=dict.fromkeys(holders, given), floors=dict.fromkeys(holders, floors))
        return demand.parameters_of(self.check)

    @property
    def evidence(self) -> Evidence:
        recovery, facts = self.raw.get("recovery", {}), aware(self.raw.get("evidence", {}))
        return Evidence(
            now=NOW,
            attestations=tuple(
                Attestation(**{"check": self.check_id, **attestation}) for attestation in facts.get("attestations", ())
            ),
            heartbeats=facts.get("heartbeats", {}),
            probes=facts.get("probes", {}),
            report_stored_at=facts.get("reportStoredAt"),
            change_approved_at=facts.get("changeApprovedAt"),
            recovery=Recovery(
                rto=_hours(recovery.get("rto")),
                rpo=_hours(recovery.get("rpo")),
                secondary_region=recovery.get("secondaryRegion"),
                cross_region=recovery.get("crossRegion", "Required"),
            ),
        )

    def account(self) -> Account:
        """The account as the real collector reads it from the answers; read once, and not to be changed."""
        return self._account

    @cached_property
    def _account(self) -> Account:
        return self.read_through(Replay(self.answers, self.missing), Replay(self.raw.get("payer", {}), self.missing))

    def read_through(self, transport: Any, payer_transport: Any | None = None) -> Account:
        """The account as it is read through another transport."""
        regions, partition = tuple(self.raw.get("regions", [REGION])), self.raw.get("partition", "aws")

        def snapshot(account: str, through: Any) -> Snapshot:
            return collect(calls_of(self.check), through, account=account, regions=regions, partition=partition)

        payer = snapshot(PAYER, payer_transport or transport) if "payer" in self.raw else None
        return Account(snapshot(self.raw.get("account", ACCOUNT), transport), payer)

    def findings(self, account: Account) -> tuple[Finding, ...]:
        """What the check says about the account under this case's policy."""
        return judge(self.check, account.snapshot, self.parameters, self.evidence, account.payer)

    @property
    def missing(self) -> frozenset[str]:
        return frozenset(self.raw.get("missing", ()))


def _hours(value: str | None) -> timedelta | None:
    return timedelta(hours=float(value.removesuffix("h"))) if value else None


@lru_cache(maxsize=1)
def every_case() -> tuple[Case, ...]:
    """Every case of every fixture, in the order of the files."""
    found = []
    for path in sorted(FOLDER.glob("*.yaml")):
        document = yaml.load(path.read_text(), Loader=LOADER)
        for raw in document["cases"]:
            answers = {**document.get("answers", {}), **raw.get("answers", {})}
            found.append(Case(document["check"], raw, answers))
    return tuple(found)


def cases_of(check: Check) -> tuple[Case, ...]:
    """The cases of one check's fixture."""
    return tuple(case for case in every_case() if case.check_id == check.id)


def policy_of(check: Check) -> Case:
    """A case under whose policy the check judges something: its first that passes, else its first at all."""
    cases = cases_of(check)
    return next((case for case in cases if case.expect == "Pass" and "partition" not in case.raw), cases[0])


@lru_cache(maxsize=1)
def merged_answers() -> dict[str, Any]:
    """One account that has everything the fixtures know, so that every declared call is made and answered.

    Every request of an operation gets the join of all its answers: lists are joined, of anything else the first counts.
    """
    merged: dict[str, dict[str, Any]] = {}
    for case in every_case():
        for place, recorded in {**case.answers, **case.raw.get("payer", {})}.items():
            answers = recorded if isinstance(recorded, list) else [{"answer": recorded}]
            for one in answers:
                answer = one.get("answer", one)
                for page in answer.get("pages", [answer]):
                    if "error" not in page:
                        _join(merged.setdefault(place.rpartition("/")[2], {}), page)
    return {name: aware(answer) for name, answer in merged.items()}


class MergedAccount:
    """A transport that answers every request of an operation with the join of all its answers."""

    def __init__(self, answers: Mapping[str, Any] | None = None) -> None:
        self.answers = merged_answers() if answers is None else answers
        self.asked: list[Request] = []

    def offers(self, service: str, partition: str) -> bool:
        return True

    def pages(self, request: Request) -> Iterator[Mapping[str, Any]]:
        self.asked.append(request)
        yield self.answers.get(f"{request.service}:{request.operation}", {})


def _join(known: dict[str, Any], page: Mapping[str, Any]) -> None:
    for member, value in page.items():
        if PAGING.fullmatch(member):
            continue
        if isinstance(value, list):
            found = known.setdefault(member, [])
            found.extend(deepcopy(one) for one in value if one not in found)
        elif isinstance(value, dict) and isinstance(known.get(member, {}), dict):
            _join(known.setdefault(member, {}), value)
        else:
            known.setdefault(member, value)


def shown(findings: tuple[Finding, ...] | list[Finding]) -> str:
    """Findings as lines, for the message of a failing test."""
    return "\n".join(f"{f.status} {f.reason} {f.region} {f.resource}: {f.message} [{f.observed}]" for f in findings)
