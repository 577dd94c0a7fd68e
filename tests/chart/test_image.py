"""The image is built from the Dockerfile and runs as a user without a name, on a root file system it cannot write to.

buildah builds without a daemon. Where the base image cannot be pulled, its place is taken by Debian with its own Python
under the same name: then what is proven is the Dockerfile and the packages, and not that Python.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from chart.rendering import ROOT
from passmuster import __version__
from passmuster.sandbox.binaries import fresh_folder, writable_cache
from required import do_without

DOCKERFILE = ROOT / "Dockerfile"
STAND_IN = "base-image-bookworm"
"""The folder in the cache of the archive of Debian."""
PACKAGES = "python3-minimal,python3-venv,ca-certificates"
MIRROR = "http://deb.debian.org/debian"

READ_ONLY = """\
set -eu
mount --bind "$0" "$0"
mount -o remount,bind,ro "$0"
mount -t tmpfs tmpfs "$0/tmp"
mount -t proc proc "$0/proc"
user=$1 environment=$2; shift 2
exec chroot --userspec="$user" "$0" /usr/bin/env -i $environment "$@"
"""
"""Runs a command in a root file system as a container runtime would with a read-only root and /tmp as an emptyDir."""


@dataclass(frozen=True)
class Buildah:
    """buildah with a store of its own."""

    store: Path

    def __call__(self, *arguments: str, seconds: float = 1500) -> str:
        """One command, which must succeed; what it printed."""
        done = self.run(*arguments, seconds=seconds)
        assert done.returncode == 0, f"buildah {arguments[0]}: {done.stdout[-3000:]}{done.stderr[-3000:]}"
        return done.stdout.strip()

    def run(self, *arguments: str, seconds: float = 1500) -> subprocess.CompletedProcess[str]:
        """One command."""
        where = ["--root", str(self.store / "root"), "--runroot", str(self.store / "run")]
        return subprocess.run(
            ["buildah", *where, *arguments], capture_output=True, text=True, check=False, timeout=seconds
        )


@dataclass(frozen=True)
class Image:
    """A built image, mounted."""

    folder: Path
    user: str
    environment: Sequence[str]
    command: Sequence[str]

    def run(self, *arguments: str, env: Sequence[str] = ()) -> subprocess.CompletedProcess[str]:
        """A command in it with a read-only root, as its own user and with its own environment."""
        words = " ".join([*self.environment, *env])
        script = ["sh", "-c", READ_ONLY, str(self.folder), self.user, words, *arguments]
        return subprocess.run(
            ["unshare", "--mount", "--propagation", "private", *script],
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )


@pytest.fixture(scope="module")
def buildah(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Buildah]:
    """buildah, ready to build without a container runtime."""
    missing = [name for name in ("buildah", "unshare", "chroot") if shutil.which(name) is None]
    if missing or os.geteuid() != 0:
        do_without(
            "image", f"the image needs root and {', '.join(missing) or 'buildah'}: apt-get install buildah mmdebstrap"
        )
    made = Buildah(tmp_path_factory.mktemp("containers"))
    tried = made.run("from", "scratch")
    if tried.returncode != 0:
        do_without("image", f"buildah cannot make a container here: {tried.stderr.strip()[-300:]}")
    yield made
    made.run("umount", "--all")
    made.run("rm", "--all")
    made.run("rmi", "--all", "--force")


def base_image() -> str:
    """The name of the base image in the Dockerfile."""
    text = DOCKERFILE.read_text(encoding="utf-8")
    python = next(line.partition("=")[2] for line in text.splitlines() if line.startswith("ARG PYTHON="))
    names = {line.split()[1].replace("${PYTHON}", python) for line in text.splitlines() if line.startswith("FROM ")}
    assert len(names) == 1
    return names.pop()


def provide_base(buildah: Buildah) -> None:
    """The base image in buildah's store: pulled, else a stand-in under its name."""
    name = base_image()
    if buildah.run("pull", name, seconds=300).returncode == 0:
        return
    container = buildah("from", "scratch")
    buildah("add", container, str(_debian()), "/")
    root = Path(buildah("mount", container))
    for program in ("python", "python3"):
        (root / "usr" / "local" / "bin" / program).symlink_to("../../bin/python3")
    buildah("umount", container)
    buildah("commit", "--quiet", container, name)
    buildah("rm", container)


