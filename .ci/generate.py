"""Writes what is generated and committed: crds/, docs/metrics.md, docs/checks/, docs/runbooks/, handlers.json, the rules
and dashboards of the chart with the unit tests of the rules, and parts of documents.

Called by `make crds`, with --check by `make check`, and by tests/test_docs.py. A marked part stands between
`<!-- generated: NAME ARGUMENT -->` and `<!-- /generated -->`; NAME is one of `PARTS`.
"""

from __future__ import annotations

import importlib
import json
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import typer
import yaml

from passmuster.api import files, schema
from passmuster.api.conditions import ConditionReason, ConditionType
from passmuster.cli import offline
from passmuster.cli.main import app
from passmuster.metrics.contract import document
from passmuster.observability import dashboards, rules, runbooks
from passmuster.remediation import catalogue as remediations
from passmuster.remediation.access import types_of
from passmuster.report import pages
from passmuster.sandbox.emulation.stacks.schemas import schema_of

ROOT = Path(__file__).resolve().parents[1]
RULES = ROOT / "charts" / "passmuster" / "rules" / "passmuster.rules.yaml"
DASHBOARDS = ROOT / "charts" / "passmuster" / "dashboards"
RUNBOOKS = ROOT / "docs" / "runbooks"
MARKED = re.compile(r"(<!-- generated: (\w+) ?([^\n]*?) -->\n).*?(<!-- /generated -->)", re.DOTALL)
_NAMED = re.compile(r'ConditionReason\.([A-Z_]+)|"([A-Z][A-Za-z]+)"')
BY_CATALOGUE = {"spec.checks.parameters", "spec.floors", "spec.remediation.inputs"}
"""Fields whose members come from the catalogues: listed by `passmuster checks` and `kubectl explain`, not here."""
WELL_KNOWN = {"matchLabels", "matchExpressions"}
"""Members of Kubernetes' own label selectors, which need no explanation."""


def expected() -> dict[Path, str]:
    """Every generated file with the content that it must have."""
    facts, inputs = offline.facts(), remediations.load().inputs()
    written = {ROOT / "crds" / name: text for name, text in files.render(facts, inputs).items()}
    written[ROOT / "docs" / "metrics.md"] = document()
    written |= {ROOT / pages.FOLDER / name: text for name, text in pages.pages().items()}
    written[RULES] = rules.rule_file()
    written[ROOT / "tests" / "observability" / "passmuster.rules.test.yaml"] = rule_cases().document()
    written |= {DASHBOARDS / name: text for name, text in dashboards.files().items()}
    written |= {RUNBOOKS / f"{name}.md": text for name, text in runbooks.runbooks().items()}
    written[ROOT / "operator" / "passmuster" / "remediation" / "handlers.json"] = handlers()
    for path in sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")]):
        text = path.read_text(encoding="utf-8")
        if MARKED.search(text):
            written[path] = MARKED.sub(_filled, text)
    return written


def rule_cases() -> Any:
    """The cases of the rules, which stand among the tests."""
    sys.path.insert(0, str(ROOT / "tests"))
    try:
        return importlib.import_module("observability.rule_cases")
    finally:
        sys.path.remove(str(ROOT / "tests"))


def handlers() -> str:
    """The actions of CloudFormation's handlers for the types of the catalogue's templates, by its resource schemas.

    Only those that IAM has: some schemas name a few that do not exist.
    """
    found = {}
    for name in types_of(remediations.load()):
        schema = schema_of(name)
        if schema is None:
            raise SystemExit(f"CloudFormation has no type {name}, which a template of the catalogue uses")
        verbs = schema.document.get("handlers", {}).values()
        named = {_action(action) for verb in verbs for action in verb.get("permissions", ())}
        found[name] = sorted(action for action in named if _exists(action))
    return json.dumps(found, indent=1) + "\n"


def _action(text: str) -> str:
    prefix, _, name = text.partition(":")
    return f"{prefix.lower()}:{name}"


def _exists(action: str) -> bool:
    prefix, _, name = action.partition(":")
    known = _iam_actions().get(prefix, {}).get("Actions", {})
    return name.lower() in {one.lower() for one in known} or (name.endswith("*") and bool(known))


