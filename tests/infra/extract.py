"""Writes `google-schema.json`: what Terraform needs to know of the google provider to check a configuration.

The provider itself is no package of the registries that this project installs from, but its schema is in one: the wheel
cdktf-cdktf-provider-google (PyPI, MPL-2.0) holds generated sources for every resource of google 6.50.0, with each
argument's name, type and whether it is required. Only those facts are kept, and only of resources in `infra/`.

    pip download --no-deps cdktf-cdktf-provider-google==16.12.1
    python -m tests.infra.extract cdktf_cdktf_provider_google-16.12.1-py3-none-any.whl

Needed again when `infra/` uses a new kind of resource. Newer arguments than the wheel knows are in `OVERLAY`.
"""

import base64
import io
import json
import re
import sys
import tarfile
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
SCHEMA = Path(__file__).with_name("google-schema.json")

SOURCE = {
    "package": "cdktf-cdktf-provider-google 16.12.1",
    "licence": "MPL-2.0",
    "provider": "google 6.50.0",
    "overlay": "arguments of 7.x, named in tests/infra/extract.py",
}

# The provider's own block. In the wheel it has some 150 arguments, nearly all of them other addresses of APIs.
PROVIDER: Mapping[str, Any] = {
    "attributes": {name: ["string", "o"] for name in ("project", "region", "zone", "credentials")},
    "blocks": {},
}

# What `infra/` uses of google 7.x: https://cloud.google.com/functions/docs/running/direct-vpc (7.21.0 or later).
OVERLAY: Mapping[str, Mapping[str, Any]] = {
    "google_cloudfunctions2_function": {
        "service_config": {
            "attributes": {"direct_vpc_egress": ["string", "oc"]},
            "blocks": {
                "direct_vpc_network_interface": {
                    "nesting": "list",
                    "attributes": {
                        "network": ["string", "oc"],
                        "subnetwork": ["string", "oc"],
                        "tags": [["list", "string"], "o"],
                    },
                    "blocks": {},
                }
            },
        }
    }
}

_USED = re.compile(r'^(resource|data) "(google_[a-z0-9_]+)"', re.MULTILINE)
_CLASS = re.compile(r"^export class (\w+) extends cdktf\.(\w+)", re.MULTILINE)
_MEMBER = re.compile(
    r"^  // (\w+) - computed: (true|false), optional: (true|false), required: (true|false)\n"
    r"(.*?)(?=^  // \w+ - computed|\Z)",
    re.MULTILINE | re.DOTALL,
)
_NESTED = re.compile(r"= new (\w+)(OutputReference|List)\(this, \"\w+\"(?:, (true|false))?\)")
_GETTERS = {
    "getStringAttribute": "string",
    "getNumberAttribute": "number",
    "getBooleanAttribute": "bool",
    "getStringMapAttribute": ["map", "string"],
    "getNumberMapAttribute": ["map", "number"],
    "getBooleanMapAttribute": ["map", "bool"],
    "cdktf.StringMap": ["map", "string"],
    "cdktf.BooleanMap": ["map", "bool"],
    "getListAttribute": ["list", "string"],
    "getNumberListAttribute": ["list", "number"],
}


class Source:
    """The generated source of one resource: its classes, each with the members of a block."""

    def __init__(self, text: str) -> None:
        found = list(_CLASS.finditer(text))
        ends = [match.start() for match in found[1:]] + [len(text)]
        self._bodies = {match[1]: text[match.start() : end] for match, end in zip(found, ends, strict=True)}
        self.main = next(match[1] for match in found if match[2] in {"TerraformResource", "TerraformDataSource"})

    def block(self, name: str) -> dict[str, Any]:
        """Return what a class says may stand in its block."""
        attributes: dict[str, Any] = {}
        blocks: dict[str, Any] = {}
        for argument, computed, optional, required, body in _MEMBER.findall(self._bodies[name]):
            flags = "".join(
                letter for letter, is_so in zip("cor", (computed, optional, required), strict=True) if is_so == "true"
            )
            nested = _NESTED.search(body)
            if nested is None:
                attributes[argument] = [_type(body), "".join(sorted(flags, reverse=True))]
                continue
            inner = self.block(f"{nested[1]}OutputReference")
            collection = "set" if nested[3] == "true" else "list"
            if computed == "true":
                attributes[argument] = [[collection, _object(inner)], "".join(sorted(flags, reverse=True))]
                continue
            blocks[argument] = {"nesting": "single" if argument == "timeouts" else collection, **inner}
            if required == "true":
                blocks[argument]["min"] = 1
            if nested[2] == "OutputReference" and argument != "timeouts":
                blocks[argument]["max"] = 1
        return {"attributes": attributes, "blocks": blocks}


def _type(body: str) -> Any:
    for getter, kind in _GETTERS.items():
        if getter in body:
            return ["set", *kind[1:]] if "Fn.tolist" in body and isinstance(kind, list) else kind
    # What cdktf cannot express as one type (`any`) may be anything here, too.
    return "dynamic"


def _object(block: Mapping[str, Any]) -> list[Any]:
    fields = {name: kind for name, (kind, _) in block["attributes"].items()}
    for name, inner in block["blocks"].items():
        fields[name] = [inner["nesting"], _object(inner)]
    return ["object", fields]


def used(folder: Path) -> set[tuple[str, str]]:
    """Return kind and name of every google resource and data source in the `.tf` files below a folder."""
    return {(kind, name) for file in folder.rglob("*.tf") for kind, name in _USED.findall(file.read_text("utf-8"))}


def sources(wheel: Path) -> tarfile.TarFile:
    """Open the archive of generated sources inside the wheel."""
    with zipfile.ZipFile(wheel) as archive:
        name = next(name for name in archive.namelist() if name.endswith(".jsii.tgz"))
        return tarfile.open(fileobj=io.BytesIO(archive.read(name)), mode="r:gz")


def _read(archive: tarfile.TarFile, kind: str, name: str) -> dict[str, Any]:
    folder = ("data-" if kind == "data" else "") + name.replace("_", "-")
    folder = folder if kind == "data" else folder.removeprefix("google-")
    member = archive.extractfile(f"package/lib/{folder}/index.js")
    if member is None:
        raise SystemExit(f"{name}: not in the wheel")
    encoded = member.read().decode().rpartition("sourceMappingURL=data:application/json;base64,")[2]
    source = Source(json.loads(base64.b64decode(encoded))["sourcesContent"][0])
    return source.block(source.main)


def _lay_over(blocks: Mapping[str, Any], overlay: Mapping[str, Any]) -> None:
    for name, more in overlay.items():
        for part in ("attributes", "blocks"):
            blocks[name][part].update(more[part])


def main(wheel: Path) -> None:
    """Write the schema of everything `infra/` uses."""
    found: dict[str, dict[str, Any]] = {"resource": {}, "data": {}}
    with sources(wheel) as archive:
        for kind, name in sorted(used(ROOT / "infra")):
            found[kind][name] = _read(archive, kind, name)
        for name, blocks in OVERLAY.items():
            _lay_over(found["resource"][name]["blocks"], blocks)
    text = json.dumps({"source": SOURCE, "provider": PROVIDER, **found}, sort_keys=True, separators=(",", ":"))
    # One line a resource: a diff shows which of them changed.
    SCHEMA.write_text(re.sub(r'(?<=[{,])("google_)', r"\n\1", text) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
