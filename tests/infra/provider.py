"""A provider that knows nothing but a schema, for Terraform to check a configuration against.

It says yes to every configuration that fits the schema, and can neither plan nor apply: in tests Terraform does that by
itself (`mock_provider`). Runs in an environment of its own, because the package `tf` needs an older protobuf than IPS:

    python provider.py google-schema.json     # prints its address, ends with its standard input
"""

import importlib
import json
import sys
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc

# Generated from Terraform's plugin protocol, version 6. Not importable where this file is checked.
wire: Any = importlib.import_module("tf.gen.tfplugin_pb2")
services: Any = importlib.import_module("tf.gen.tfplugin_pb2_grpc")


def attribute(name: str, kind: Any, flags: str) -> Any:
    """Return an attribute; flags are r(equired), o(ptional) and c(omputed)."""
    return wire.Schema.Attribute(
        name=name,
        type=json.dumps(kind).encode(),
        required="r" in flags,
        optional="o" in flags,
        computed="c" in flags,
    )


def block(content: Mapping[str, Any]) -> Any:
    """Return a block with all that may stand in it."""
    return wire.Schema.Block(
        attributes=[attribute(name, kind, flags) for name, (kind, flags) in content["attributes"].items()],
        block_types=[
            wire.Schema.NestedBlock(
                type_name=name,
                block=block(inner),
                nesting=wire.Schema.NestedBlock.NestingMode.Value(inner["nesting"].upper()),
                min_items=inner.get("min", 0),
                max_items=inner.get("max", 0),
            )
            for name, inner in content["blocks"].items()
        ],
    )


class Provider(services.ProviderServicer):  # type: ignore[misc]  # generated code, without types here
    """Answers what `terraform init`, `validate` and `test` ask."""

    def __init__(self, schema: Mapping[str, Any]) -> None:
        self._schema = wire.GetProviderSchema.Response(
            provider=wire.Schema(version=0, block=block(schema["provider"])),
            resource_schemas={
                name: wire.Schema(version=0, block=block(content)) for name, content in schema["resource"].items()
            },
            data_source_schemas={
                name: wire.Schema(version=0, block=block(content)) for name, content in schema["data"].items()
            },
        )

    def GetProviderSchema(self, request: Any, context: Any) -> Any:  # noqa: N802, ARG002 - the protocol's names
        return self._schema

    def ValidateProviderConfig(self, request: Any, context: Any) -> Any:  # noqa: N802, ARG002
        return wire.ValidateProviderConfig.Response()

    def ValidateResourceConfig(self, request: Any, context: Any) -> Any:  # noqa: N802, ARG002
        return wire.ValidateResourceConfig.Response()

    def ValidateDataResourceConfig(self, request: Any, context: Any) -> Any:  # noqa: N802, ARG002
        return wire.ValidateDataResourceConfig.Response()

    def StopProvider(self, request: Any, context: Any) -> Any:  # noqa: N802, ARG002
        return wire.StopProvider.Response()


def main(schema: Path) -> None:
    """Serve until standard input ends, which it does when whoever started this is gone."""
    server = grpc.server(ThreadPoolExecutor(max_workers=4))
    services.add_ProviderServicer_to_server(Provider(json.loads(schema.read_text(encoding="utf-8"))), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    sys.stdout.write(f"127.0.0.1:{port}\n")
    sys.stdout.flush()
    sys.stdin.read()
    server.stop(grace=None)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
