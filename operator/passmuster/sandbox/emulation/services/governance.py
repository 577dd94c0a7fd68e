"""What tells an account's owners how it is governed: rules that were evaluated, calendars, audits, advice that costs.

moto keeps the rules of AWS Config and evaluates nothing, and has neither Audit Manager nor a support plan. Here a rule
was evaluated when it was last asked about, and everything complies; a seed lays what does not. Served by front.py.
"""

from datetime import UTC, datetime
from typing import NoReturn

from passmuster.sandbox.emulation.operation import Handling, Operations, Output, always
from passmuster.sandbox.emulation.wire import AWSError


def describe_rule_evaluations(handling: Handling) -> Output:
    """Config's DescribeConfigRuleEvaluationStatus: every rule was just evaluated."""
    now = datetime.now(UTC)
    return {
        "ConfigRulesEvaluationStatus": [
            {
                "ConfigRuleName": rule["ConfigRuleName"],
                "ConfigRuleArn": rule["ConfigRuleArn"],
                "ConfigRuleId": rule["ConfigRuleId"],
                "LastSuccessfulInvocationTime": now,
                "LastSuccessfulEvaluationTime": now,
                "FirstActivatedTime": now,
                "FirstEvaluationStarted": True,
            }
            for rule in _rules(handling)
        ]
    }


def describe_rule_compliance(handling: Handling) -> Output:
    """Config's DescribeComplianceByConfigRule: every rule is complied with."""
    wanted = handling.params.get("ComplianceTypes") or ["COMPLIANT"]
    rules = _rules(handling) if "COMPLIANT" in wanted else []
    return {
        "ComplianceByConfigRules": [
            {"ConfigRuleName": rule["ConfigRuleName"], "Compliance": {"ComplianceType": "COMPLIANT"}} for rule in rules
        ]
    }


def _rules(handling: Handling) -> list[Output]:
    wanted = handling.params.get("ConfigRuleNames")
    found = handling.place.client("config").describe_config_rules()["ConfigRules"]
    return [rule for rule in found if not wanted or rule["ConfigRuleName"] in wanted]


def describe_recorder_status(handling: Handling) -> Output:
    """Config's DescribeConfigurationRecorderStatus: a recorder that records has done so; moto leaves it pending."""
    answer = handling.moto()
    for status in answer["ConfigurationRecordersStatus"]:
        if status.get("recording") and status.get("lastStatus") == "PENDING":
            status["lastStatus"] = "SUCCESS"
    return answer


def get_calendar_state(_: Handling) -> Output:
    """Systems Manager's GetCalendarState: a calendar without an event, which holds nothing back."""
    return {"State": "OPEN", "AtTime": datetime.now(UTC).isoformat()}


def describe_effective_policy(handling: Handling) -> Output:
    """Organizations' DescribeEffectivePolicy: nothing is attached to the account."""
    message = f"No {handling.params['PolicyType']} applies to {handling.call.account}"
    raise AWSError("EffectivePolicyNotFoundException", message, 400)


def refuse_without_plan(handling: Handling) -> NoReturn:
    """What the support and Trusted Advisor APIs say to an account that pays for no support plan."""
    if handling.call.service == "support":
        message = "Amazon Web Services Premium Support Subscription is required to use this service."
        raise AWSError("SubscriptionRequiredException", message, 400)
    raise AWSError("AccessDeniedException", "Your support plan does not include this operation.", 403)


OPERATIONS: Operations = {
    ("auditmanager", "GetAccountStatus"): always({"status": "INACTIVE"}),
    ("config", "DescribeConfigRuleEvaluationStatus"): describe_rule_evaluations,
    ("config", "DescribeComplianceByConfigRule"): describe_rule_compliance,
    ("config", "DescribeConfigurationRecorderStatus"): describe_recorder_status,
    ("organizations", "DescribeEffectivePolicy"): describe_effective_policy,
    ("ssm", "GetCalendarState"): get_calendar_state,
    ("support", "DescribeTrustedAdvisorChecks"): refuse_without_plan,
    ("trustedadvisor", "ListRecommendations"): refuse_without_plan,
    ("trustedadvisor", "ListRecommendationResources"): refuse_without_plan,
}
