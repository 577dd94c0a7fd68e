"""AWS Config judges resources by rules or by a conformance pack, every day, in every governed region."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from passmuster.checks.declaration import Controls, check
from passmuster.inventory.operations.config import BROKEN_RULES, PACKS, RULE_EVALUATIONS, RULE_PAGES, RULES
from passmuster.inventory.operations.tagging import KEYS
from passmuster.inventory.snapshot import Row, View, all_of, any_of, seen, unmet
from passmuster.model.evidence import Evidence
from passmuster.model.finding import Finding, failed, passed, unknown
from passmuster.model.parameter import Kind, Parameter, Parameters, Stricter
from passmuster.model.verdict import Category, Phase, Reason, Severity

WINDOW = timedelta(hours=24)
TAG_RULE = "REQUIRED_TAGS"
KEYS_OF_A_RULE = 6
"""How many tag keys one rule can ask for."""

GOING = ("DELETING", "DELETING_RESULTS")
COMPLETE = ("CREATE_COMPLETE", "UPDATE_COMPLETE")
CHANGING = ("CREATE_IN_PROGRESS", "UPDATE_IN_PROGRESS")


@check(
    title="AWS Config rules judge resources",
    category=Category.SECURITY,
    phase=Phase.HARDENED,
    severity=Severity.MEDIUM,
    fix="A",
    calls=(RULES, RULE_PAGES, RULE_EVALUATIONS, BROKEN_RULES, PACKS),
    parameters=(
        Parameter(
            "requiredRules",
            Kind.STRINGS,
            [TAG_RULE],
            Stricter.MORE,
            "Rules that every region must have, each by the identifier of a managed rule or by its own name.",
        ),
        Parameter(
            "minRules",
            Kind.INTEGER,
            1,
            Stricter.HIGHER,
            "How many rules a region must have at least, the required ones among them.",
            minimum=0,
            maximum=1000,
        ),
    ),
    shares={"resources-tagged": (KEYS,)},
    controls=Controls(well_architected=("SEC04-BP01", "COST02")),
)
def config_rules_enabled(view: View, parameters: Parameters, evidence: Evidence) -> Iterator[Finding]:
    """A setting that was right at deployment is changed by hand one day, and a rule is what notices.

    Each region needs the required rules and enough rules altogether, or a complete conformance pack. A rule counts in
    whatever state but while it is being deleted, and if it was evaluated in the last 24 hours; one that is younger has
    not had its time yet and is judged by its configuration. REQUIRED_TAGS must ask for the tag keys that the policy
    asks of resources, `keys` of `resources-tagged`, by one rule or several. What the rules find is a warning here. A
    pack makes rules of its own, so that without any of them there can be none.
    """
    if view.absent_everywhere(RULES, Reason.NOT_IN_PARTITION):
        return
    rules = _Rules(view, [row for row in view.rows(RULES) if row.get("ConfigRuleState") not in GOING], evidence.now)
    names, least = parameters["requiredRules"], parameters["minRules"]
    expected = f"{least} or more rules{' with ' + ', '.join(names) if names else ''}, or a complete conformance pack"
    missing = _missing(rules, names, least, parameters["keys"])
    if any_of(lambda: not unmet(missing), rules.has_pack):
        message = f"AWS Config judges resources in {view.region}"
        observed, origin = f"{len(rules.active)} rules", view.origin(RULES)
        yield passed(origin, view.account_id, message, observed=observed, expected=expected, warnings=rules.warnings())
    elif rules.active and any(row.get("ConformancePackState") in CHANGING for row in seen(view.rows(PACKS))):
        message = f"A conformance pack in {view.region} is being set up"
        yield unknown(view.origin(PACKS), view.account_id, message, Reason.IN_TRANSIT, expected=expected)
    else:
        phrases = unmet(missing) if rules.active else ["any rule"]
        yield failed(
            view.origin(RULES),
            view.account_id,
            f"AWS Config in {view.region} lacks: {', '.join(phrases)}",
            observed=f"{len(rules.active)} rules" if rules.active else "no rule",
            expected=expected,
            facts=_facts(rules, names, parameters["keys"]),
        )


@dataclass(frozen=True, slots=True)
class _Rules:
    """The rules of a region that are not being deleted, and what is known about their evaluation."""

    view: View
    active: list[Row]
    now: datetime

    def named(self, name: str) -> list[Row]:
        """The rules of that identifier or name."""
        return [rule for rule in self.active if name in (rule.get("Identifier"), rule.get("ConfigRuleName"))]

    def evaluated(self, rule: Row) -> bool:
        """Whether the rule was evaluated in the window, or is younger than it."""
        return any(
            row.get("ConfigRuleName") == rule["ConfigRuleName"] and _is_current(row, self.now)
            for row in self.view.rows(RULE_EVALUATIONS)
        )

    def has_pack(self) -> bool:
        """Whether a complete conformance pack has a rule that was evaluated."""
        return all_of(
            lambda: any(map(_is_of_pack, self.active)),
            lambda: any(
                rule["ConfigRuleName"].endswith(pack.get("ConformancePackId") or "") and self.evaluated(rule)
                for pack in self.view.rows(PACKS)
                if pack.get("ConformancePackState") in COMPLETE
                for rule in self.active
            ),
        )

    def warnings(self) -> tuple[str, ...]:
        """What the rules find, as far as it could be read."""
        names = sorted({str(row.get("ConfigRuleName")) for row in seen(self.view.rows(BROKEN_RULES))})
        shown = ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
        return (f"Resources do not comply with {shown}",) if names else ()


def _is_of_pack(rule: Row) -> bool:
    """Whether a conformance pack made the rule: AWS Config names itself as its creator, and the pack at its end."""
    named = "-conformance-pack-" in str(rule.get("ConfigRuleName"))
    return named or str(rule.get("CreatedBy")).startswith("config-conforms.")


def _missing(rules: _Rules, names: list[str], least: int, keys: list[str]) -> dict[str, Callable[[], bool]]:
    """The conditions of the rules, by what is missing if they do not hold."""
    count = f"{least} {'rule' if least == 1 else 'rules'}"
    conditions: dict[str, Callable[[], bool]] = {
        count: lambda: len(rules.active) >= least,
        f"{count} evaluated in the last 24 hours": lambda: (
            least <= 0 or sum(rules.evaluated(rule) for rule in rules.active) >= least
        ),
    }
    for name in dict.fromkeys(names):
        conditions |= _required(rules, name, keys)
    return conditions


def _facts(rules: _Rules, names: list[str], keys: list[str]) -> dict[str, str]:
    """Whether a rule about tags, and no other that the policy names, has yet to be made; the keys it must ask for."""
    absent = [name for name in names if not rules.named(name)]
    wanted = not rules.active or absent == [TAG_RULE]
    if not wanted or not 0 < len(keys) <= KEYS_OF_A_RULE:
        return {"missing": "evaluation"}
    return {"missing": "rules"} | {f"tag{number}Key": key for number, key in enumerate(keys, 1)}


def _required(rules: _Rules, name: str, keys: list[str]) -> dict[str, Callable[[], bool]]:
    found = rules.named(name)
    conditions: dict[str, Callable[[], bool]] = {f"the rule {name}": lambda: bool(found)}
    if found and name == TAG_RULE:
        conditions[f"{name} for {', '.join(keys)}"] = lambda: set(keys) <= {key for row in found for key in _keys(row)}
    if found:
        conditions[f"an evaluation of {name} in the last 24 hours"] = lambda: any(map(rules.evaluated, found))
    return conditions


def _keys(rule: Row) -> set[str]:
    """The tag keys that a rule asks for: `{"tag1Key": "Environment", ...}`."""
    try:
        parameters = json.loads(rule.get("InputParameters") or "{}")
    except ValueError:
        return set()
    return {str(value) for name, value in parameters.items() if name.startswith("tag") and name.endswith("Key")}


def _is_current(evaluation: Row, now: datetime) -> bool:
    last = evaluation.get("LastSuccessfulEvaluationTime") or evaluation.get("LastSuccessfulInvocationTime")
    begun = last or evaluation.get("FirstActivatedTime")
    return begun is not None and now - begun <= WINDOW
