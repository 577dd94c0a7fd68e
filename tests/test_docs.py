"""The documents say what the code does: their manifests load, their commands exist, their links resolve.

Whatever in them can be generated is generated, and compared here; the rest is read by machine as far as that goes.
"""

from __future__ import annotations

import importlib.util
import re
import shlex
import subprocess
import tomllib
from pathlib import Path
from types import ModuleType
from typing import Any

import hcl2
import pytest
import typer
import yaml

from passmuster.api import manifest
from passmuster.api.conditions import ConditionReason, Who
from passmuster.api.schema import KINDS
from passmuster.cli import offline
from passmuster.cli.main import app
from passmuster.metrics.contract import CONTRACT, document
from passmuster.model.errors import InvalidManifest
from passmuster.remediation import catalogue as remediations

ROOT = Path(__file__).parents[1]
DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("changelog.d/*.md")])
TOP = (
    *("ARCHITECTURE.md", "CHANGELOG.md", "CONTRIBUTING.md", "LICENSE", "Makefile", "README.md", "SECURITY.md"),
    *("benchmarks", "changelog.d", "crds", "docs", "examples", "operator", "remediations", "tests"),
    *("pyproject.toml", "uv.lock", ".ci/run", ".ci/setup"),
)
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
REFUSED = re.compile(r"<!-- refused -->\n\n```yaml\n(.*?)^```\n\n```text\n(.*?)^```$", re.MULTILINE | re.DOTALL)
READ = {"", "bash", "console", "hcl", "promql", "python", "sh", "text", "yaml"}
"""The languages of blocks; what has none, console and text are what people see."""
SKELETON = ("Spec", "Status", "Conditions and reasons", "Columns", "Common mistakes")
MACHINE = re.compile(r"(?<![\w.])/(?:root|work|home|Users)/|\b(?:pypi|npmjs|yarnpkg|rubygems)\.\w+|proxy\.golang\.org")
PLACEHOLDER = re.compile(r"= \{[A-Z]\w*\}")
KUBECTL = re.compile(
    r"\bkubectl (?:-n \S+ )?(get|describe|wait|annotate|patch|explain|delete)((?: [^-|>;&\s)]\S*| -n \S+| --for=\S+)*)"
)
BUILT_IN = {
    *("configmap", "crd", "events", "lease", "leases", "namespace", "namespaces", "ns", "pods", "secret", "svc"),
    *("validatingadmissionpolicy", "validatingadmissionpolicybinding"),
    *("mutatingadmissionpolicy", "mutatingadmissionpolicybinding"),
}
CODE = re.compile(r"`([^`\n]+)`")
LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")
RUN = re.compile(r"(?:^|[(/] ?|; |\$ |\| |'passmuster\[sandbox\]' )(?<!charts/)passmuster ((?:[a-z]|-)[^|>;&)]*)")
SHELL = ("bash", "sh", "console")


