"""The bill of materials of the package, as CycloneDX; run by the Python that has the tools.

It says the same, byte for byte, of the same package: its number follows from the package's digest, and no time is in
it. What the container image adds below Python is not in it.
"""

import json
import sys
from collections import defaultdict
from pathlib import Path
from uuid import NAMESPACE_URL, uuid5

from cyclonedx.model import HashAlgorithm, HashType
from cyclonedx.model.bom import Bom, BomMetaData
from cyclonedx.model.component import Component, ComponentScope, ComponentType
from cyclonedx.model.license import LicenseExpression
from cyclonedx.output.json import JsonV1Dot6
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from packageurl import PackageURL

from deploy.release.errors import ReleaseError
from deploy.release.lockfile import PROJECT, Locked, parse
from ips_common import __version__


def render(locked: tuple[Locked, ...], digest: str) -> str:
    """Return the bill of materials of the package with the SHA-256 `digest`.

    Raises:
        ReleaseError: it would not keep to the schema.
    """
    product = Component(
        name=PROJECT,
        version=__version__,
        type=ComponentType.APPLICATION,
        bom_ref=PROJECT,
        licenses=[LicenseExpression("Apache-2.0")],
        hashes=[HashType(alg=HashAlgorithm.SHA_256, content=digest)],
    )
    bom = Bom(
        components=[_component(each) for each in locked],
        metadata=BomMetaData(component=product),
        serial_number=uuid5(NAMESPACE_URL, f"{PROJECT}:{digest}"),
    )
    parts = {component.name: component for component in [product, *bom.components]}
    needs: defaultdict[str, list[Component]] = defaultdict(list)
    for each in locked:
        for parent in each.wanted_by:
            needs[parent].append(parts[each.name])
    for name, part in parts.items():
        bom.register_dependency(part, needs[name])
    document = json.loads(JsonV1Dot6(bom).output_as_string())
    del document["metadata"]["timestamp"]  # the library knows no bill without one, the schema does
    text = json.dumps(document, indent=1) + "\n"
    if error := JsonStrictValidator(SchemaVersion.V1_6).validate_str(text):
        raise ReleaseError(f"the bill of materials does not keep to its schema: {error}")
    return text


def _component(each: Locked) -> Component:
    purl = PackageURL("pypi", name=each.name, version=each.version)
    scope = ComponentScope.REQUIRED if each.everywhere else ComponentScope.OPTIONAL
    return Component(
        name=each.name,
        version=each.version,
        type=ComponentType.LIBRARY,
        bom_ref=purl.to_string(),
        purl=purl,
        scope=scope,
    )


if __name__ == "__main__":
    lockfile, archive_digest = sys.argv[1:]
    sys.stdout.write(render(parse(Path(lockfile).read_text("utf-8")), archive_digest))
