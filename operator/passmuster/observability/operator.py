"""The dashboard Operator: the process itself, its queue and its requests to AWS, for whoever runs it."""

from __future__ import annotations

from passmuster.metrics import contract
from passmuster.observability.alerts import BEHIND, SILENT_HOURS
from passmuster.observability.fleet import NONE_STEPS
from passmuster.observability.panels import Column, Dashboard, Kind, Panel, Query, Row, Step, Unit, Variable
from passmuster.observability.queries import POLICY

WINDOW = "[$__rate_interval]"


def _rate(name: str, matchers: str = "") -> str:
    return f"rate({name}{matchers}{WINDOW})"


def _quantile(share: float, name: str, by: str = "") -> str:
    grouping = f"{by}, le" if by else "le"
    return f"histogram_quantile({share}, sum by ({grouping}) ({_rate(f'{name}_bucket')}))"


def _spread(name: str) -> tuple[Query, Query]:
    """How long most of it takes, and how long nearly all."""
    return Query(_quantile(0.5, name), "half of them"), Query(_quantile(0.95, name), "nineteen of twenty")


_SERVICE = '{service=~"$service"}'

_PROCESS = Row(
    "The process",
    (
        Panel(
            Kind.STAT,
            "Leads",
            "How many processes hold the lease: exactly one works, the others stand by.",
            Unit.NUMBER,
            (Query(f"sum({contract.LEADER.name})"),),
            width=4,
            steps=(Step(None, "red", "nobody"), Step(1, "green", "one")),
        ),
        Panel(
            Kind.STAT,
            "Processes",
            "How many processes are scraped, standbys included.",
            Unit.NUMBER,
            (Query(f"count({contract.LEADER.name})"),),
            width=4,
        ),
        Panel(
            Kind.STAT,
            "Version",
            "The version of the operator, one for each that runs.",
            Unit.TEXT,
            (Query(f"max by (version) ({contract.BUILD.name})", "{{version}}"),),
            width=4,
            names=True,
        ),
        Panel(
            Kind.STAT,
            "Watches behind",
            "How long the watch streams have been behind the API server; 0 while they are not.",
            Unit.SECONDS,
            (Query(f"max({contract.CANARY.name})"),),
            width=4,
            steps=(Step(None, "green", "in time"), Step(60, "orange", "late"), Step(BEHIND, "red", "stalled")),
        ),
        Panel(
            Kind.STAT,
            "Last notification",
            "How long ago Alertmanager's last notification was taken.",
            Unit.SECONDS,
            (Query(f"time() - max({contract.LAST_ALERT.name})"),),
            width=4,
            steps=(Step(None, "green", "heard of"), Step(SILENT_HOURS * 3600, "red", "silent")),
        ),
        Panel(
            Kind.STAT,
            "Oldest inspection",
            "The age of the inspection that is longest ago, over all accounts.",
            Unit.SECONDS,
            (Query(f"time() - min(max by ({POLICY}) ({contract.INSPECTED.name}))"),),
            width=4,
        ),
    ),
)

_QUEUE = Row(
    "Queue and inspections",
    (
        Panel(
            Kind.SERIES,
            "Waiting for a worker",
            "Objects that are due and wait.",
            Unit.NUMBER,
            (Query(f"max({contract.QUEUE_DEPTH.name})", "objects"),),
            width=8,
            height=7,
        ),
        Panel(
            Kind.SERIES,
            "Longest wait",
            "How long the object has waited that waits longest.",
            Unit.SECONDS,
            (Query(f"max({contract.QUEUE_OLDEST.name})", "oldest"),),
            width=8,
            height=7,
            steps=(Step(None, "green", "in time"), Step(600, "orange", "late"), Step(3 * 3600, "red", "far too late")),
        ),
        Panel(
            Kind.SERIES,
            "Added and tried again",
            "Objects put into the queue, and those whose work is tried again after a failure.",
            Unit.PER_SECOND,
            (
                Query(f"sum({_rate(contract.QUEUE_ADDS.name)})", "added"),
                Query(f"sum({_rate(contract.QUEUE_RETRIES.name)})", "tried again"),
            ),
            width=8,
            height=7,
        ),
        Panel(
            Kind.SERIES,
            "Work on an object",
            "How long workers are busy with one object.",
            Unit.SECONDS,
            _spread(contract.QUEUE_SECONDS.name),
            width=8,
            height=7,
        ),
        Panel(
            Kind.SERIES,
            "Inspections",
            "How long inspections take that bring a report.",
            Unit.SECONDS,
            _spread(contract.INSPECTION_SECONDS.name),
            width=8,
            height=7,
        ),
        Panel(
            Kind.BARS,
            "Inspections without a report",
            "Since the operator started, by the reason that the condition of the policy names.",
            Unit.NUMBER,
            (Query(f"sum by (reason) ({contract.INSPECTION_FAILURES.name})", "{{reason}}"),),
            width=8,
            height=7,
            steps=NONE_STEPS,
        ),
    ),
)

