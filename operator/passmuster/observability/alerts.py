"""Every alert: its expression, what it says, and its runbook. The one source of rules, runbooks and docs/alerts.md.

Every expression aggregates away the labels of the scrape (pod, instance), so that a restarted operator continues the
same alert instead of resolving it and firing another; and keeps the labels by which the operator's own webhook finds
the policy and the check again.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass

from passmuster.metrics import contract
from passmuster.model.documentation import DOCUMENTATION
from passmuster.model.evidence import WARN_BEFORE_EXPIRY
from passmuster.observability.queries import POLICY

COVERED = 0.8
DROP = 0.05
THROTTLED = 0.1
EXPIRES_WITHIN = WARN_BEFORE_EXPIRY.days
"""Days; the same in which the condition Compliant names what ends."""

BEHIND = 150
"""Seconds; /healthz fails at the same age."""

SILENT_HOURS = 5
"""More than the four hours after which Alertmanager repeats a notification unless it is configured otherwise."""

_POLICY = "{{ $labels.policy_namespace }}/{{ $labels.policy }}"
_ACCOUNT = "{{ $labels.account_id }}"


class Urgency(enum.StrEnum):
    """The label `severity` of an alert: who should look, and when."""

    CRITICAL = "critical"
    """Somebody looks now."""
    WARNING = "warning"
    """Somebody looks today."""
    INFO = "info"
    """Somebody looks this week."""
    NONE = "none"
    """Nobody looks: it is a sign of life."""


@dataclass(frozen=True, slots=True)
class Alert:
    """One alert. `lasts` is the time the expression must hold, as Prometheus writes it, empty for none.

    The runbook is `meaning`, `look` and `fix` (one step each), and `silence`.
    """

    name: str
    expression: str
    lasts: str
    urgency: Urgency
    summary: str
    description: str
    meaning: str
    look: tuple[str, ...]
    fix: tuple[str, ...]
    silence: str

    @property
    def runbook_url(self) -> str:
        """Where the runbook is served."""
        return f"{DOCUMENTATION}/runbooks/{self.name}/"


_PER_POLICY = "Silence it in Alertmanager for the labels `policy_namespace`, `policy` and `account_id` that it carries."
_LOOK_POLICY = "`kubectl describe rp POLICY -n NAMESPACE`: level, score, conditions and the last events."
_LOOK_REPORT = "`kubectl get rr -n NAMESPACE -o yaml`: every failing check with its findings and evidence."

ALERTS: tuple[Alert, ...] = (
    Alert(
        name="PassmusterScoreBelowTarget",
        expression=f"""
            max by ({POLICY}) ({contract.SCORE.name})
            < max by ({POLICY}) ({contract.SCORE_TARGET.name})
        """,
        lasts="15m",
        urgency=Urgency.WARNING,
        summary=f"{_POLICY} scores below its target in account {_ACCOUNT}",
        description="The readiness score is {{ $value | humanizePercentage }}, below the minimumScore that the policy "
        "declares.",
        meaning="The account has a score, and it is lower than `spec.minimumScore` of the policy. The condition "
        "Compliant is False for the same reason.",
        look=(_LOOK_POLICY, "The dashboard *Passmuster / Account*: what fails, since when, and what a fix costs."),
        fix=(
            "Follow the plan of the report: `kubectl get rr -n NAMESPACE -o yaml`, member `status.plan`, or "
            "`passmuster plan` from a workstation.",
            "Approve what is proposed (`passmuster approve NAME -n NAMESPACE`), or make the change where the resource "
            "is declared.",
            "Where a failure is accepted, write a ReadinessWaiver with an end; waived failures do not count.",
        ),
        silence=f"{_PER_POLICY} To accept the score for good, lower `spec.minimumScore`.",
    ),
    Alert(
        name="PassmusterCriticalCheckFailing",
        expression=f"""
            max by ({POLICY}, check) ({contract.CHECK.name}{{severity="Critical", status="Fail"}}) == 1
        """,
        lasts="5m",
        urgency=Urgency.CRITICAL,
        summary=f"{{{{ $labels.check }}}} fails in account {_ACCOUNT} ({_POLICY})",
        description="A check of severity Critical fails. Sent to the operator's webhook, this alert has the check "
        "inspected again, and brings forward what is permitted to be done about it.",
        meaning="One of the checks fails that protect the account's data, its trail or its users most directly. The "
        "alert carries the label `check`, one alert for each.",
        look=(
            _LOOK_REPORT,
            "`passmuster checks CHECK` explains the check: why it matters and what it reads.",
            "Did it fail from one inspection to the next? `status.changes` of the report tells what changed with it.",
        ),
        fix=(
            "If a Remediation exists (`kubectl get rem -n NAMESPACE`), read what it would do and approve it.",
            "Else mend the resource that the finding names, then ask for an inspection: "
            '`kubectl annotate rp POLICY -n NAMESPACE --overwrite reconcile.passmuster.io/requestedAt="$(date +%s)"`.',
        ),
        silence="Silence the label `check` together with `account_id`. A failure that is accepted until a date belongs "
        "into a ReadinessWaiver, which ends the alert and is seen in every report.",
    ),
    Alert(
        name="PassmusterScoreDropped",
        expression=f"""
            max by ({POLICY}) (max_over_time({contract.SCORE.name}[1d]))
            - max by ({POLICY}) ({contract.SCORE.name}) > {DROP}
        """,
        lasts="",
        urgency=Urgency.WARNING,
        summary=f"The score of {_POLICY} dropped in account {_ACCOUNT}",
        description="The readiness score is {{ $value | humanizePercentage }} (in points of the score) below its "
        "highest of the last day.",
        meaning=f"The score fell by more than {DROP:.0%} within a day: somebody changed the account, a waiver or an "
        "attestation ended, or a new version of the catalogue judges more.",
        look=(
            "`status.changes` of the ReadinessReport: which checks changed, and which resources appeared or went.",
            "The dashboard *Passmuster / Account*: the state timeline shows when which check turned.",
        ),
        fix=(
            "If a change of the account is the cause, take it back or complete it.",
            "If a waiver or an attestation ended, renew it or mend what it accepted.",
        ),
        silence=f"It ends by itself a day after the drop, or when the score is back. {_PER_POLICY}",
    ),
    Alert(
        name="PassmusterInspectionStale",
        expression=f"""
            (
              time() - max by ({POLICY}) ({contract.INSPECTED.name})
              > 3 * max by ({POLICY}) ({contract.INTERVAL.name})
            )
            or
            (
              max by ({POLICY}) ({contract.INTERVAL.name})
              unless max by ({POLICY}) ({contract.INSPECTED.name})
            )
        """,
        lasts="15m",
        urgency=Urgency.WARNING,
        summary=f"{_POLICY} was not inspected in account {_ACCOUNT} for three intervals",
        description="Either the last inspection that brought a report is older than three times the policy's interval, "
        "or there was none yet. What is shown of the account is old.",
        meaning="Inspections are due and bring no report: the role is refused, the policy is refused by the account's "
        "rules, AWS does not answer, or the operator does not get round to it. A suspended policy does not alert.",
        look=(
            _LOOK_POLICY,
            "The conditions Ready, Inspected and CredentialsValid name the reason; docs/troubleshooting.md lists what "
            "each reason means and who acts next.",
            "The dashboard *Passmuster / Operator*: does the queue grow, does a process lead?",
        ),
        fix=(
            "Reason AssumeRoleDenied or AccountMismatch: see PassmusterCredentialsInvalid.",
            "Reason NamespaceNotAllowed, ModeNotAllowed or RegionNotAllowed: the owner of the AWSAccount decides.",
            "The queue grows: more `--workers`, or a longer `spec.interval`.",
        ),
        silence=f"{_PER_POLICY} A policy that shall rest is suspended (`spec.suspend: true`).",
    ),
    Alert(
        name="PassmusterCoverageLow",
        expression=f"max by ({POLICY}) ({contract.COVERAGE.name}) < {COVERED}",
        lasts="1h",
        urgency=Urgency.WARNING,
        summary=f"Much of account {_ACCOUNT} cannot be judged ({_POLICY})",
        description="Only {{ $value | humanizePercentage }} of the enabled checks could be judged; the others are "
        "Unknown.",
        meaning=f"More than {1 - COVERED:.0%} of the checks are Unknown. Unknown is never a pass: level and score "
        "speak of less than they seem to.",
        look=(
            "`kubectl get rr NAME -n NAMESPACE -o jsonpath='{.status.refusals}'`: every read that was refused, with "
            "the IAM action that permits it.",
            "The condition Inspected of the policy: PartialInspection or Throttled.",
        ),
        fix=(
            "Compare the inspection role with `passmuster iam-policy`, and update the role's stack "
            "(`passmuster bootstrap role`).",
            "A service control policy of the organization that denies reads needs an exception for the role.",
        ),
        silence=_PER_POLICY,
    ),
    Alert(
        name="PassmusterCredentialsInvalid",
        expression=f"max by (account, account_id) ({contract.CREDENTIALS.name}) == 0",
        lasts="5m",
        urgency=Urgency.CRITICAL,
        summary=f"The operator is not let into account {_ACCOUNT} (AWSAccount {{{{ $labels.account }}}})",
        description="The role of the AWSAccount was refused the last time it was tried. Nothing of the account is "
        "inspected, and nothing is changed in it.",
        meaning="The condition CredentialsValid of the AWSAccount is False: the role may not be assumed, does not "
        "exist, belongs to another account, or the operator itself has no credentials.",
        look=(
            "`kubectl describe awsaccount NAME`: the reason and AWS's own words.",
            "Is it one account or all of them? If all, the operator's own identity is the cause.",
        ),
        fix=(
            "The role's trust policy must name the operator's identity and the `externalId` of the AWSAccount; "
            "`passmuster bootstrap role` prints both.",
            "AccountMismatch: correct `spec.accountId` or `spec.roleArn`.",
            "The operator tries again by itself, at the latest after ten minutes.",
        ),
        silence="Silence the label `account`. An account that is closed is deleted as an AWSAccount.",
    ),
    Alert(
        name="PassmusterRemediationFailed",
        expression=f"""
            max by ({POLICY}, phase, state) ({contract.REMEDIATIONS.name}{{state=~"Failed|RolledBack"}}) > 0
        """,
        lasts="",
        urgency=Urgency.WARNING,
        summary=f"A remediation of {_POLICY} is {{{{ $labels.state }}}} in account {_ACCOUNT}",
        description="{{ $value }} of phase {{ $labels.phase }}. RolledBack: AWS took the change back. Failed: it was "
        "made, or partly made, and did not bring what was approved.",
        meaning="A change that was approved did not come to its end. RolledBack leaves the account as it was; after "
        "Failed a stack may stand that does not help.",
        look=(
            "`kubectl describe rem -n NAMESPACE`: the last line of the history has AWS's reason.",
            "The events of the stack in the CloudFormation console, by the name in `status.stack.name`.",
        ),
        fix=(
            "RolledBack: remove the cause that AWS names and approve it anew.",
            "Failed with a stack left standing: `passmuster approve NAME -n NAMESPACE --undo`, or mend it by hand; the "
            "next inspection sees either.",
        ),
        silence=f"{_PER_POLICY} Deleting the Remediation object ends the alert; it is proposed again while its checks "
        "fail.",
    ),
    Alert(
        name="PassmusterApprovalWaiting",
        expression=f"""max by ({POLICY}, phase) ({contract.REMEDIATIONS.name}{{state="AwaitingApproval"}}) > 0""",
        lasts="1d",
        urgency=Urgency.INFO,
        summary=f"Changes for {_POLICY} have waited a day for approval (account {_ACCOUNT})",
        description="{{ $value }} proposed remediations of phase {{ $labels.phase }} wait for somebody who may approve "
        "them.",
        meaning="The operator found what would make checks pass and may not do it by itself.",
        look=(
            "`kubectl get rem -n NAMESPACE`: what each costs; `kubectl describe rem NAME -n NAMESPACE`: what it does.",
        ),
        fix=(
            "Approve it: `passmuster approve NAME -n NAMESPACE`.",
            "Nobody may? Bind the role: `kubectl -n NAMESPACE create rolebinding approvers --clusterrole "
            "passmuster-approver --user USER`.",
        ),
        silence=f"{_PER_POLICY} Nothing is proposed for a phase whose mode is Observe (`spec.remediation.phases`).",
    ),
    Alert(
        name="PassmusterWaiverExpiring",
        expression=f"""
            max by ({POLICY}, check, waiver) ({contract.WAIVER_EXPIRY.name}) - time()
            < {EXPIRES_WITHIN} * 86400
        """,
        lasts="",
        urgency=Urgency.INFO,
        summary=f"The waiver {{{{ $labels.waiver }}}} of {_POLICY} ends soon (account {_ACCOUNT})",
        description="Failures of {{ $labels.check }} count again in {{ $value | humanizeDuration }}.",
        meaning=f"A ReadinessWaiver that counts now ends within {EXPIRES_WITHIN} days. Then the failures it accepted "
        "count against level and score.",
        look=("`kubectl get rw -n NAMESPACE`: what is waived, why, and until when.",),
        fix=(
            "Mend what was accepted; then the end changes nothing.",
            "Or grant another waiver, with a new end and new approvals: a waiver is never extended.",
        ),
        silence="Silence the label `waiver`. It ends by itself when the waiver does.",
    ),
    Alert(
        name="PassmusterAttestationExpiring",
        expression=f"""
            max by ({POLICY}, check, attestation) ({contract.ATTESTATION_EXPIRY.name}) - time()
            < {EXPIRES_WITHIN} * 86400
        """,
        lasts="",
        urgency=Urgency.INFO,
        summary=f"The attestation {{{{ $labels.attestation }}}} of {_POLICY} ends soon (account {_ACCOUNT})",
        description="It stands in for evidence of {{ $labels.check }} for another {{ $value | humanizeDuration }}.",
        meaning=f"A ReadinessAttestation that counts now ends within {EXPIRES_WITHIN} days. Then its check is judged "
        "by what AWS shows, and may fail.",
        look=("`kubectl get ra -n NAMESPACE`: what is attested, by whom, and until when.",),
        fix=("Do again what is attested (the restore test, the exercise, the review) and write another attestation.",),
        silence="Silence the label `attestation`. It ends by itself when the attestation does.",
    ),
    Alert(
        name="PassmusterThrottled",
        expression=f"""
            sum by (service) (rate({contract.THROTTLES.name}[15m]))
            / sum by (service) (rate({contract.REQUESTS.name}[15m])) > {THROTTLED}
        """,
        lasts="15m",
        urgency=Urgency.WARNING,
        summary="AWS throttles the operator's requests to {{ $labels.service }}",
        description="{{ $value | humanizePercentage }} of the requests were throttled. Inspections take longer, and "
        "what is not read in time is Unknown.",
        meaning="The operator and everything else in those accounts ask one service for more than AWS allows. The "
        "operator halves its own rate by itself and recovers slowly.",
        look=("The dashboard *Passmuster / Operator*: throttles by service, and since when.",),
        fix=(
            "Lower `--requests-per-second` of the operator, or raise `spec.interval` of the policies.",
            "Find what else asks that service: CloudTrail's event history, or a quota raise from AWS.",
        ),
        silence="Silence the label `service`.",
    ),
    Alert(
        name="PassmusterNoLeader",
        expression=f"(max({contract.LEADER.name}) or vector(0)) == 0",
        lasts="2m",
        urgency=Urgency.CRITICAL,
        summary="No Passmuster process leads",
        description="Nothing is inspected and nothing is changed. No process holds the lease, or none is scraped.",
        meaning="No process of the operator holds the Lease `passmuster`, or Prometheus reaches none of them.",
        look=(
            "`kubectl -n passmuster-system get pods,lease`: does a process run, who holds the lease?",
            "The targets page of Prometheus: is the operator scraped?",
        ),
        fix=(
            "A process that does not become ready says why in its log, as one JSON object a line.",
            "A lease that nobody renews is taken over after 15 seconds; if not, the API server refuses the operator: "
            "apply `crds/rbac.yaml` of its version.",
        ),
        silence="Silence it while the operator is stopped on purpose.",
    ),
    Alert(
        name="PassmusterWatchStalled",
        expression=f"max({contract.CANARY.name}) > {BEHIND}",
        lasts="1m",
        urgency=Urgency.CRITICAL,
        summary="A Passmuster process does not see what changes in the cluster",
        description="Its watch streams have been behind the API server for {{ $value | humanizeDuration }}.",
        meaning="What the API server lists is newer than what the streams brought. Objects are fetched every minute "
        "all the same, but late. The process also fails `/healthz`, and Kubernetes restarts it.",
        look=("The log of the process: the lines about the audit of the watches.", "The API server's own health."),
        fix=("If a restart does not help, look for a proxy or load balancer before the API server that cuts watches.",),
        silence="Do not: it ends by itself, or the operator works from what is old.",
    ),
    Alert(
        name="PassmusterWebhookSilent",
        expression=f"time() - max({contract.LAST_ALERT.name}) > {SILENT_HOURS} * 3600",
        lasts="5m",
        urgency=Urgency.WARNING,
        summary="Alertmanager no longer reaches the operator's webhook",
        description="The last notification was taken {{ $value | humanizeDuration }} ago; PassmusterWatchdog should "
        "bring one at least every four hours.",
        meaning="The operator was started with `--alerts-token-file`, so alerts are to reach it, and none does: not "
        "even PassmusterWatchdog, which always fires. Alerts no longer bring inspections forward.",
        look=(
            "`passmuster_alerts_received_total` by outcome: `unauthorized` means another token, `unavailable` that the "
            "API server refused the operator.",
            "Alertmanager's log and its metric `alertmanager_notifications_failed_total`.",
        ),
        fix=(
            "Route PassmusterWatchdog to the operator's receiver, as docs/alerts.md shows.",
            "After the token was rotated, both sides need the new one; the operator reads its file anew by itself.",
        ),
        silence="Silence it where the webhook is open and deliberately unused, or start the operator without the token "
        "file.",
    ),
    Alert(
        name="PassmusterWatchdog",
        expression=f"max({contract.BUILD.name}) > 0",
        lasts="",
        urgency=Urgency.NONE,
        summary="Passmuster, Prometheus and Alertmanager work together",
        description="This alert always fires while Passmuster is scraped. Route it to the operator's webhook, so that "
        "its absence there is noticed.",
        meaning="A sign of life, not a fault: while Prometheus scrapes the operator, this alert fires. Delivered to "
        "the operator's webhook it proves the whole way; PassmusterWebhookSilent tells when it stops arriving.",
        look=("Nothing is wrong.",),
        fix=("Nothing to fix. It should not reach people: send the severity `none` nowhere but to the webhook.",),
        silence="Do not silence it: a silenced alert is not delivered, and PassmusterWebhookSilent will fire.",
    ),
)
