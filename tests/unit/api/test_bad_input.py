"""Whatever is wrong with a request, the answer says what, all at once, and is never a 500."""

import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from functions.api.body import MAX_BODY
from functions.api.validation import MAX_ENTRIES, MAX_ERRORS
from tests.unit.api.conftest import TASKS, Api, fields, problem

JSON = "application/json"


def send(api: Api, raw: bytes, content_type: str | None = JSON, **headers: str) -> Any:
    return api.client.post(TASKS, data=raw, content_type=content_type, headers=headers)


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        (b"", "Expecting value at line 1, column 1"),
        (b"{", "line 1, column 2"),
        (b'{"images": ["nginx"],}', "line 1, column"),
        (b'{"images": ["nginx"]} {}', "Extra data"),
        (b'{"successThreshold": NaN}', "NaN is not JSON"),
        (b'{"successThreshold": -Infinity}', "-Infinity is not JSON"),
        (b'{"successThreshold": 1e999}', "a number is too large"),
        (b'{"batchSize": ' + b"9" * 5000 + b"}", "a number is too long"),
        (b'{"images": ["nginx"], "images": ["redis"]}', "the name 'images' is there twice"),
        (b'{"nodeSelector": {"a": "1", "a": "2"}}', "the name 'a' is there twice"),
        (b"[" * 100_000, "nested too deeply"),
        (b'{"a":' * 100_000, "nested too deeply"),
        (b'{"images": ["\xff"]}', "byte 13 is not UTF-8"),
        (b'{"images": ["\\ud800"]}', "half a surrogate pair"),
        (b'{"\\udc00": 1}', "half a surrogate pair"),
        (b'{"images": ["a\x00"]}', "control character"),
        (b"\xef\xbb\xbf{}", "BOM"),
        ('{"images": ["nginx"]}'.encode("utf-16"), "not UTF-8"),
    ],
)
def test_malformed_json_is_refused_with_its_place(api: Api, raw: bytes, said: str) -> None:
    assert said in problem(send(api, raw), 400, "malformed-json")["detail"]


