"""`/openapi.json` describes what the API does."""

import re
from collections.abc import Iterator
from typing import Any

import openapi_spec_validator
import pytest

from ips_common.models.task import TaskSpec
from tests.unit.api.conftest import TASKS, Api

SAYING = {"description", "$ref"}  # what is referred to says it itself
ROUTES = {
    ("POST", "/api/v1/tasks"),
    ("GET", "/api/v1/tasks"),
    ("GET", "/api/v1/tasks/{taskId}"),
    ("DELETE", "/api/v1/tasks/{taskId}"),
    ("GET", "/api/v1/tasks/{taskId}/nodes"),
    ("GET", "/api/v1/tasks/{taskId}/gate"),
    ("GET", "/api/v1/predictions"),
    ("GET", "/health"),
    ("GET", "/healthz"),
    ("GET", "/ready"),
    ("GET", "/readyz"),
    ("GET", "/metrics"),
    ("GET", "/openapi.json"),
}


@pytest.fixture
def document(api: Api) -> dict[str, Any]:
    """The document as callers get it."""
    answer = api.get("/openapi.json")
    assert (answer.status_code, answer.content_type) == (200, "application/json")
    content: dict[str, Any] = answer.get_json()
    return content


def operations(document: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, item in document["paths"].items():
        for method in item.keys() & {"get", "post", "delete", "put"}:
            yield method.upper(), path, item[method]


def references(value: object) -> Iterator[str]:
    if isinstance(value, dict):
        for key, inner in value.items():
            if key == "$ref":
                yield inner
            else:
                yield from references(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from references(inner)


def test_every_route_is_described(document: dict[str, Any]) -> None:
    assert document["openapi"] == "3.1.0"
    assert {(method, path) for method, path, _ in operations(document)} == ROUTES


def test_every_reference_leads_somewhere(document: dict[str, Any]) -> None:
    known = {f"#/components/schemas/{name}" for name in document["components"]["schemas"]}

    assert set(references(document)) <= known
    assert known - set(references(document)) == set()


def test_operation_ids_are_unique(document: dict[str, Any]) -> None:
    ids = [operation["operationId"] for _, _, operation in operations(document)]

    assert len(ids) == len(set(ids))


def test_every_field_of_the_request_is_there_under_its_name(document: dict[str, Any]) -> None:
    schema = document["components"]["schemas"]["TaskSpec"]

    assert set(schema["properties"]) == {field.alias for field in TaskSpec.model_fields.values()}
    assert schema["required"] == ["images"]
    assert schema["additionalProperties"] is False
    body = document["paths"][TASKS]["post"]["requestBody"]["content"]["application/json"]["schema"]
    assert body == {"$ref": "#/components/schemas/TaskSpec"}


def test_everything_says_what_it_is(document: dict[str, Any]) -> None:
    for name, schema in document["components"]["schemas"].items():
        assert schema["description"], name
        silent = [field for field, each in schema.get("properties", {}).items() if not each.keys() & SAYING]
        assert silent == [], name
    for method, path, operation in operations(document):
        assert operation["summary"]
        assert all(parameter["description"] for parameter in operation.get("parameters", ())), (method, path)


PATTERNS = [
    ("images", ["nginx", "r.example:5000/a/b:1@sha256:" + "0" * 64], ["", "Nginx", "a b", "a:", "a@sha256:0", "a\n"]),
    ("imagePullSecrets", ["a", "a.b-c"], ["", "A", "a_b", "-a", "a."]),
]


@pytest.mark.parametrize(("field", "good", "bad"), PATTERNS)
def test_patterns_take_what_the_api_takes(
    api: Api, document: dict[str, Any], field: str, good: list[str], bad: list[str]
) -> None:
    pattern = document["components"]["schemas"]["TaskSpec"]["properties"][field]["items"]["pattern"]

    for values, fits in ((good, True), (bad, False)):
        for value in values:
            body = {"images": ["nginx:1"], field: [value]}
            assert bool(re.search(pattern.replace("$", r"\Z"), value)) is fits, value
            assert (api.post(body).status_code == 201) is fits, value


def test_labels_are_described_by_their_patterns(api: Api, document: dict[str, Any]) -> None:
    schema = document["components"]["schemas"]["TaskSpec"]["properties"]["nodeSelector"]
    ((key_pattern, value_schema),) = schema["patternProperties"].items()
    assert schema["additionalProperties"] is False

    for key, value, fits in [
        ("pool", "", True),
        ("topology.kubernetes.io/zone", "eu-1_a.b", True),
        ("a" * 63, "b" * 63, True),
        ("a" * 64, "b", False),
        ("a", "b" * 64, False),
        ("/a", "b", False),
        ("-a", "b", False),
        ("a", "b-", False),
    ]:
        assert bool(re.search(key_pattern, key) and re.search(value_schema["pattern"], value)) is fits, (key, value)
        assert (api.post({"images": ["nginx"], "nodeSelector": {key: value}}).status_code == 201) is fits, (key, value)


def test_every_field_of_the_request_is_in_the_task(document: dict[str, Any]) -> None:
    task = document["components"]["schemas"]["TaskView"]

    assert {field.alias for field in TaskSpec.model_fields.values()} <= set(task["properties"])
    assert set(task["required"]) == set(task["properties"])


def test_errors_are_problem_documents(document: dict[str, Any]) -> None:
    for method, path, operation in operations(document):
        for status, response in operation["responses"].items():
            assert response["description"]
            assert "X-Request-Id" in response["headers"]
            if int(status) >= 400:
                assert list(response["content"]) == ["application/problem+json"], (method, path, status)
            if status == "401":
                assert "WWW-Authenticate" in response["headers"]
            if status in {"429", "503"}:
                assert "Retry-After" in response["headers"]


@pytest.mark.parametrize(
    ("method", "path", "statuses"),
    [
        ("POST", TASKS, {"200", "201", "400", "401", "403", "413", "415", "422", "429", "500", "502", "503"}),
        ("GET", f"{TASKS}/{{taskId}}", {"200", "401", "403", "404", "422", "500", "503"}),
        ("DELETE", f"{TASKS}/{{taskId}}", {"200", "401", "403", "404", "409", "422", "500", "503"}),
        ("GET", "/metrics", {"200", "401", "403", "500", "503"}),
        ("GET", "/health", {"200", "500"}),
        ("GET", f"{TASKS}/{{taskId}}/gate", {"200", "202", "401", "403", "404", "409", "422", "500", "503"}),
    ],
)
def test_every_answer_is_described(document: dict[str, Any], method: str, path: str, statuses: set[str]) -> None:
    assert set(document["paths"][path][method.lower()]["responses"]) == statuses


def test_parameters_are_described_with_their_bounds(document: dict[str, Any]) -> None:
    parameters = {parameter["name"]: parameter for parameter in document["paths"][TASKS]["get"]["parameters"]}

    assert set(parameters) == {"status", "cluster", "limit", "offset", "pageToken"}
    assert parameters["limit"]["schema"] == {"default": 10, "maximum": 100, "minimum": 1, "type": "integer"}
    assert parameters["status"]["schema"] == {"$ref": "#/components/schemas/TaskStatus"}
    create = {parameter["name"]: parameter["in"] for parameter in document["paths"][TASKS]["post"]["parameters"]}
    assert create == {"dryRun": "query", "Idempotency-Key": "header"}


def test_the_pattern_of_ids_takes_our_ids(api: Api, document: dict[str, Any]) -> None:
    parameter = document["paths"][f"{TASKS}/{{taskId}}"]["parameters"][0]

    assert re.search(parameter["schema"]["pattern"], api.create())


def test_the_document_is_valid(document: dict[str, Any]) -> None:
    openapi_spec_validator.validate(document)
