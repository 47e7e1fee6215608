"""The environment that the functions of a stack get."""

import json
import os
from collections.abc import Mapping
from pathlib import Path

from deploy.local.emulator import FIRESTORE, PUBSUB
from deploy.local.ports import HOST

# A credential or project of the user's own must never be what a local stack works on.
_DROPPED = ("GOOGLE_APPLICATION_CREDENTIALS", "GCLOUD_PROJECT", "FUNCTION_TARGET", "FUNCTION_SOURCE")

# What a variable says that the user has not set: webhooks work, and may go to this machine.
_LOCAL = {
    "LOG_LEVEL": "INFO",
    "IPS_WEBHOOK_SECRETS": "a-secret-of-this-machine-only",
    "IPS_WEBHOOK_ALLOWED_NETWORKS": "127.0.0.0/8",
}


def function_environment(
    *, project: str, emulators: Mapping[str, str], kubeconfig: Path, context: str, namespace: str
) -> dict[str, str]:
    """What tells a function, or a test's client, where the parts of the stack are."""
    return {
        "GOOGLE_CLOUD_PROJECT": project,
        FIRESTORE.variable: emulators[FIRESTORE.name],
        PUBSUB.variable: emulators[PUBSUB.name],
        "IPS_CLUSTERS": json.dumps({"default": {"kubeconfig": str(kubeconfig), "context": context}}),
        "K8S_NAMESPACE": namespace,
    }


def inherited_environment() -> dict[str, str]:
    """The user's environment, fit to run a function in."""
    env = {name: value for name, value in os.environ.items() if name not in _DROPPED}
    direct = ",".join(filter(None, [env.get("no_proxy") or env.get("NO_PROXY"), HOST, "localhost"]))
    return {**_LOCAL, **env, "LOG_FORMAT": "json", "NO_PROXY": direct, "no_proxy": direct}
