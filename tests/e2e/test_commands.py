"""Every command of README.md and docs/ is run, in a shell, as a reader would type it.

kubectl, helm, passmuster, promtool, amtool and aws are the real ones, the API server too; AWS is simulated, and an
operator process with a token of the chart's service account stands for the pods. The commands of a story are run in the
order of its pages, in one place. The tables say what differs from the page, what the reader did before, and why what is
not run is not run.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import pytest
import yaml

from apiserver import eventually, monitoring_kinds
from documents import PAGES, Command, commands
from e2e.places import Place, Ran, Terminal, passmuster, serves
from passmuster.sandbox import prometheus_binaries
from passmuster.sandbox.accounts import review
from passmuster.sandbox.binaries import Binaries
from passmuster.sandbox.control_plane import ADMIN
from passmuster.sandbox.server_process import free_port
from second_opinions import find

ALICE = "alice@example.com"

SUSPENDS = "docs/spec/readinesspolicy.md"
"""Its last command suspends the policy, so it comes last."""

STORIES: Mapping[str, tuple[str, ...]] = {
    "a cluster": (
        "README.md",
        *("docs/operations.md", "docs/alerts.md", "docs/dashboards.md"),
        *("docs/security-model.md", "docs/troubleshooting.md"),
        *(page for page in PAGES if page.startswith("docs/spec/") and page != SUSPENDS),
        SUSPENDS,
    ),
    "a real account": ("docs/quickstart.md#Fifteen minutes: a real account",),
    "a sandbox": ("docs/quickstart.md#Five minutes: a simulated account",),
    "an installation": ("docs/install.md",),
}
"""Pages, or sections of pages, that are followed in one place one after the other."""

BY_HAND = "docs/checks/"
"""Pages with commands for one resource or another of an account; tests/report/ tests each."""

NOT_RUN: Mapping[str, str] = {
    "make demo": "tests/e2e/test_readme.py runs it, in a copy of the checkout and with a watch",
    "uvx --from": "the package is not published; tests/e2e/test_demo.py runs `passmuster demo`",
    "pip install ": "the package is not published",
    "docker ": "it takes a daemon and a registry; tests/chart/test_image.py builds the image with buildah",
    "aws eks create-pod-identity-association": "the simulated AWS has no EKS Pod Identity; tests/report/ parses it",
}
"""Commands by their beginnings, with the reason why they are not run here."""

INSTEAD: Mapping[str, str | Callable[[Place], str]] = {
    r"\bshop-cloudtrail-[0-9a-f]{10}\b": lambda place: place.proposal("cloudtrail"),
    r"/etc/prometheus/rules\b": "rules",
    r"\b127\.0\.0\.1:8080\b": lambda place: f"127.0.0.1:{free_port()}",
    r"(?<=condition=Compliant rp/shop -n shop --timeout=)1m": "1s",
}
"""What differs from place to place: the names of remediations, which hold the cluster's id, folders, ports; and how
long something is waited for that does not come, because the account is not compliant."""

WHO: Mapping[str, str] = {
    "passmuster approve ": ALICE,
    "passmuster apply ": ALICE,
    "passmuster undo ": ALICE,
    "digest=": ALICE,
    "kubectl describe rem ": ALICE,
}
"""Who looks at changes and approves them: not the administrator, who edited the policy last."""

STATUS: Mapping[str, int] = {"passmuster inspect ": 1, "kubectl wait --for=condition=Compliant ": 1}
"""Exit codes other than 0: the account has not reached the level."""

FILES: Mapping[str, str] = {
    "passmuster inspect -f shop.yaml": "shop.yaml",
    "kubectl apply --server-side -k overlay": "overlay/kustomization.yaml",
}
"""Under which name a reader keeps the manifest above a command."""

INSTALL = next(command.text for command in commands("docs/install.md") if command.text.startswith("helm install"))
KINDS = "kubectl apply -f monitoring.yaml"
FOLDER = """kubectl patch awsacct shop-production --type merge -p '{"spec": {"evidence": {"folder": "shop"}}}'"""
STORED = "kubectl wait rr -n shop --all --for=jsonpath={.status.evidence.uri} --timeout=2m"
ANEW = (
    "kubectl -n shop delete rem shop-cloudtrail-0123456789",
    'kubectl -n shop annotate rp shop --overwrite reconcile.passmuster.io/requestedAt="$(date +%s%N)"',
)
"""How a change that was undone is proposed again."""

FIRST: Mapping[str, tuple[str | Callable[[Place], None], ...]] = {
    "kubectl create namespace shop": (INSTALL,),
    "kubectl -n shop create rolebinding approvers": (
        "kubectl -n shop delete rolebinding approvers --ignore-not-found",
    ),
    "passmuster accounts list --from-organization": (Place.make_organization,),
    "kubectl get rw,ra -A": ("kubectl apply -f examples/waiver.yaml -f examples/attestation.yaml",),
    "passmuster plan -f shop.yaml": ("cp examples/shop.yaml shop.yaml",),
    "passmuster report -f new.json": (
        "passmuster inspect -f examples/shop.yaml --output json > new.json || test $? = 1",
        "cp new.json old.json",
    ),
    "kubectl get rr -n shop -o jsonpath='{range .items[*]}{.status.evidence.uri}": (FOLDER, STORED),
    "passmuster rules > /etc/": ("mkdir rules",),
    "kubectl apply -n passmuster-system -f passmuster-rules.yaml": (KINDS,),
    "kubectl create configmap passmuster-dashboards": ("kubectl create namespace monitoring",),
    "kubectl -n passmuster-system create secret generic passmuster-alerts": (KINDS,),
    "amtool silence add": (Place.start_alertmanager,),
    "passmuster apply ": ANEW,
    "digest=": ANEW,
    "kubectl -n argocd patch configmap argocd-cm": (
        "kubectl create namespace argocd",
        "kubectl -n argocd create configmap argocd-cm",
    ),
}
"""What the reader, or who runs the cluster, did before: as the text around says, or for another project's sake."""