@pytest.mark.parametrize("raw", [b"[]", b"null", b"1", b'"nginx"', b"true"])
def test_a_body_that_is_no_object_is_refused(api: Api, raw: bytes) -> None:
    assert problem(send(api, raw), 400, "malformed-json")["detail"] == "the body must be a JSON object"


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({}, {"images": "is required"}),
        ({"images": []}, {"images": "must not be empty"}),
        ({"images": None}, {"images": "must be a list"}),
        ({"images": "nginx"}, {"images": "must be a list"}),
        ({"images": [""]}, {"images[0]": "must not be empty"}),
        ({"images": ["nginx", 1, None]}, {"images[1]": "must be a string", "images[2]": "must be a string"}),
        ({"images": ["UPPER"]}, {"images[0]": "not a valid image reference"}),
        ({"images": ["a\0b"]}, {"images[0]": "not a valid image reference"}),
        ({"images": ["nginx", "docker.io/library/nginx:latest"]}, {"images": "docker.io/library/nginx:latest and"}),
        ({"images": [f"i{n}" for n in range(51)]}, {"images": "must have at most 50 entries"}),
        ({"images": ["a"], "batchSize": 0}, {"batchSize": "must be at least 1"}),
        ({"images": ["a"], "batchSize": 101}, {"batchSize": "must be at most 100"}),
        ({"images": ["a"], "batchSize": "10"}, {"batchSize": "must be a whole number"}),
        ({"images": ["a"], "batchSize": 1.5}, {"batchSize": "must be a whole number"}),
        ({"images": ["a"], "batchSize": True}, {"batchSize": "must be a whole number"}),
        ({"images": ["a"], "batchSize": 10**400}, {"batchSize": "must be at most 100"}),
        ({"images": ["a"], "successThreshold": 1.1}, {"successThreshold": "must be at most 1"}),
        ({"images": ["a"], "successThreshold": "1"}, {"successThreshold": "must be a number"}),
        ({"images": ["a"], "failFast": "yes"}, {"failFast": "must be true or false"}),
        ({"images": ["a"], "failFast": 1}, {"failFast": "must be true or false"}),
        ({"images": ["a"], "pullPolicy": "Never"}, {"pullPolicy": "must be 'IfNotPresent' or 'Always'"}),
        ({"images": ["a"], "mode": 3}, {"mode": "must be 'job' or 'daemonset'"}),
        ({"images": ["a"], "nodeSelector": []}, {"nodeSelector": "must be an object of strings"}),
        ({"images": ["a"], "nodeSelector": {"a": 1}}, {"nodeSelector.a": "must be a string"}),
        (
            {"images": ["a"], "nodeSelector": {"example.com/pool": 1}},
            {'nodeSelector["example.com/pool"]': "must be a string"},
        ),
        ({"images": ["a"], "nodeSelector": {"-": "x"}}, {'nodeSelector["-"]': "the name must be"}),
        (
            {"images": ["a"], "nodeSelector": {"-a": "x", "b": "-", "example.com/": "y", "[key]": "z", "fine": "w"}},
            {
                'nodeSelector["-a"]': "the name must be",
                "nodeSelector.b": "must be at most 63",
                'nodeSelector["example.com/"]': "the name must be",
                'nodeSelector["[key]"]': "the name must be",
            },
        ),
        ({"images": ["a"], "imagePullSecrets": ["A"]}, {"imagePullSecrets[0]": "must be the name of a Secret"}),
        ({"images": ["a"], "webhookUrl": "ftp://x"}, {"webhookUrl": "must be an http or https URL"}),
        ({"images": ["a"], "webhookUrl": "http://[x"}, {"webhookUrl": "must be an http or https URL"}),
        ({"images": ["a"], "cluster": "A"}, {"cluster": "must match"}),
        ({"images": ["a"], "batch_size": 3}, {"batch_size": "is not known; did you mean batchSize?"}),
        ({"images": ["a"], "image": "b"}, {"image": "is not known; did you mean images?"}),
        ({"images": ["a"], "": 1}, {"": "is not known"}),
        ({"images": ["a"], "status": "completed"}, {"status": "is not known"}),
    ],
)
def test_a_wrong_field_is_named_with_what_to_do(api: Api, body: dict[str, Any], expected: dict[str, str]) -> None:
    found = fields(problem(api.post(body), 422, "invalid-request"))

    assert set(found) == set(expected)
    for name, message in expected.items():
        assert found[name].startswith(message), found
    assert api.get(TASKS).get_json()["total"] == 0


@pytest.mark.parametrize("value", ["True", "1", "yes", "0", "no"])
def test_a_dry_run_is_asked_for_in_one_way(api: Api, value: str) -> None:
    assert set(fields(problem(api.post(query=f"?dryRun={value}"), 422, "invalid-request"))) == {"dryRun"}
    assert api.get(TASKS).get_json()["total"] == 0


def test_everything_wrong_is_named_at_once(api: Api) -> None:
    body = {"images": ["x", "??"], "priority": 0, "cluster": "nowhere", "foo": 1}

    answer = api.post(body, query="?dryRun=x&what=1", headers={"Idempotency-Key": "a b"})

    document = problem(answer, 422, "invalid-request")
    assert set(fields(document)) == {"images[1]", "priority", "cluster", "foo", "dryRun", "what", "Idempotency-Key"}
    assert "cluster" in document["detail"]


def test_a_flood_of_errors_is_answered_in_short(api: Api) -> None:
    many = problem(api.post({f"k{n}": 1 for n in range(900)}), 422, "invalid-request")
    list_of_many = problem(api.post({"images": [1] * (MAX_ENTRIES + 1)}), 422, "invalid-request")
    fields_of_many = problem(api.post({f"k{n}": 1 for n in range(MAX_ENTRIES + 1)}), 422, "invalid-request")

    assert len(many["errors"]) == MAX_ERRORS
    assert fields(list_of_many) == {"images": "has more than 1000 entries"}
    assert fields(fields_of_many) == {"body": "has more than 1000 fields"}


