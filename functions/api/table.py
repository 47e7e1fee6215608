"""All routes: what each takes, answers and refuses."""

from functions.api.endpoints import KEY_HEADER, METRICS_TYPE, Endpoints, HealthView
from functions.api.gate import GateView
from functions.api.predictions import PredictionsView
from functions.api.query import CreateQuery, GateQuery, NodesQuery, PredictionsQuery, TasksQuery
from functions.api.readiness import ReadyView
from functions.api.route import Access, Reply, Route
from ips_common.models.node_view import NodePageView, PlanView
from ips_common.models.task import TaskSpec
from ips_common.models.view import TaskPageView, TaskView

TASKS = "/api/v1/tasks"
TASK = "/api/v1/tasks/{taskId}"

_INVALID = "Fields are wrong; `errors` names each."
_NO_TASK = "There is no such task."
_CLUSTER_REFUSES = "The cluster refuses to list its nodes."
_STORE = "Firestore cannot be reached now; `Retry-After` says when to try again."


def table(endpoints: Endpoints) -> tuple[Route, ...]:
    """Return all routes, handled by `endpoints`."""
    return (*_tasks(endpoints), *_results(endpoints), *_operations(endpoints))


def _tasks(endpoints: Endpoints) -> tuple[Route, ...]:
    return (
        Route(
            method="POST",
            path=TASKS,
            name="createTask",
            summary="Create a task, or with dryRun=true show what it would do.",
            handle=endpoints.create,
            access=Access.WRITE,
            query=CreateQuery,
            body=TaskSpec,
            header_parameters={
                KEY_HEADER: "The same key with the same body returns the first task and creates nothing. "
                "Kept for 24 hours; 1 to 255 visible ASCII characters.",
            },
            replies={
                200: Reply(
                    "The first task of the same idempotency key, or the plan of a dry run.", (TaskView, PlanView)
                ),
                201: Reply("The task was created.", (TaskView,), headers={"Location": "The path of the task."}),
            },
            problems={
                400: "The body is not a JSON object, or did not arrive whole.",
                413: "The body is longer than 1 MiB.",
                415: "The body is not application/json in UTF-8, or is compressed.",
                422: f"{_INVALID} Or the idempotency key was used with another body.",
                429: "Too many tasks wait for the cluster; `Retry-After` says when to try again.",
                502: _CLUSTER_REFUSES,
                503: "Firestore, or in a dry run the cluster, cannot be reached now; `Retry-After` says when to try "
                "again.",
            },
        ),
        Route(
            method="GET",
            path=TASKS,
            name="listTasks",
            summary="List tasks, newest first.",
            handle=endpoints.list_tasks,
            query=TasksQuery,
            replies={200: Reply("One page of tasks.", (TaskPageView,))},
            problems={422: _INVALID, 503: _STORE},
        ),
        Route(
            method="GET",
            path=TASK,
            name="getTask",
            summary="Show a task.",
            handle=endpoints.read,
            replies={200: Reply("The task.", (TaskView,))},
            problems={404: _NO_TASK, 422: _INVALID, 503: _STORE},
        ),
        Route(
            method="DELETE",
            path=TASK,
            name="cancelTask",
            summary="Cancel a task and delete its Jobs; once more is harmless.",
            handle=endpoints.cancel,
            access=Access.WRITE,
            replies={200: Reply("The cancelled task.", (TaskView,))},
            problems={404: _NO_TASK, 409: "The task has ended another way.", 422: _INVALID, 503: _STORE},
        ),
    )


def _results(endpoints: Endpoints) -> tuple[Route, ...]:
    return (
        Route(
            method="GET",
            path=f"{TASK}/nodes",
            name="listNodes",
            summary="List what became of every node and every image on it.",
            handle=endpoints.list_nodes,
            query=NodesQuery,
            replies={200: Reply("One page of nodes.", (NodePageView,))},
            problems={404: _NO_TASK, 422: _INVALID, 503: _STORE},
        ),
        Route(
            method="GET",
            path=f"{TASK}/gate",
            name="waitForGate",
            summary="Ask, and wait, for enough nodes to hold every image.",
            handle=endpoints.gate,
            query=GateQuery,
            replies={
                200: Reply("Enough nodes hold every image.", (GateView,)),
                202: Reply("They still may: ask again.", (GateView,), headers={"Retry-After": "Seconds."}),
            },
            problems={
                404: _NO_TASK,
                409: "Enough nodes can no longer hold every image; `gate` says how it stands.",
                422: _INVALID,
                503: _STORE,
            },
        ),
        Route(
            method="GET",
            path="/api/v1/predictions",
            name="predictImages",
            summary="Show the images that past tasks ask for most.",
            handle=endpoints.predictions,
            query=PredictionsQuery,
            replies={200: Reply("The images.", (PredictionsView,))},
            problems={422: _INVALID, 503: _STORE},
        ),
    )


def _operations(endpoints: Endpoints) -> tuple[Route, ...]:
    health = [
        Route(
            method="GET",
            path=path,
            name=name,
            summary="Say that the process answers.",
            handle=endpoints.health,
            access=Access.OPEN,
            strict_query=False,
            replies={200: Reply("It does.", (HealthView,))},
        )
        for path, name in (("/health", "health"), ("/healthz", "healthAlias"))
    ]
    ready = [
        Route(
            method="GET",
            path=path,
            name=name,
            summary="Ask Firestore, Pub/Sub and every cluster; answers within 2 s.",
            handle=endpoints.ready,
            access=Access.OPEN,
            strict_query=False,
            replies={200: Reply("Everything that is required answers.", (ReadyView,))},
            problems={503: "Something that is required does not answer; `checks` says what."},
        )
        for path, name in (("/ready", "ready"), ("/readyz", "readyAlias"))
    ]
    return (
        *health,
        *ready,
        Route(
            method="GET",
            path="/metrics",
            name="metrics",
            summary="Show figures for Prometheus.",
            handle=endpoints.metrics,
            strict_query=False,
            replies={200: Reply("The text exposition format.", media_type=METRICS_TYPE)},
        ),
        Route(
            method="GET",
            path="/openapi.json",
            name="openapi",
            summary="Describe all routes.",
            handle=endpoints.openapi,
            access=Access.OPEN,
            strict_query=False,
            replies={200: Reply("An OpenAPI 3.1 document.")},
        ),
    )
