"""Where a task's webhook may lead, as far as that can be told before it is called."""

from ipaddress import ip_network

import pytest

from ips_common.webhook.address import AddressRules
from tests.unit.api.conftest import TASKS, Api, fields, problem

PRIVATE = "must not lead to a private, local or reserved address"


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("http://user:password@hooks.example/", "must not hold a user name or password"),
        ("http://hooks.example/a\0b", "must have visible ASCII characters only"),
        ("http://hooks.example/\r\nHost: other", "must have visible ASCII characters only"),
        ("http://127.1/", "must have a DNS name or an address in its usual form"),
        ("http://169.254.169.254/computeMetadata/v1/", PRIVATE),
        ("https://[::1]:8443/", PRIVATE),
        ("http://[::ffff:10.0.0.1]/", PRIVATE),
        ("http://[64:ff9b::a9fe:a9fe]/", PRIVATE),
    ],
)
@pytest.mark.parametrize("query", ["", "?dryRun=true"])
def test_a_webhook_that_may_not_be_called_is_refused(api: Api, url: str, message: str, query: str) -> None:
    answer = api.post({"images": ["nginx"], "webhookUrl": url}, query=query)

    found = fields(problem(answer, 422, "invalid-request"))
    assert set(found) == {"webhookUrl"}
    assert found["webhookUrl"].startswith(message)
    assert "password@" not in answer.get_data(as_text=True)
    assert api.get(TASKS).get_json()["total"] == 0


def test_what_the_operator_allows_is_taken() -> None:
    api = Api(deps={"webhook_rules": AddressRules(["::1"], [ip_network("10.1.0.0/16")])})

    for url in ("http://10.1.2.3/hook", "http://[::1]/hook", "https://hooks.example/"):
        assert api.post({"images": ["nginx"], "webhookUrl": url}).status_code == 201
    assert api.post({"images": ["nginx"], "webhookUrl": "http://10.2.2.3/hook"}).status_code == 422