def _debian() -> Path:
    """An archive of a small Debian, kept in the user's cache."""
    folder = writable_cache() / STAND_IN
    archive = folder / "root.tar"
    if archive.is_file():
        return archive
    if shutil.which("mmdebstrap") is None:
        do_without(
            "image", "the base image cannot be pulled here, and there is no mmdebstrap to make its stand-in with"
        )
    with fresh_folder(folder) as filling:
        options = ["--quiet", "--variant=minbase", f"--include={PACKAGES}"]
        done = subprocess.run(
            ["mmdebstrap", *options, "bookworm", str(filling / "root.tar"), MIRROR],
            capture_output=True,
            text=True,
            check=False,
            timeout=900,
        )
        if done.returncode != 0:
            do_without(
                "image", f"the base image cannot be pulled here, nor Debian's packages: {done.stderr.strip()[-300:]}"
            )
    return archive


@pytest.fixture(scope="module")
def image(buildah: Buildah, tmp_path_factory: pytest.TempPathFactory) -> Image:
    """The image as `docker build .` makes it; its downloads trust the certificates that this machine trusts."""
    provide_base(buildah)
    trust = tmp_path_factory.mktemp("trust")
    (trust / "pip.conf").write_text("[global]\ncert = /etc/ssl/certs/ca-certificates.crt\n")
    (trust / "uv.toml").write_text("system-certs = true\n")
    mounts = (
        "/etc/ssl/certs:/etc/ssl/certs:ro",
        f"{trust}/pip.conf:/etc/pip.conf:ro",
        f"{trust}/uv.toml:/etc/uv/uv.toml:ro",
    )
    volumes = [word for mount in mounts for word in ("--volume", mount)]
    buildah("bud", "--isolation", "chroot", "--pull-never", *volumes, "--tag", "passmuster:test", str(ROOT))
    config = json.loads(buildah("inspect", "--type", "image", "passmuster:test"))["OCIv1"]["config"]
    folder = Path(buildah("mount", buildah("from", "--pull-never", "passmuster:test")))
    command = [*config["Entrypoint"], *config["Cmd"]]
    return Image(folder, config["User"], config["Env"], command)


def test_the_dockerfile_is_clean_by_hadolint() -> None:
    done = subprocess.run(
        [str(Path(sys.executable).with_name("hadolint")), "--failure-threshold", "style", str(DOCKERFILE)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_dockerfile_needs_no_newer_builder() -> None:
    text = DOCKERFILE.read_text(encoding="utf-8")
    assert "<<" not in text
    assert "--link" not in text
    assert "# syntax=" not in text
    assert ":latest" not in text


def test_the_build_sees_only_what_it_copies() -> None:
    lines = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    let_in = {line[1:] for line in lines if line.startswith("!")}
    copied = {
        word
        for line in DOCKERFILE.read_text(encoding="utf-8").splitlines()
        if line.startswith("COPY ") and "--from" not in line
        for word in line.split()[1:-1]
    }
    assert "*" in lines
    assert let_in == copied
    assert all((ROOT / name).exists() for name in copied)


@pytest.mark.image
@pytest.mark.slow
class TestTheImage:
    """Built once for all of them."""

    def test_it_runs_as_nobody_with_a_root_that_cannot_be_written(self, image: Image) -> None:
        assert image.user == "65532:65532"
        assert image.run("id", "-u").stdout.strip() == "65532"
        assert image.run("touch", "/opt/passmuster/x").returncode != 0
        assert image.run("touch", "/tmp/x").returncode == 0

    def test_it_says_its_version(self, image: Image) -> None:
        done = image.run("passmuster", "--version")
        assert done.stdout.strip() == f"passmuster {__version__}", done.stderr

    def test_its_command_is_the_operator_which_ends_with_one_sentence_where_there_is_no_cluster(
        self, image: Image
    ) -> None:
        assert image.command == ["passmuster", "operator"]
        done = image.run(*image.command)
        assert done.returncode == 2
        assert "no API server" in done.stderr
        assert "Traceback" not in done.stderr
        assert len(done.stderr.strip().splitlines()) == 1

    def test_it_holds_the_catalogue_and_the_manifests_and_nothing_of_the_tests(self, image: Image) -> None:
        assert image.run("passmuster", "checks", "guardduty-enabled").returncode == 0
        printed = image.run("passmuster", "crds")
        assert "kind: CustomResourceDefinition" in printed.stdout, printed.stderr
        packages = {
            path.name.lower() for path in (image.folder / "opt" / "passmuster").glob("lib/python*/site-packages/*")
        }
        assert packages >= {"boto3", "kopf", "kubernetes", "opentelemetry", "passmuster", "pydantic"}
        assert packages & {"moto", "pytest", "_pytest", "mypy", "cfnlint", "hypothesis", "zensical", "mkdocs"} == set()

    def test_none_of_its_files_can_be_written_by_its_user(self, image: Image) -> None:
        done = image.run("find", "/opt", "/usr/local", "-writable", "-not", "-type", "l")
        assert done.stdout == ""