THEN: Mapping[str, Callable[[Place, str], None]] = {
    "helm install ": lambda place, said: place.start_operator(),
    "helm uninstall ": lambda place, said: place.stop_operator(),
    "passmuster sandbox up": lambda place, said: place.export(said),
}
"""What a cluster does afterwards, or a reader with what was said."""

KEPT: Mapping[str, Callable[[str, str], bool]] = {
    "passmuster sandbox up": lambda command, said: "Ctrl-C ends it" in said,
    "passmuster operator ": lambda command, said: serves(f"http://{command.split()[-1]}/readyz"),
}
"""What goes on until it is interrupted, with how a reader sees that it is ready."""

PROGRAMS = {"kubectl", "helm", "passmuster", "promtool", "amtool", "aws", "digest=$(kubectl"}
"""First words of what is run: nothing else that a page may say is tried on the machine of whoever runs the tests."""

NEEDS = {"promtool": "prometheus_programs", "amtool": "prometheus_programs", "aws": "awscli_command"}
"""Programs that not every machine has, with their fixtures."""

TABLES: tuple[Mapping[str, Any], ...] = (NOT_RUN, WHO, STATUS, FILES, FIRST, THEN, KEPT)


def _of(story: str) -> Iterator[Command]:
    for part in STORIES[story]:
        page, _, section = part.partition("#")
        yield from (one for one in commands(page) if section in ("", one.section))


def _entry(table: Mapping[str, Any], command: str) -> Any:
    """What a table has about a command."""
    return next((value for beginning, value in table.items() if command.startswith(beginning)), None)


ALL = {story: list(_of(story)) for story in STORIES}
TOLD = [(story, one) for story, told in ALL.items() for one in told if _entry(NOT_RUN, one.text) is None]
RUN = [
    pytest.param(story, one, id=str(one)[:120], marks=[pytest.mark.awscli] if one.program == "aws" else [])
    for story, one in TOLD
    if one.program in PROGRAMS
]


def test_every_command_belongs_to_one_story() -> None:
    told = [str(one) for one in chain(*ALL.values())]
    written = [str(one) for page in PAGES if not page.startswith(BY_HAND) for one in commands(page)]
    assert sorted(told) == sorted(written)
    assert len(told) > 80
    assert {one.program for _, one in TOLD} == PROGRAMS
    assert {one.program for page in PAGES if page.startswith(BY_HAND) for one in commands(page)} == {"aws"}


