"""A shard as a document: tables of what is distinct, and one small number per node.

Two of three nodes settled, the second without redis, in its second attempt:

    attempt: 1, index: 0
    images: ["nginx:1.29", "redis:8"]
    facts: [{digest: "sha256:1f.."}, {digest: "sha256:7c.."}, {reason: "RateLimited", message: "...", retryable: true}]
    outcomes: [{status: "succeeded", facts: [0, 1]}, {status: "failed", facts: [0, 2]}]
    names: ["node-a", "node-b", "node-c"], uids: [...]
    results: [1, 2, 0]            1 + index in outcomes; 0: pending
    times: [12:00, 12:01, null]
    earlier: [{node: 1, outcome: 1, time: 11:50}]
    superseded: [2]               positions of nodes

So 100 nodes of 50 images are some kilobytes when they fare alike, and below 1 MiB whatever happens.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from ips_common.models.results import ImageResult, NodeResult, NodeState, NodeStatus, Problem, Reason, Shard
from ips_common.store.commit import Document
from ips_common.store.taskdoc import plain_time

MESSAGE_LENGTH = 300
"""Characters of a problem's message that are kept."""

MESSAGE_BUDGET = 150_000
"""Bytes of distinct messages that one shard keeps; beyond them a problem keeps its reason only."""

COMMIT_BUDGET = 1_500_000
"""Bytes of distinct messages that all shards of one commit keep together; a commit may have 10 MiB."""

_Fact = tuple[str] | tuple[Reason, str, bool]
_Outcome = tuple[NodeStatus, tuple[int, ...], tuple[int, ...] | None]


def encode_shard(shard: Shard, *, message_budget: int = MESSAGE_BUDGET) -> Document:
    """The document of a shard."""
    tables = _Tables(message_budget)
    results = [tables.outcome(node.result) if node.result else 0 for node in shard.nodes]
    earlier = [
        {"node": position, "outcome": tables.outcome(result) - 1, "time": result.at}
        for position, node in enumerate(shard.nodes)
        for result in node.earlier
    ]
    return {
        "attempt": shard.attempt,
        "index": shard.index,
        "names": [node.name for node in shard.nodes],
        "uids": [node.uid for node in shard.nodes],
        "results": results,
        "times": [node.result.at if node.result else None for node in shard.nodes],
        "superseded": [position for position, node in enumerate(shard.nodes) if node.superseded],
        "earlier": earlier,
    } | tables.document()


def decode_shard(document: Mapping[str, Any]) -> Shard:
    """The shard of a document; nodes that fared alike share their images' results."""
    images: Sequence[str] = document["images"]
    facts = [_fact(entry) for entry in document["facts"]]
    shared: dict[tuple[int, int], ImageResult] = {}

    def image_result(image: int, fact: int) -> ImageResult:
        if (image, fact) not in shared:
            digest, problem = facts[fact]
            shared[image, fact] = ImageResult(images[image], digest, problem)
        return shared[image, fact]

    outcomes: list[tuple[NodeStatus, tuple[ImageResult, ...]]] = [
        (
            NodeStatus(outcome["status"]),
            tuple(
                image_result(image, fact)
                for image, fact in zip(outcome.get("images", range(len(images))), outcome["facts"], strict=False)
            ),
        )
        for outcome in document["outcomes"]
    ]
    superseded = set(document["superseded"])
    earlier: dict[int, list[NodeResult]] = {}
    for line in document["earlier"]:
        earlier.setdefault(line["node"], []).append(_result(outcomes[line["outcome"]], line["time"]))
    columns = zip(document["names"], document["uids"], document["results"], document["times"], strict=True)
    return Shard(
        document["attempt"],
        document["index"],
        tuple(
            NodeState(
                name,
                uid,
                _result(outcomes[result - 1], at) if result else None,
                position in superseded,
                tuple(earlier.get(position, ())),
            )
            for position, (name, uid, result, at) in enumerate(columns)
        ),
    )


class _Tables:
    """What is distinct in a shard, numbered as it is met."""

    def __init__(self, message_budget: int) -> None:
        self._left = message_budget
        self._images: dict[str, int] = {}
        self._facts: dict[_Fact, int] = {}
        self._problems: dict[Problem, int] = {}
        self._outcomes: dict[_Outcome, int] = {}
        self._known: dict[int, tuple[tuple[ImageResult, ...], NodeStatus, int]] = {}

    def outcome(self, result: NodeResult) -> int:
        """1 + the number of a node's outcome."""
        # Decoded and reconciled nodes often share one tuple of results; comparing 50 images each time would cost more.
        known = self._known.get(id(result.images))
        if known is not None and known[1] is result.status:
            return known[2]
        facts = tuple(self._fact(image) for image in result.images)
        images: tuple[int, ...] | None = tuple(
            self._images.setdefault(image.image, len(self._images)) for image in result.images
        )
        if images == tuple(range(len(facts))):
            images = None  # the request's order, as it should be
        number = self._outcomes.setdefault((result.status, facts, images), len(self._outcomes)) + 1
        self._known[id(result.images)] = (result.images, result.status, number)
        return number

    def document(self) -> Document:
        """The tables as fields of the document."""
        return {
            "images": list(self._images),
            "facts": [_fact_document(fact) for fact in self._facts],
            "outcomes": [
                {"status": status.value, "facts": list(facts)} | ({"images": list(images)} if images else {})
                for status, facts, images in self._outcomes
            ],
        }

    def _fact(self, image: ImageResult) -> int:
        if image.problem is None:
            return self._facts.setdefault((image.digest,), len(self._facts))
        if image.problem not in self._problems:
            reason, retryable = image.problem.reason, image.problem.retryable
            fact = (reason, clipped(image.problem.message), retryable)
            if fact not in self._facts:
                size = len(fact[1].encode())
                fact = fact if size <= self._left else (reason, "", retryable)
                self._left -= len(fact[1].encode())
            self._problems[image.problem] = self._facts.setdefault(fact, len(self._facts))
        return self._problems[image.problem]


def clipped(message: str) -> str:
    """A problem's message as far as it is kept."""
    text = message.encode(errors="replace").decode()
    return text if len(text) <= MESSAGE_LENGTH else text[: MESSAGE_LENGTH - 1] + "…"


def _fact_document(fact: _Fact) -> Document:
    if len(fact) == 1:
        return {"digest": fact[0]}
    reason, message, retryable = fact
    return {"reason": reason.value, "message": message, "retryable": retryable}


def _result(outcome: tuple[NodeStatus, tuple[ImageResult, ...]], at: datetime) -> NodeResult:
    status, images = outcome
    return NodeResult(status, images, plain_time(at))


def _fact(entry: Mapping[str, Any]) -> tuple[str, Problem | None]:
    if "reason" not in entry:
        return entry["digest"], None
    return "", Problem(Reason(entry["reason"]), entry["message"], entry["retryable"])