@pytest.mark.parametrize(
    "content_type",
    [
        None,
        "",
        "text/plain",
        "application/x-www-form-urlencoded",
        "application/xml",
        "application/json; charset=latin1",
    ],
)
def test_another_content_type_is_refused(api: Api, content_type: str | None) -> None:
    answer = send(api, b'{"images": ["nginx"]}', content_type)

    problem(answer, 415, "unsupported-media-type")
    assert answer.headers["Accept"] == JSON


@pytest.mark.parametrize(
    "content_type", ["application/json; charset=utf-8", "APPLICATION/JSON", "application/json;x=y"]
)
def test_json_by_another_spelling_is_taken(api: Api, content_type: str) -> None:
    assert send(api, b'{"images": ["nginx"]}', content_type).status_code == 201


@pytest.mark.parametrize("encoding", ["gzip", "br", "deflate, gzip"])
def test_a_compressed_body_is_refused(api: Api, encoding: str) -> None:
    answer = send(api, b'{"images": ["nginx"]}', **{"Content-Encoding": encoding})

    problem(answer, 415, "unsupported-content-encoding")


class TestSize:
    def body(self, length: int) -> bytes:
        return b'{"images": ["nginx"]}'.ljust(length)

    def test_a_body_of_one_mib_is_taken(self, api: Api) -> None:
        assert send(api, self.body(MAX_BODY)).status_code == 201

    def test_one_byte_more_is_too_much(self, api: Api) -> None:
        problem(send(api, self.body(MAX_BODY + 1)), 413, "body-too-large")

    @pytest.mark.parametrize(("more", "status"), [(0, 201), (1, 413), (MAX_BODY, 413)])
    def test_a_body_without_a_length_is_measured(self, api: Api, more: int, status: int) -> None:
        answer = api.client.post(
            TASKS,
            data=self.body(MAX_BODY + more),
            content_type=JSON,
            headers={"Transfer-Encoding": "chunked"},
            environ_overrides={"CONTENT_LENGTH": "", "wsgi.input_terminated": True},
        )

        assert answer.status_code == status

    def test_a_body_that_ends_early_is_refused(self, api: Api) -> None:
        answer = api.client.post(
            TASKS, data=b'{"images": ["nginx"]}', content_type=JSON, environ_overrides={"CONTENT_LENGTH": "500"}
        )

        problem(answer, 400, "broken-body")


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=10,
)
names = st.sampled_from(
    ["images", "batchSize", "nodeSelector", "successThreshold", "webhookUrl", "cluster", "mode", "imagePullSecrets"]
)
bodies = st.dictionaries(names | st.text(max_size=10), json_values, max_size=6)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(body=bodies)
def test_no_json_object_is_more_than_the_api_can_take(api: Api, body: dict[str, Any]) -> None:
    answer = send(api, json.dumps(body).encode())

    assert answer.status_code in {201, 400, 422, 429}, answer.get_data(as_text=True)
    if answer.status_code == 422:
        assert answer.get_json()["errors"]


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(raw=st.binary(max_size=60))
def test_no_bytes_are_more_than_the_api_can_take(api: Api, raw: bytes) -> None:
    assert send(api, raw).status_code in {400, 422}


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    query=st.dictionaries(
        st.sampled_from(["status", "cluster", "limit", "offset", "pageToken"]) | st.text(max_size=5),
        st.text(max_size=12),
        max_size=4,
    )
)
def test_no_query_is_more_than_the_api_can_take(api: Api, query: dict[str, str]) -> None:
    assert api.client.get(TASKS, query_string=query).status_code in {200, 422}