def test_no_entry_of_a_table_is_out_of_use() -> None:
    texts = [one.text for one in chain(*ALL.values())]
    assert [entry for table in TABLES for entry in table if not any(text.startswith(entry) for text in texts)] == []
    assert [pattern for pattern in INSTEAD if not any(re.search(pattern, text) for text in texts)] == []


@dataclass
class Places:
    """The place of the story that is being told; it is left when another story begins."""

    folder: Path
    programs: Mapping[str, str]
    story: str = ""
    place: Place | None = None

    def of(self, story: str) -> Place:
        """The place of a story."""
        if self.place is None or story != self.story:
            self.leave()
            folder = self.folder / story.replace(" ", "-")
            folder.mkdir()
            self.story, self.place = story, Place(Terminal(folder, self.programs))
            if story != "a sandbox":
                self.place.make_cluster(review.seed, ALICE)
                definitions = "---\n".join(yaml.safe_dump(kind) for kind in monitoring_kinds())
                self.place.terminal.write("monitoring.yaml", definitions)
        return self.place

    def leave(self) -> None:
        """Ends what runs in the place."""
        if self.place is not None:
            self.place.leave()


@pytest.fixture(scope="module")
def places(
    apiserver_programs: Binaries, kubectl_program: Path, helm_program: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Places]:
    """Where the stories are told, with every program that this machine has."""
    found: dict[str, list[Path | str]] = {
        "kubectl": [kubectl_program],
        "helm": [helm_program],
        "passmuster": [passmuster()],
    }
    if monitoring := prometheus_binaries.find():
        found |= {"promtool": [monitoring.promtool], "amtool": [monitoring.amtool]}
    if awscli := find("awscli"):
        found["aws"] = ["env", "AWS_PROFILE=empty", *awscli]
    programs = {name: shlex.join(str(word) for word in words) for name, words in found.items()}
    made = Places(tmp_path_factory.mktemp("commands"), programs)
    yield made
    made.leave()


@pytest.mark.apiserver
@pytest.mark.helm
@pytest.mark.slow
@pytest.mark.parametrize(("story", "command"), RUN)
def test_a_command_does_what_the_page_says(
    story: str, command: Command, places: Places, request: pytest.FixtureRequest
) -> None:
    if command.program in NEEDS:
        request.getfixturevalue(NEEDS[command.program])
    place = places.of(story)
    if name := _entry(FILES, command.text):
        place.terminal.write(name, command.manifest)
    for before in _entry(FIRST, command.text) or ():
        if isinstance(before, str):
            done = typed(place, before)
            assert done.returncode == 0, done.stdout + done.stderr
        else:
            before(place)
    ran = typed(place, command.text)
    assert ran.returncode == (_entry(STATUS, command.text) or 0), ran.stdout + ran.stderr
    assert "Traceback" not in ran.stderr
    assert "No resources found" not in ran.stderr
    assert command.program != "kubectl" or (ran.stdout + ran.stderr).strip(), "kubectl said nothing"
    if command.shown:
        _until_shown(place, command)


def typed(place: Place, command: str) -> Ran:
    """Runs a command as the tables say."""
    text = command
    for pattern, found in INSTEAD.items():
        if re.search(pattern, text):
            text = re.sub(pattern, found if isinstance(found, str) else found(place), text)
    if ready := _entry(KEPT, command):
        ran = place.terminal.keep(text, lambda said: ready(text, said))
    else:
        ran = place.terminal.run(text, _entry(WHO, command) or ADMIN)
    if (then := _entry(THEN, command)) and ran.returncode == 0:
        then(place, ran.stdout)
    return ran


def _until_shown(place: Place, command: Command) -> None:
    """Repeats a command until it prints the table that the page shows, whatever the age of the objects is."""
    wanted, rows = _rows(command.shown), set[tuple[str, ...]]()

    def printed() -> bool:
        rows.clear()
        rows.update(_rows(typed(place, command.text).stdout))
        return wanted <= rows

    assert eventually(printed, 30), f"{sorted(rows)} instead of {sorted(wanted)}"


def _rows(table: str) -> set[tuple[str, ...]]:
    """The rows of a table of kubectl, without their last column."""
    return {tuple(re.split(r" {2,}", line.strip())[:-1]) for line in table.splitlines() if line.strip()}
