"""The account with thousands of resources: an inspection asks each thing once, in time, and in little memory."""

import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from inspected import Inspected, inspect, month_of_bills
from passmuster.aws.limits import Limits
from passmuster.checks.catalogue import load
from passmuster.engine.inspection import Task, reads_of
from passmuster.inventory.call import GLOBAL_REGIONS, Where, union
from passmuster.model.verdict import Status
from passmuster.sandbox.accounts import large
from passmuster.sandbox.simulated_aws import SimulatedAWS
from passmuster.sandbox.story import own_identity

pytestmark = pytest.mark.slow

MOST_MEMORY = 300
"""Mebibytes that one inspection may take at its peak."""

IDENTITY = {("sts", "AssumeRole"), ("sts", "GetCallerIdentity")}
INSPECT = (
    "import os, pathlib\n"
    "from passmuster.cli.main import run\n"
    "try:\n"
    "    run()\n"
    "finally:\n"
    "    status = pathlib.Path('/proc/self/status').read_text()\n"
    "    peak = int(status.partition('VmHWM:')[2].split()[0]) // 1024\n"
    "    os.write(2, f'peak {peak} MiB'.encode())\n"
)
"""The command line, with the highest resident set of its own life; getrusage would tell that of pytest, too."""


@pytest.fixture(scope="module")
def inspected(running_aws: SimulatedAWS, tmp_path_factory: pytest.TempPathFactory) -> Inspected:
    running_aws.reset()
    return inspect(running_aws, large.seed(running_aws), tmp_path_factory.mktemp("large"))


def test_the_account_has_thousands_of_resources_in_two_regions() -> None:
    assert 2 * sum(large.NUMBERS.values()) + large.ROLES > 3000


def test_no_operation_is_made_twice_for_the_same_target(inspected: Inspected) -> None:
    twice = {request: times for request, times in Counter(inspected.requests).items() if times > 1}
    assert not twice
    assert len(inspected.requests) > 1000


def test_no_operation_is_made_that_nobody_reads(inspected: Inspected) -> None:
    checks = inspected.governed.demand.enabled(load())
    declared = {(call.service, call.operation) for call in union(reads_of(checks))}
    made = {(request.service, request.operation) for request in inspected.requests}
    assert made - declared == IDENTITY
    assert len(inspected.requests) - len(IDENTITY) == inspected.report.inspection.calls


def test_what_is_global_is_read_once_and_what_is_regional_in_each_region(inspected: Inspected) -> None:
    regions, control = inspected.account.regions, inspected.outcome.snapshot.control_region
    for call, by_request in inspected.outcome.snapshot.readings.items():
        read_in = {request.region for request in by_request}
        if call.each is not None:
            continue
        if call.scope is Where.REGIONAL:
            assert read_in == set(regions), call.name
        else:
            assert read_in == {GLOBAL_REGIONS.get(("aws", call.service), control)}, call.name
            assert len(by_request) == 1, call.name


def test_no_check_judges_the_control_region(inspected: Inspected) -> None:
    """It is read for what global services keep there; it is not governed."""
    control = inspected.outcome.snapshot.control_region
    assert control not in inspected.account.regions
    catalogue = load()
    for result in inspected.report.checks:
        regions = {finding.region for finding in result.findings}
        if catalogue.get(result.id).per == "region":
            assert not regions & {control}, result.id


def test_everything_is_known_and_nothing_unknown(inspected: Inspected) -> None:
    assert list(inspected.outcome.snapshot.gaps()) == []
    assert inspected.report.coverage == 100
    assert inspected.report.check("encryption-at-rest").status is Status.FAIL
    assert len(inspected.report.check("encryption-at-rest").failures) > 100


def test_at_the_default_rates_the_inspection_is_done_within_its_deadline(inspected: Inspected) -> None:
    """Each bucket alone decides how long its service takes; the threads wait for all buckets at the same time."""
    asked = Counter((request.region, request.service) for request in inspected.requests)
    limits, seconds = Limits(), {}
    for (region, service), count in asked.items():
        bucket = limits.bucket(inspected.account.account_id, region, service, 0.0)
        seconds[region, service] = max(0.0, count - bucket.burst) / bucket.rate
    slowest = max(seconds, key=lambda place: seconds[place])
    assert seconds[slowest] < Task(inspected.governed.target, inspected.governed.demand).deadline / 2, slowest


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="only Linux tells the peak of a process by itself")
def test_an_inspection_in_a_process_of_its_own_stays_below_300_mib(
    running_aws: SimulatedAWS, inspected: Inspected, tmp_path: Path
) -> None:
    manifest = tmp_path / "large.yaml"
    manifest.write_text(inspected.account.manifest)
    command = [sys.executable, "-c", INSPECT, "inspect", "-f", str(manifest), "--endpoint-url", running_aws.url]
    with own_identity(running_aws, inspected.account.account_id):
        ran = subprocess.run(
            [*command, "--output", "json"],
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
            env=dict(os.environ),
        )
    assert '"coverage": 100' in ran.stdout, ran.stderr
    peak = int(ran.stderr.rpartition("peak ")[2].removesuffix(" MiB"))
    assert 50 < peak < MOST_MEMORY * 0.9


def test_looking_at_it_for_a_month_costs_less_than_a_dollar(running_aws: SimulatedAWS, inspected: Inspected) -> None:
    assert inspected.report.inspection.billed_cost > 0
    assert 0 < month_of_bills(running_aws, inspected) < 1
