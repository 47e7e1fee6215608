"""The Firestore and Pub/Sub emulators: where they are, where they come from, how they are run."""

import fnmatch
import os
import shutil
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from deploy.local.download import fetch
from deploy.local.errors import StackError
from deploy.local.ports import HOST

_SDK_PLACES = (
    "~/google-cloud-sdk",
    "/usr/lib/google-cloud-sdk",
    "/usr/share/google-cloud-sdk",
    "/usr/local/share/google-cloud-sdk",
    "/usr/local/google-cloud-sdk",
    "/opt/google-cloud-sdk",
    "/opt/homebrew/share/google-cloud-sdk",
    "/opt/homebrew/Caskroom/google-cloud-sdk/latest/google-cloud-sdk",
    "/usr/local/Caskroom/google-cloud-sdk/latest/google-cloud-sdk",
    "/snap/google-cloud-cli/current",
    "/snap/google-cloud-sdk/current",
)

# Less time to compile what runs for a minute, and no collector threads beside two cores' worth of other work.
_JVM_FLAGS = ("-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Duser.language=en")


@dataclass(frozen=True)
class Archive:
    """A pinned download that is the emulator's jar, or a zip file that holds it under a name like `member`."""

    url: str
    sha256: str
    member: str = ""


@dataclass(frozen=True)
class Emulator:
    """What one emulator is called in each place."""

    name: str
    title: str
    variable: str
    main_class: str
    programs: tuple[str, ...]
    jar: str
    package: str
    component: str
    archive: Archive


FIRESTORE = Emulator(
    name="firestore",
    title="Firestore emulator",
    variable="FIRESTORE_EMULATOR_HOST",
    main_class="com.google.cloud.datastore.emulator.firestore.CloudFirestore",
    programs=("cloud_firestore_emulator", "cloud-firestore-emulator"),
    jar="cloud-firestore-emulator/cloud-firestore-emulator.jar",
    package="google-cloud-cli-firestore-emulator",
    component="cloud-firestore-emulator",
    archive=Archive(
        "https://storage.googleapis.com/firebase-preview-drop/emulator/cloud-firestore-emulator-v1.19.8.jar",
        "9d43599ed6151199e8d604dc87fac51218e49e5f3a48519b1ae560bbe5e3382d",
    ),
)
PUBSUB = Emulator(
    name="pubsub",
    title="Pub/Sub emulator",
    variable="PUBSUB_EMULATOR_HOST",
    main_class="com.google.cloud.pubsub.testing.v1.Main",
    programs=("cloud-pubsub-emulator",),
    jar="pubsub-emulator/lib/cloud-pubsub-emulator-*-all.jar",
    package="google-cloud-cli-pubsub-emulator",
    component="pubsub-emulator",
    archive=Archive(
        "https://storage.googleapis.com/firebase-preview-drop/emulator/pubsub-emulator-0.8.14.zip",
        "4fbeefd8ecb32b10e5ab522e5d8748e0c2b13891c471c0c327c04632dcc75a8d",
        "*/lib/cloud-pubsub-emulator-*.jar",
    ),
)


def find_jar(emulator: Emulator, cache: Path) -> Path:
    """Find the emulator's jar on PATH or in a Cloud SDK, else fetch it into the directory `cache`.

    Raises:
        StackError: It is nowhere and cannot be fetched.
    """
    for jar in _installed(emulator):
        return jar
    try:
        return download(emulator, cache)
    except StackError as error:
        raise StackError(
            f"the {emulator.title} was not found: run `gcloud components install {emulator.component}` or "
            f"`apt-get install {emulator.package}`, or set {emulator.variable} to one that runs ({error})"
        ) from error


def download(emulator: Emulator, cache: Path) -> Path:
    """Fetch the pinned archive into the directory `cache` and return its jar.

    Raises:
        StackError: It cannot be fetched, or is not what was pinned.
    """
    archive = emulator.archive
    file = fetch(archive.url, archive.sha256, cache / archive.url.rsplit("/", 1)[-1])
    if not archive.member:
        return file
    jar = file.with_suffix(".jar")
    if not jar.exists():
        try:
            with zipfile.ZipFile(file) as packed:
                (member,) = fnmatch.filter(packed.namelist(), archive.member)
                part = jar.with_suffix(f".{os.getpid()}.part")
                with packed.open(member) as source, part.open("wb") as target:
                    shutil.copyfileobj(source, target)
        except (ValueError, zipfile.BadZipFile) as error:
            raise StackError(f"{archive.url} does not hold one {archive.member}") from error
        part.replace(jar)
    return jar


def command(emulator: Emulator, java: Path, jar: Path, port: int) -> list[str]:
    """The command that runs the emulator on `port` of this machine, without the SDK's shell scripts around it."""
    return [str(java), *_JVM_FLAGS, "-cp", str(jar), emulator.main_class, f"--host={HOST}", f"--port={port}"]


def sdk_roots() -> Iterator[Path]:
    """Where a Cloud SDK may be installed, most telling first."""
    named = os.environ.get("CLOUDSDK_ROOT_DIR")
    if named:
        yield Path(named)
    gcloud = shutil.which("gcloud")
    if gcloud:
        yield Path(gcloud).resolve().parent.parent
    yield from (Path(place).expanduser() for place in _SDK_PLACES)


def _installed(emulator: Emulator) -> Iterator[Path]:
    for program in emulator.programs:
        path = shutil.which(program)
        if path:
            folder = Path(path).resolve().parent
            name = Path(emulator.jar).name
            yield from sorted([*folder.glob(name), *folder.parent.glob(f"lib/{name}")])
    for root in sdk_roots():
        yield from sorted(root.glob(f"platform/{emulator.jar}"))
