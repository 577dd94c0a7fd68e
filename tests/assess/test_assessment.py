"""From findings to results: waivers, attestations, resources in transit, checks that are not judged."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from passmuster.assess.assessment import Inputs, assess
from passmuster.assess.demand import Demand
from passmuster.checks.catalogue import Catalogue
from passmuster.checks.declaration import Check, check
from passmuster.inventory.call import Call
from passmuster.inventory.snapshot import View
from passmuster.model.evidence import Attestation, Evidence, Waiver
from passmuster.model.finding import Finding, failed, passed, unknown
from passmuster.model.parameter import Kind, Parameter, Parameters, Stricter
from passmuster.model.report import Inspection, Report
from passmuster.model.verdict import Category, Fix, Phase, Reason, Severity, Status
from replay import NOW, Replay, collect

INSTANCES = Call("rds", "DescribeDBInstances", items="DBInstances", keep=("DBInstanceIdentifier", "DBInstanceStatus"))


def databases_good(view: View, parameters: Parameters, evidence: Evidence) -> Iterator[Finding]:
    """A database whose name begins with `bad` fails, one in transit is unknown, any other passes."""
    for row in view.rows(INSTANCES):
        name, status = row["DBInstanceIdentifier"], row["DBInstanceStatus"]
        if status == "modifying":
            yield unknown(row.origin, name, "It is being changed", Reason.IN_TRANSIT)
        elif name.startswith("bad"):
            yield failed(row.origin, name, "It is bad")
        else:
            yield passed(row.origin, name, "It is good")


LIMIT = Parameter("maxAge", Kind.INTEGER, 30, Stricter.LOWER, "The most.")


def declared(**given: Any) -> Check:
    settings: dict[str, Any] = {
        "title": "Databases are good",
        "category": Category.BACKUP,
        "phase": Phase.FOUNDATION,
        "severity": Severity.HIGH,
        "fix": "A",
        "calls": (INSTANCES,),
        "nothing": "No database",
        "parameters": (LIMIT,),
        **given,
    }
    return check(**settings)(databases_good)


def report(
    *databases: str,
    of: Check | None = None,
    demand: Demand | None = None,
    now: datetime = NOW,
    previous: Report | None = None,
    attestations: tuple[Attestation, ...] = (),
    fails: bool = False,
) -> Report:
    """The report on an account with these databases; one named `name:status` has that status."""
    pairs = [name.partition(":") for name in databases]
    listed = [{"DBInstanceIdentifier": name, "DBInstanceStatus": status or "available"} for name, _, status in pairs]
    answer = {"error": "AccessDenied"} if fails else {"DBInstances": listed}
    snapshot = collect((INSTANCES,), Replay({"rds:DescribeDBInstances": answer}), now=now)
    inputs = Inputs(snapshot, demand or Demand(), Evidence(now=now, attestations=attestations), previous)
    return assess(Catalogue([of or declared()]), inputs, Inspection("id", now, 0.0, 0))


def waiver(*resources: str, until: timedelta = timedelta(days=1), of: str = "databases-good") -> Demand:
    return Demand(waivers=(Waiver("accepted", of, "because", NOW + until, resources),))


# waivers --------------------------------------------------------------------------------------------------------------


def test_a_waived_failure_stands_and_counts_as_passing() -> None:
    result = report("bad-one", demand=waiver()).check("databases-good")
    assert result.status is Status.PASS
    assert result.waived == 1
    assert [(f.status, f.waived_by) for f in result.findings] == [(Status.FAIL, "accepted")]
    assert result.failures == ()


def test_a_waiver_of_some_resources_covers_no_others() -> None:
    result = report("bad-one", "bad-two", demand=waiver("*-one")).check("databases-good")
    assert result.status is Status.FAIL
    assert [f.resource for f in result.failures] == ["bad-two"]
    assert result.waived == 1


@pytest.mark.parametrize(
    "demand",
    [waiver(until=timedelta(0)), waiver(of="another-check"), waiver("other-*")],
    ids=["expired", "of another check", "of another resource"],
)
def test_a_waiver_that_does_not_hold_changes_nothing(demand: Demand) -> None:
    result = report("bad-one", demand=demand).check("databases-good")
    assert (result.status, result.waived) == (Status.FAIL, 0)


def test_what_is_unknown_cannot_be_waived() -> None:
    result = report(fails=True, demand=waiver()).check("databases-good")
    assert (result.status, result.waived) == (Status.UNKNOWN, 0)


# attestations ---------------------------------------------------------------------------------------------------------

DAY = timedelta(days=1)
ATTESTED = Attestation("quarterly", "databases-good", "We looked", "https://e.example", "ann", NOW - DAY, NOW + DAY)
ATTESTABLE = declared(attestable=timedelta(days=90))


def test_an_attestation_stands_in_for_failing_and_unknown_evidence() -> None:
    result = report("bad-one", "good", of=ATTESTABLE, attestations=(ATTESTED,)).check("databases-good")
    assert result.status is Status.PASS
    assert [(f.status, f.attested_by, f.reason) for f in result.findings] == [
        (Status.PASS, "quarterly", None),
        (Status.PASS, None, None),
    ]
    assert report(fails=True, of=ATTESTABLE, attestations=(ATTESTED,)).check("databases-good").status is Status.PASS


@pytest.mark.parametrize("now", [NOW - 2 * DAY, NOW + DAY], ids=["not yet", "expired"])
def test_an_attestation_counts_only_while_it_holds(now: datetime) -> None:
    result = report("bad-one", of=ATTESTABLE, attestations=(ATTESTED,), now=now).check("databases-good")
    assert result.status is Status.FAIL


def test_a_check_that_takes_no_attestation_ignores_one() -> None:
    assert report("bad-one", attestations=(ATTESTED,)).check("databases-good").status is Status.FAIL


# in transit -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "status"), [("good", Status.PASS), ("bad-one", Status.FAIL)])
def test_a_resource_in_transit_keeps_its_last_verdict_for_under_an_hour(name: str, status: Status) -> None:
    before = report(name)
    soon = report(f"{name}:modifying", previous=before, now=NOW + timedelta(minutes=59))
    assert soon.check("databases-good").status is status
    late = report(f"{name}:modifying", previous=before, now=NOW + timedelta(minutes=60))
    assert late.check("databases-good").status is Status.UNKNOWN


def test_the_last_verdict_ages_from_when_it_was_observed_however_often_it_stood_in() -> None:
    current = report("good")
    for minutes in (20, 40):
        current = report("good:modifying", previous=current, now=NOW + timedelta(minutes=minutes))
        assert current.check("databases-good").status is Status.PASS
    current = report("good:modifying", previous=current, now=NOW + timedelta(minutes=61))
    assert current.check("databases-good").status is Status.UNKNOWN


def test_a_resource_in_transit_that_was_never_judged_is_unknown() -> None:
    assert report("new:modifying", previous=report("good")).check("databases-good").status is Status.UNKNOWN
    assert report("new:modifying").check("databases-good").status is Status.UNKNOWN


def test_a_waiver_that_ended_does_not_live_on_in_a_resource_in_transit() -> None:
    before = report("bad-one", demand=waiver(until=timedelta(minutes=5)))
    after = report("bad-one:modifying", previous=before, now=NOW + timedelta(minutes=10))
    assert (after.check("databases-good").status, after.check("databases-good").waived) == (Status.FAIL, 0)


def test_an_attestation_that_ended_does_not_live_on_in_a_resource_in_transit() -> None:
    before = report("bad-one", of=ATTESTABLE, attestations=(ATTESTED,))
    after = report("bad-one:modifying", of=ATTESTABLE, previous=before, now=NOW + timedelta(minutes=10))
    assert after.check("databases-good").status is Status.UNKNOWN


# not judged -----------------------------------------------------------------------------------------------------------


def test_a_disabled_check_is_not_judged_and_holds_the_level_back_without_leave() -> None:
    demand = Demand(disabled=frozenset({"databases-good"}))
    without = report("bad-one", demand=demand)
    result = without.check("databases-good")
    assert (result.status, result.disabled, result.findings[0].reason) == (
        Status.NOT_APPLICABLE,
        True,
        Reason.DISABLED,
    )
    assert without.level == "None"
    assert without.counts.disabled == 1
    assert without.inspection.refusals == ()
    assert report("bad-one", demand=replace(demand, may_disable=demand.disabled)).level == "Enterprise"


def test_an_optional_check_is_judged_only_when_it_is_asked_for() -> None:
    optional = declared(optional=True)
    silent = report("bad-one", of=optional).check("databases-good")
    assert (silent.status, silent.findings[0].reason) == (Status.NOT_APPLICABLE, Reason.NOT_REQUESTED)
    assert "spec.checks.optional: [databases-good]" in silent.findings[0].message
    asked = Demand(optional=frozenset({"databases-good"}))
    assert report("bad-one", of=optional, demand=asked).check("databases-good").status is Status.FAIL


# what the report carries ----------------------------------------------------------------------------------------------


def test_a_check_keeps_the_time_since_when_it_has_its_status() -> None:
    first = report("bad-one")
    second = report("bad-one", previous=first, now=NOW + DAY)
    third = report("good", previous=second, now=NOW + 2 * DAY)
    assert [one.check("databases-good").since for one in (first, second, third)] == [NOW, NOW, NOW + 2 * DAY]


def test_a_refused_read_is_listed_with_its_action_and_the_checks_that_wanted_it() -> None:
    (refusal,) = report(fails=True).inspection.refusals
    assert (refusal.call, refusal.action, refusal.reason, refusal.checks) == (
        "rds:DescribeDBInstances",
        "rds:DescribeDBInstances",
        Reason.DENIED,
        ("databases-good",),
    )


def test_a_parameter_below_the_account_s_floor_is_raised_and_told() -> None:
    floors = {"databases-good": {"maxAge": 20}}
    looser = Demand(parameters={"databases-good": {"maxAge": 40}}, floors=floors)
    (raised,) = report("good", demand=looser).raised
    assert (raised.check, raised.parameter, raised.asked, raised.floor) == ("databases-good", "maxAge", 40, 20)
    assert looser.parameters_of(declared())["maxAge"] == 20
    unset = Demand(floors=floors)
    assert report("good", demand=unset).raised == (), "nobody asked for the default"
    assert unset.parameters_of(declared())["maxAge"] == 20
    stricter = Demand(parameters={"databases-good": {"maxAge": 10}}, floors=floors)
    assert stricter.parameters_of(declared())["maxAge"] == 10


def test_the_report_repeats_what_the_check_declares() -> None:
    result = report("good").check("databases-good")
    assert (result.category, result.phase, result.severity, result.fix) == (
        Category.BACKUP,
        Phase.FOUNDATION,
        Severity.HIGH,
        (Fix.ADDITIVE,),
    )


def test_what_is_missing_is_told_gravest_first() -> None:
    assert [one.id for one in report("bad-one").missing] == ["databases-good"]
    assert report("good").missing == ()