@cache
def _iam_actions() -> Mapping[str, Any]:
    """Every IAM action there is by prefix, from cfn-lint's copy of AWS's list."""
    origin = find_spec("cfnlint")
    if origin is None or origin.origin is None:
        raise SystemExit("cfn-lint is not installed: make check installs it")
    path = Path(origin.origin).parent / "data" / "AdditionalSpecs" / "Policies.json"
    known: Mapping[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return known


def stale() -> list[str]:
    """The generated files that are not as they would be written now, and files beside them that nothing generates."""
    wanted = expected()
    beside = [*(ROOT / "crds").glob("*"), *(ROOT / pages.FOLDER).glob("*"), *RUNBOOKS.glob("*"), *DASHBOARDS.glob("*")]
    foreign = [path for path in sorted(beside) if path not in wanted]
    changed = [path for path, text in wanted.items() if not path.is_file() or path.read_text(encoding="utf-8") != text]
    return [str(path.relative_to(ROOT)) for path in (*changed, *foreign)]


def _filled(match: re.Match[str]) -> str:
    return match[1] + PARTS[match[2]](match[3]) + match[4]


def _table(columns: Sequence[str], rows: Iterator[Sequence[str]]) -> str:
    lines = [columns, ["---"] * len(columns), *rows]
    return "".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |\n" for line in lines)


def reasons(_: str) -> str:
    """Every condition reason, when it is set and who acts next."""
    said = _said()
    return _table(
        ("reason", "it is set when", "who acts next"),
        (
            (f"`{reason}`", reason.when, reason.who.value)
            for reason in ConditionReason
            if reason.name in said or reason.value in said
        ),
    )


def reserved(_: str) -> str:
    """The reasons of the fixed list that no code of this release sets."""
    said = _said()
    unused = (f"`{one}`" for one in ConditionReason if one.name not in said and one.value not in said)
    return ", ".join(unused) + ".\n"


def _said() -> set[str]:
    """The reasons that the code names, by member or by word, outside of the list itself."""
    sources = (path for path in (ROOT / "operator").rglob("*.py") if path.name != "conditions.py")
    texts = [path.read_text(encoding="utf-8") for path in sources]
    return {name for text in texts for found in _NAMED.findall(text) for name in found}


def conditions(_: str) -> str:
    """Every condition type."""
    meanings = _docstrings(ConditionType)
    return _table(("condition", "True means"), ((f"`{kind}`", meanings[kind.name]) for kind in ConditionType))


def _docstrings(enumeration: type) -> Mapping[str, str]:
    """The sentence below each member of an enumeration, which Python itself does not keep."""
    text = Path(sys.modules[enumeration.__module__].__file__ or "").read_text(encoding="utf-8")
    return dict(re.findall(r'^    ([A-Z_]+) = "\w+"\n    """(.*?)"""$', text, re.MULTILINE))


def commands(_: str) -> str:
    """Every command with the first line of its help."""
    return _table(
        ("command", "what it does"),
        (
            (f"`passmuster {name}`", (command.help or "").split("\n")[0])
            for name, command in walk(typer.main.get_command(app))
        ),
    )


def walk(group: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Every command below a group, by its full name."""
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from walk(command, f"{prefix}{name} ")
        else:
            yield f"{prefix}{name}", command


def scope(_: str) -> str:
    """How much of the designed catalogue this release has, as a paragraph and a list."""
    designed = yaml.safe_load((ROOT / "tests" / "readiness_catalogue.yaml").read_text(encoding="utf-8"))
    has = sum(check.id in designed for check in offline.catalogue())
    own = len(offline.catalogue()) - has
    more = f", and {own} of its own" if own else ""
    lines = [
        f"It judges {has} of the {len(designed)} checks of its catalogue{more}, and carries out these changes:",
        "",
    ]
    lines += [f"- {one.title[:1].lower()}{one.title[1:]} ({one.way or 'InPlace'})" for one in remediations.load()]
    return "\n".join(lines) + "\n"


def fields(argument: str) -> str:
    """The fields of a kind's spec or status: `<!-- generated: fields AWSAccount spec -->`."""
    kind, part = argument.split()
    facts, inputs = offline.facts(), remediations.load().inputs()
    crd = next(c for c in schema.crds(facts, inputs) if c["spec"]["names"]["kind"] == kind)
    whole = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"][part]
    return _table(("field", "type", "meaning"), _fields(whole, part))


def _fields(shape: Mapping[str, Any], path: str) -> Iterator[tuple[str, str, str]]:
    required = shape.get("required", ())
    for name, member in shape.get("properties", {}).items():
        if name == "conditions":
            continue
        where = f"{path}.{name}"
        kind = _type(member) + (", required" if name in required else "")
        yield f"`{where.partition('.')[2]}`", kind, member.get("description", "")
        if where in BY_CATALOGUE or set(member.get("properties", ())) >= WELL_KNOWN:
            continue
        yield from _fields(member.get("items", member), f"{where}[]" if "items" in member else where)


def _type(shape: Mapping[str, Any]) -> str:
    if "enum" in shape:
        return " | ".join(f"`{one}`" for one in shape["enum"]) if len(shape["enum"]) <= 6 else "check id"
    if shape.get("type") == "array":
        return f"list of {_type(shape['items'])}"
    if "additionalProperties" in shape:
        return "map"
    return str(shape.get("type", "any"))


PARTS: Mapping[str, Callable[[str], str]] = {
    "reasons": reasons,
    "reserved": reserved,
    "conditions": conditions,
    "commands": commands,
    "scope": scope,
    "alerts": lambda _: runbooks.table(),
    "dashboards": lambda _: dashboards.table(),
    "fields": fields,
}


def main() -> int:
    """Writes what is stale, or with --check only names it."""
    changed = stale()
    if "--check" in sys.argv[1:]:
        for name in changed:
            sys.stdout.write(f"{name} is not as it is generated now: make crds\n")
        if not changed:
            sys.stdout.write("Generated files are up to date.\n")
        return 1 if changed else 0
    wanted = expected()
    for name in changed:
        path = ROOT / name
        if path in wanted:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(wanted[path], encoding="utf-8")
            sys.stdout.write(f"wrote {name}\n")
        else:
            path.unlink()
            sys.stdout.write(f"removed {name}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