def _generator() -> ModuleType:
    spec = importlib.util.spec_from_file_location("generate", ROOT / ".ci" / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


GENERATE = _generator()
COMMANDS: dict[str, Any] = dict(GENERATE.walk(typer.main.get_command(app)))


def _name(path: Path) -> str:
    return str(path.relative_to(ROOT))


def _blocks(*languages: str) -> list[Any]:
    return [
        pytest.param(match[2], id=f"{_name(path)} block {number}")
        for path in DOCUMENTS
        for number, match in enumerate(FENCE.finditer(REFUSED.sub("", path.read_text(encoding="utf-8"))), 1)
        if match[1] in languages
    ]


def _refused() -> list[Any]:
    return [
        pytest.param(match[1], match[2], id=f"{_name(path)} refused {number}")
        for path in DOCUMENTS
        for number, match in enumerate(REFUSED.finditer(path.read_text(encoding="utf-8")), 1)
    ]


def _ours(text: str) -> bool:
    return re.search(r"^apiVersion: passmuster\.io/", text, re.MULTILINE) is not None


def _load(text: str) -> list[Any]:
    return manifest.load(text, offline.facts(), remediations.load().inputs())


def _commands() -> list[Any]:
    """Every `passmuster ...` in a shell block or in backquotes, with where it stands."""
    found = []
    for path in DOCUMENTS:
        text = path.read_text(encoding="utf-8")
        lines = [line for match in FENCE.finditer(text) if match[1] in SHELL for line in _shell_lines(match[2])]
        for line in dict.fromkeys([*lines, *CODE.findall(FENCE.sub("", text))]):
            found += [pytest.param(command, id=f"{_name(path)}: passmuster {command}") for command in RUN.findall(line)]
    return found


def _shell_lines(block: str) -> list[str]:
    return [line for line in block.replace("\\\n", " ").splitlines() if not line.lstrip().startswith("#")]


@pytest.mark.parametrize("name", TOP)
def test_the_top_level_is_complete(name: str) -> None:
    path = ROOT / name
    assert path.exists()
    assert path.is_dir() or path.stat().st_size > 0


@pytest.mark.parametrize("path", sorted(ROOT.glob("examples/**/*.yaml")), ids=_name)
def test_an_example_loads(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert _load(text) if _ours(text) else list(yaml.safe_load_all(text))


@pytest.mark.parametrize("text", _blocks("yaml"))
def test_a_manifest_in_a_document_loads(text: str) -> None:
    if _ours(text):
        assert _load(text)
    else:
        assert list(yaml.safe_load_all(text))


@pytest.mark.parametrize(("text", "message"), _refused())
def test_a_common_mistake_is_refused_with_the_message_beside_it(text: str, message: str) -> None:
    source = message.partition(":")[0]
    with pytest.raises(InvalidManifest) as refusal:
        manifest.load(text, offline.facts(), remediations.load().inputs(), source=source)
    assert str(refusal.value) == message.rstrip("\n")


def test_every_kind_has_a_page_with_the_same_skeleton() -> None:
    for kind in KINDS:
        name = kind.definition.kind
        text = (ROOT / "docs" / "spec" / f"{name.lower()}.md").read_text(encoding="utf-8")
        headings = re.findall(r"^## (.+)$", text, re.MULTILINE)
        assert headings[0] in ("Smallest example", "Example"), name
        assert [one for one in SKELETON if one not in headings] == [], name
        for part in (f"fields {name} spec", f"fields {name} status", f"columns {name}"):
            assert f"<!-- generated: {part} -->" in text, name


@pytest.mark.parametrize("path", DOCUMENTS, ids=_name)
def test_every_block_of_a_document_is_in_a_language_that_is_read_here(path: Path) -> None:
    opened = re.findall(r"^```([^\n]*)$", path.read_text(encoding="utf-8"), re.MULTILINE)
    assert len(opened) % 2 == 0
    assert set(opened[::2]) <= READ


@pytest.mark.parametrize("text", _blocks("hcl"))
def test_terraform_in_a_document_parses(text: str) -> None:
    assert hcl2.loads(PLACEHOLDER.sub("= 1", text))


@pytest.mark.parametrize("path", DOCUMENTS, ids=_name)
def test_a_document_names_no_machine_and_no_package_registry(path: Path) -> None:
    assert MACHINE.findall(path.read_text(encoding="utf-8")) == []


def _kubectl() -> list[Any]:
    found = []
    for path in DOCUMENTS:
        text = path.read_text(encoding="utf-8")
        lines = [line for match in FENCE.finditer(text) if match[1] in SHELL for line in _shell_lines(match[2])]
        for line in dict.fromkeys([*lines, *CODE.findall(FENCE.sub("", text))]):
            found += [pytest.param(m[2], id=f"{_name(path)}: {m[0]}") for m in KUBECTL.finditer(line)]
    return found


@pytest.mark.parametrize("arguments", _kubectl())
def test_kubectl_in_a_document_names_kinds_that_there_are(arguments: str) -> None:
    words = re.sub(r" -n \S+| --\S+", "", arguments).split()
    if not words:
        return  # kubectl delete -f
    ours = {n for kind in KINDS for d in [kind.definition] for n in (d.short, d.plural, d.kind.lower(), d.name)}
    named = words[0].partition("/")[0].partition(".")[0].split(",")
    assert set(named) <= ours | BUILT_IN | {"passmuster"}


def _makes() -> list[Any]:
    found = []
    for path in DOCUMENTS:
        text = path.read_text(encoding="utf-8")
        lines = [line for match in FENCE.finditer(text) if match[1] in SHELL for line in _shell_lines(match[2])]
        for line in dict.fromkeys([*lines, *CODE.findall(FENCE.sub("", text))]):
            found += [pytest.param(m, id=f"{_name(path)}: make {m}") for m in re.findall(r"^make ([a-z-]+)", line)]
    return found


@pytest.mark.parametrize("target", _makes())
def test_a_make_target_in_a_document_exists(target: str) -> None:
    assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)


@pytest.mark.parametrize("text", _blocks("python"))
def test_python_in_a_document_compiles(text: str) -> None:
    compile(text, "document", "exec")


@pytest.mark.parametrize("text", _blocks("bash", "sh"))
def test_shell_in_a_document_parses(text: str) -> None:
    parsed = subprocess.run(["bash", "-n"], input=text, capture_output=True, text=True, check=False)
    assert parsed.returncode == 0, parsed.stderr


@pytest.mark.parametrize("command", _commands())
def test_a_command_in_a_document_exists_with_its_options(command: str) -> None:
    words = shlex.split(command.replace("[", " ").replace("]", " ").replace("…", " "), comments=True)
    name = next((n for n in COMMANDS if words[: len(n.split())] == n.split()), None)
    if name is None:
        assert words[0] in {n.split()[0] for n in COMMANDS} | {"--version", "--help", "-h"}, command
        return
    known = {option for parameter in COMMANDS[name].params for option in parameter.opts}
    used = {word.split("=")[0] for word in words if re.match(r"--?[a-z]", word)}
    assert used <= known | {"--help", "-h"}, f"passmuster {name} has no {', '.join(sorted(used - known))}"


def test_every_command_is_in_the_readme() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert [name for name in COMMANDS if f"`passmuster {name}`" not in text] == []


def test_what_is_generated_is_as_it_is_generated_now() -> None:
    assert GENERATE.stale() == []


def test_the_metrics_are_documented() -> None:
    text = (ROOT / "docs" / "metrics.md").read_text(encoding="utf-8")
    assert text == document()
    assert [metric.name for metric in CONTRACT if f"`{metric.name}`" not in text] == []


def test_every_reason_of_a_condition_is_documented() -> None:
    text = (ROOT / "docs" / "troubleshooting.md").read_text(encoding="utf-8")
    assert [str(r) for r in ConditionReason if f"\n### {r}\n" not in text and f"`{r}`" not in text] == []
    assert [r for members in GENERATE.reason_groups().values() for r in members] == list(ConditionReason)


def test_every_reason_on_which_a_person_acts_says_what_to_do() -> None:
    advice = GENERATE._advice()
    people = [reason for reason in ConditionReason if reason.who not in (Who.NOBODY, Who.OPERATOR)]
    assert [str(reason) for reason in people if reason.value not in advice] == []
    assert [name for name in advice if name not in list(ConditionReason)] == []


@pytest.mark.parametrize("path", DOCUMENTS, ids=_name)
def test_links_between_files_resolve(path: Path) -> None:
    broken = []
    for link in LINK.findall(FENCE.sub("", path.read_text(encoding="utf-8"))):
        target, _, anchor = link.partition("#")
        if re.match(r"https?://|mailto:", link):
            continue
        file = (path.parent / target).resolve() if target else path
        if not file.exists() or (anchor and anchor not in _anchors(file)):
            broken.append(link)
    assert broken == []


def _anchors(path: Path) -> set[str]:
    headings = re.findall(r"^#+ (.+)$", FENCE.sub("", path.read_text(encoding="utf-8")), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


def test_the_layer_table_is_the_contract() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    contract = next(c for c in project["tool"]["importlinter"]["contracts"] if c["type"] == "layers")
    text = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
    table = text.split("| layer, high to low |")[1].split("\n\n")[0]
    written = [m.replace("\\|", "|") for m in re.findall(r"^\| `([^`]+)` \|", table, re.MULTILINE)]
    assert written == contract["layers"]


def test_paths_named_in_the_code_map_exist() -> None:
    text = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
    table = text.split("## Where is what")[1].split("## ")[0]
    named = [name for name in CODE.findall(table) if "/" in name and "<" not in name]
    roots = (ROOT, ROOT / "operator" / "passmuster")
    assert [name for name in named if not any((root / name).exists() for root in roots)] == []


@pytest.mark.parametrize("path", sorted(ROOT.glob("changelog.d/*")), ids=_name)
def test_a_changelog_fragment_is_named_as_it_should_be(path: Path) -> None:
    assert re.fullmatch(r"[a-z0-9-]+\.(added|changed|fixed)\.md", path.name)
    assert not path.read_text(encoding="utf-8").startswith("#")
