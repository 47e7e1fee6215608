"""The whole cluster without its API server: one object that owns the store, the control loops and the kubelets."""

import random

from deploy.local.cluster.clock import Clock
from deploy.local.cluster.controllers.daemonset import DaemonSetController
from deploy.local.cluster.controllers.garbage import GarbageCollector, NamespaceController
from deploy.local.cluster.controllers.job import JobController
from deploy.local.cluster.controllers.nodes import PodCollector
from deploy.local.cluster.controllers.quota import QuotaController
from deploy.local.cluster.controllers.scheduler import Scheduler
from deploy.local.cluster.events import EventRecorder
from deploy.local.cluster.kinds import NAMESPACES, STORED
from deploy.local.cluster.kubelet.images import Registry as ImageRegistry
from deploy.local.cluster.kubelet.kubelets import Kubelets
from deploy.local.cluster.registry import Registry
from deploy.local.cluster.scenario import Scenario
from deploy.local.cluster.store import Store

_FIRST_NAMESPACES = ("default", "kube-system")


class ControlPlane:
    """Everything behind the API server."""

    def __init__(self, clock: Clock, scenario: Scenario, *, nodes: int, seed: int = 0) -> None:
        self.store = Store()
        self.registry = Registry(self.store, clock, random.Random(seed))
        self.events = EventRecorder(self.registry, clock)
        self.images = ImageRegistry(scenario.images)
        for namespace in _FIRST_NAMESPACES:
            self.registry.create(NAMESPACES, "", {"metadata": {"name": namespace}})
        self.jobs = JobController(self.registry, self.events, clock)
        self.daemonsets = DaemonSetController(self.registry, self.events, clock)
        self.garbage = GarbageCollector(self.registry, clock)
        self.namespaces = NamespaceController(self.registry, clock, STORED, NAMESPACES)
        self.quotas = QuotaController(self.registry, clock, STORED)
        self.pod_collector = PodCollector(self.registry, clock, scenario.quarantine_seconds)
        self.scheduler = Scheduler(self.registry, self.events, clock)
        self.kubelets = Kubelets(self.registry, self.events, clock, self.images, scenario.kubelet)
        self.kubelets.add_nodes(nodes)
        for settings in scenario.nodes:
            self.kubelets.set_nodes(settings)