_AWS = Row(
    "Requests to AWS",
    (
        Panel(
            Kind.SERIES,
            "Requests by service",
            "Requests that were sent, by service; at each moment the ten that are asked most.",
            Unit.PER_SECOND,
            (Query(f"topk(10, sum by (service) ({_rate(contract.REQUESTS.name, _SERVICE)}))", "{{service}}"),),
            width=12,
            height=8,
        ),
        Panel(
            Kind.SERIES,
            "Requests by outcome",
            "What became of them: ok, denied, throttled, serviceerror and others.",
            Unit.PER_SECOND,
            (Query(f"sum by (outcome) ({_rate(contract.REQUESTS.name, _SERVICE)})", "{{outcome}}"),),
            width=12,
            height=8,
        ),
        Panel(
            Kind.SERIES,
            "Throttled",
            "Requests that AWS throttled, by service.",
            Unit.PER_SECOND,
            (Query(f"sum by (service) ({_rate(contract.THROTTLES.name, _SERVICE)})", "{{service}}"),),
            width=8,
            height=7,
        ),
        Panel(
            Kind.SERIES,
            "Duration",
            "The 95th percentile of the time that a request takes with all its pages, of the ten slowest services.",
            Unit.SECONDS,
            (Query(f"topk(10, {_quantile(0.95, contract.REQUEST_SECONDS.name, 'service')})", "{{service}}"),),
            width=8,
            height=7,
        ),
        Panel(
            Kind.TABLE,
            "Denied",
            "Operations that the inspection role may not call, since the operator started: compare the role with "
            "`passmuster iam-policy`.",
            Unit.NUMBER,
            (Query(f'sum by (service, operation) ({contract.REQUESTS.name}{{outcome="denied"}})'),),
            width=8,
            height=7,
            columns=(Column("service", "Service"), Column("operation", "Operation"), Column("Value", "Requests")),
            sort="Requests",
        ),
        Panel(
            Kind.STAT,
            "Billed since the start",
            "What AWS charges for requests that it bills, such as Cost Explorer's.",
            Unit.DOLLARS,
            (Query(f"sum({contract.API_COST.name})"),),
            width=4,
            height=6,
        ),
        Panel(
            Kind.SERIES,
            "Writes of status",
            "Writes to the API server; an unchanged fleet causes next to none.",
            Unit.PER_SECOND,
            (Query(f"sum({_rate(contract.STATUS_WRITES.name)})", "writes"),),
            width=10,
            height=6,
        ),
        Panel(
            Kind.SERIES,
            "Notifications of Alertmanager",
            "How they were answered: accepted, unauthorized, invalid, oversized, unavailable.",
            Unit.PER_SECOND,
            (Query(f"sum by (outcome) ({_rate(contract.ALERTS.name)})", "{{outcome}}"),),
            width=10,
            height=6,
        ),
    ),
)

OPERATOR = Dashboard(
    uid="passmuster-operator",
    title="Passmuster / Operator",
    description="The process itself: who leads, the work queue, and the requests to AWS with their denials.",
    variables=(Variable("service", "AWS service", "service", contract.REQUESTS.name, several=True),),
    rows=(_PROCESS, _QUEUE, _AWS),
    range="now-6h",
)
