"""Terraform on this machine, with a provider that knows nothing but a schema (`provider.py`)."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.infra.extract import SCHEMA

OLDEST = (1, 9)
"""What `infra/versions.tf` asks for."""

_PLACES = (
    "~/.local/bin",
    "~/bin",
    "~/.tfenv/bin",
    "~/.asdf/shims",
    "/usr/local/bin",
    "/usr/bin",
    "/opt/homebrew/bin",
    "/snap/bin",
)
_ADDRESS = "registry.terraform.io/hashicorp/google"


class CheckError(Exception):
    """Something is missing, or does not hold; the message is what to tell."""


@dataclass(frozen=True)
class Terraform:
    """A Terraform that finds the provider running already, and writes below `scratch` alone.

    Attributes:
        program: The executable.
        scratch: A folder for what it wants to keep.
        provider: The provider's process and address.
    """

    program: Path
    scratch: Path
    provider: Mapping[str, Any]

    def run(self, folder: Path, *arguments: str) -> str:
        """Run it in a folder and return what it printed.

        Raises:
            CheckError: it found something wrong.
        """
        done = subprocess.run(
            [str(self.program), *arguments],
            cwd=folder,
            env=self._environment(folder),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        if done.returncode:
            raise CheckError(f"terraform {arguments[0]} in {folder}:\n{_readable(done.stdout)}")
        return done.stdout

    def _environment(self, folder: Path) -> dict[str, str]:
        # Nobody's own settings: neither variables for the module nor mirrors of providers.
        env = {name: value for name, value in os.environ.items() if not name.startswith("TF_")}
        return env | {
            "TF_REATTACH_PROVIDERS": json.dumps({_ADDRESS: self.provider}),
            "TF_DATA_DIR": str(self.scratch / "-".join(folder.parts[-2:])),
            "TF_CLI_CONFIG_FILE": os.devnull,
            "TF_IN_AUTOMATION": "1",
            "TF_INPUT": "0",
            "CHECKPOINT_DISABLE": "1",
        }


def find() -> Path:
    """Return the executable: on the PATH, or in one of the usual places.

    Raises:
        CheckError: there is none, or it is too old.
    """
    path = os.pathsep.join([os.environ.get("PATH", ""), *(str(Path(place).expanduser()) for place in _PLACES)])
    found = shutil.which("terraform", path=path)
    wanted = ".".join(map(str, OLDEST))
    if found is None:
        raise CheckError(
            f"terraform was not found: install {wanted} or later (developer.hashicorp.com/terraform/install)"
        )
    env = os.environ | {"CHECKPOINT_DISABLE": "1", "TF_CLI_CONFIG_FILE": os.devnull}
    answer = subprocess.run([found, "version", "-json"], env=env, capture_output=True, text=True, check=True).stdout
    version = json.loads(answer)["terraform_version"]
    if tuple(int(part) for part in version.split(".")[:2]) < OLDEST:
        raise CheckError(f"{found} is {version}: install terraform {wanted} or later")
    return Path(found)


@contextmanager
def provider(python: Path) -> Iterator[dict[str, Any]]:
    """Run the provider with an interpreter that has its packages; yields how Terraform finds it."""
    script = Path(__file__).with_name("provider.py")
    process = subprocess.Popen(
        [str(python), str(script), str(SCHEMA)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with process:
        # It ends with its standard input, which leaving this block closes.
        address = process.stdout.readline().strip() if process.stdout else ""
        if not address:
            raise CheckError("the provider did not start")
        yield {
            "Protocol": "grpc",
            "ProtocolVersion": 6,
            "Pid": process.pid,
            "Test": True,
            "Addr": {"Network": "tcp", "String": address},
        }


def packages(folder: Path, requirements: Path) -> Path:
    """Return the interpreter of a virtual environment with the provider's packages, made if they changed."""
    python, stamp, wanted = folder / "bin" / "python", folder / "installed", requirements.read_text("utf-8")
    if not stamp.exists() or stamp.read_text("utf-8") != wanted:
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(folder)], check=True)
        pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*pip, "--require-hashes", "-r", str(requirements)], check=True)
        stamp.write_text(wanted, "utf-8")
    return python


def _readable(output: str) -> str:
    """Return what a person wants to read of `terraform test -json`, or of plain output."""
    lines = []
    for line in output.splitlines():
        try:
            entry = json.loads(line)
        except ValueError:
            lines.append(line)
            continue
        if diagnostic := entry.get("diagnostic"):
            place = diagnostic.get("range", {})
            where = f"{place.get('filename', '')}:{place.get('start', {}).get('line', '')}"
            lines.append(f"  {where} {diagnostic['summary']}: {diagnostic.get('detail', '')}")
        elif entry.get("type") in {"test_run", "test_summary"} and "pass" not in entry["@message"]:
            lines.append(entry["@message"])
    return "\n".join(lines)
