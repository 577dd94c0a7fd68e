"""Response plans of Incident Manager, asked where an alarm starts one."""

from dataclasses import replace

from passmuster.inventory.call import ONCE, Call
from passmuster.inventory.operations.cloudwatch import ALARM_TOPICS

NAMED_PLANS = replace(
    ALARM_TOPICS,
    items="[MetricAlarms, CompositeAlarms][][].AlarmActions[] | [?contains(@, ':ssm-incidents:')]",
    keep="{Plan: @}",
)
"""The response plans that alarms start."""

RESPONSE_PLANS = Call(
    "ssm-incidents",
    "ListResponsePlans",
    each=NAMED_PLANS,
    param=ONCE,
    items="responsePlanSummaries",
    keep=("arn",),
    absent=("ResourceNotFoundException",),
)
