"""Rules and conformance packs of AWS Config, whether they repair what they find, and what packs say."""

from passmuster.inventory.call import RARELY, Call

RULES = Call(
    "config",
    "DescribeConfigRules",
    items="ConfigRules",
    keep="{ConfigRuleName: ConfigRuleName, ConfigRuleArn: ConfigRuleArn, ConfigRuleState: ConfigRuleState, "
    "Owner: Source.Owner, Identifier: Source.SourceIdentifier, InputParameters: InputParameters, Scope: Scope, "
    "CreatedBy: CreatedBy}",
    freshness=RARELY,
)
"""`Identifier` is the name of a managed rule, or the ARN of a custom rule's function."""

TAG_REMEDIATIONS = Call(
    "config",
    "DescribeRemediationConfigurations",
    each=RULES,
    over="[@][?Identifier=='REQUIRED_TAGS'].ConfigRuleName",
    param={"ConfigRuleNames": "[value]"},
    items="RemediationConfigurations",
    keep=("ConfigRuleName", "TargetId", "Automatic"),
    freshness=RARELY,
)
"""How the rules about required tags repair what they find."""

PACKS = Call(
    "config",
    "DescribeConformancePackStatus",
    items="ConformancePackStatusDetails",
    keep=("ConformancePackName", "ConformancePackId", "ConformancePackArn", "ConformancePackState"),
    freshness=RARELY,
)
PACK_COMPLIANCE = Call(
    "config",
    "GetConformancePackComplianceSummary",
    each=PACKS,
    over="ConformancePackName",
    param={"ConformancePackNames": "[value]"},
    items="ConformancePackComplianceSummaryList",
    keep=("ConformancePackName", "ConformancePackComplianceStatus"),
    absent=("NoSuchConformancePackException",),
    freshness=RARELY,
)

RULE_PAGES = Call("config", "DescribeConfigRules", keep="{any: length(ConfigRules || `[]`) > `0`}", freshness=RARELY)
"""The same request as for the rules; one row is a page, so that what is asked about all of them is asked once."""

RULE_EVALUATIONS = Call(
    "config",
    "DescribeConfigRuleEvaluationStatus",
    each=RULE_PAGES,
    over="any",
    param={"Limit": "`50`"},
    items="ConfigRulesEvaluationStatus",
    keep=("ConfigRuleName", "FirstActivatedTime", "LastSuccessfulEvaluationTime", "LastSuccessfulInvocationTime"),
    freshness=RARELY,
)
BROKEN_RULES = Call(
    "config",
    "DescribeComplianceByConfigRule",
    each=RULE_PAGES,
    over="any",
    param={"ComplianceTypes": "['NON_COMPLIANT']"},
    items="ComplianceByConfigRules[?Compliance.ComplianceType == 'NON_COMPLIANT']",
    keep=("ConfigRuleName",),
    freshness=RARELY,
)
"""The rules that some resource does not comply with."""
