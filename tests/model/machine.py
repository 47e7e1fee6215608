"""The explorer: hypothesis chooses what happens next, and makes what goes wrong short."""

from collections import Counter
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

from ips_common.models.message import BatchMessage, Notification
from tests.model.actor import FOREVER, Fault
from tests.model.choice import (
    DIGESTS,
    IMAGES,
    MAKING,
    POINTS,
    TELLING,
    calls,
    faults,
    few,
    node_troubles,
    numbers,
    outages,
    pick,
    receivers,
    shapes,
    skews,
    specs,
    troubles,
)
from tests.model.ending import end
from tests.model.instance import Instance
from tests.model.letter import Announcement, Letter, copy_of
from tests.model.world import World

MOST_TASKS = 4
MOST_TRACKERS = 3

explored: Counter[str] = Counter()
"""Examples, steps and calls of the outside world so far."""


class Machine(RuleBasedStateMachine):
    """Everything that can happen, in any order."""

    world: World

    @initialize(shape=shapes, wanted=st.lists(specs, min_size=1, max_size=3))
    def begin(self, shape: dict[str, Any], wanted: list[dict[str, Any]]) -> None:
        explored["examples"] += 1
        self.world = World(**shape)
        for index in range(0, self.world.nodes, 2):
            self.world.cluster.change_node(f"node-{index}", labels={"pool": "a"})
        for spec in wanted:
            self.world.advance(self.world.ask(spec))

    @invariant()
    def nothing_is_wrong(self) -> None:
        explored["steps"] += 1
        if hasattr(self, "world"):
            self.world.judge()

    def teardown(self) -> None:
        if not hasattr(self, "world"):
            return
        try:
            if not self.world.wrong:
                end(self.world)
        finally:
            explored["calls"] += self.world.calls
            while self.world.instances:
                self.world.kill(self.world.instances[0])

    def _task_ids(self) -> list[str]:
        return [task.task_id for task in self.world.tasks()]

    # --- callers

    @precondition(lambda self: len(self.world.requests) < MOST_TASKS)
    @rule(spec=specs, skew=skews, calls=calls)
    def ask(self, spec: dict[str, Any], skew: float, calls: int) -> None:
        self.world.advance(self.world.ask(spec, skew=skew), calls)

    @rule(number=numbers, skew=skews, calls=calls)
    def ask_again(self, number: int, skew: float, calls: int) -> None:
        self.world.advance(self.world.ask_again(pick(self.world.requests, number), skew=skew), calls)

    @precondition(lambda self: self.world.tasks())
    @rule(number=numbers, skew=skews, calls=calls)
    def cancel(self, number: int, skew: float, calls: int) -> None:
        self.world.advance(self.world.cancel(pick(self._task_ids(), number), skew=skew), calls)

    @precondition(lambda self: self.world.tasks())
    @rule(number=numbers, what=st.sampled_from(["save", "delete_jobs", "delete_daemonsets"]), returns=st.booleans())
    def cancel_and_hang(self, number: int, what: str, returns: bool) -> None:  # noqa: FBT001 - drawn
        """Let a cancelling hang, and a batch come between."""
        cancelling = self.world.cancel(pick(self._task_ids(), number))
        self._hang(cancelling, what)
        if batches := self._batches():
            between = self.world.deliver(pick(batches, number)[0])
            assert between
            self.world.advance(between)
        if returns:
            self.world.advance(cancelling)

    # --- instances

    @precondition(lambda self: self.world.instances)
    @rule(number=numbers, calls=calls)
    def go_on(self, number: int, calls: int) -> None:
        self.world.advance(pick(self.world.instances, number), calls)

    @precondition(lambda self: self.world.instances)
    @rule(number=numbers, calls=few, fault=faults)
    def meet(self, number: int, calls: int, fault: Fault) -> None:
        self.world.advance(pick(self.world.instances, number), calls, fault)

    @precondition(lambda self: self.world.instances)
    @rule(number=numbers, what=st.sampled_from(TELLING), fault=faults)
    def stop_before(self, number: int, what: str, fault: Fault) -> None:
        self.world.advance(pick(self.world.instances, number), FOREVER, fault, what)

    @rule(what=st.sampled_from(TELLING), fault=faults)
    def trap(self, what: str, fault: Fault) -> None:
        self.world.traps[what] = fault

    @precondition(lambda self: self.world.instances)
    @rule(number=numbers, what=st.sampled_from(TELLING))
    def hang_before(self, number: int, what: str) -> None:
        self._hang(pick(self.world.instances, number), what)

    def _hang(self, instance: Instance, what: str) -> None:
        self.world.advance(instance, FOREVER, stop_at=what)
        instance.hangs = instance.actor.at == what and not instance.actor.done

    @precondition(lambda self: len(self._trackers()) < MOST_TRACKERS)
    @rule(seconds=st.sampled_from([5.0, 50.0, 540.0]), skew=skews, calls=calls)
    def track(self, seconds: float, skew: float, calls: int) -> None:
        self.world.advance(self.world.track(seconds=seconds, skew=skew), calls)

    @precondition(lambda self: self._trackers())
    @rule(number=numbers, late=st.booleans())
    def pods_are_heard_late(self, number: int, late: bool) -> None:  # noqa: FBT001 - hypothesis draws it
        seat = pick(self._trackers(), number).seat
        if seat and seat.last_watch:
            seat.last_watch.pods_late = late

    def _trackers(self) -> list[Instance]:
        return [instance for instance in self.world.instances if instance.actor.name == "track"]

    @precondition(lambda self: self.world.processes)
    @rule(number=numbers)
    def told_to_end(self, number: int) -> None:
        pick(self.world.processes, number).ending = True

    # --- messages

    @precondition(lambda self: self.world.letters)
    @rule(number=numbers, skew=skews, calls=calls)
    def deliver(self, number: int, skew: float, calls: int) -> None:
        if instance := self.world.deliver(pick(self.world.letters, number), skew=skew):
            self.world.advance(instance, calls)

    @precondition(lambda self: self._batches() or len(self.world.requests) < MOST_TASKS)
    @rule(
        spec=specs,
        number=numbers,
        calls=st.sampled_from([0, 0, 1, 2]),
        what=st.sampled_from(MAKING),
        cancel=st.booleans(),
        seconds=st.sampled_from([0.0, 3.0, 15.0, 70.0, 200.0]),
        returns=st.booleans(),
        kubelets=st.booleans(),
    )
    def overtake(
        self,
        spec: dict[str, Any],
        number: int,
        calls: int,
        what: str,
        cancel: bool,  # noqa: FBT001 - drawn
        seconds: float,
        returns: bool,  # noqa: FBT001 - drawn
        kubelets: bool,  # noqa: FBT001 - drawn
    ) -> None:
        """Let a batch hang, of a new task if there is no other, everything else go on, and then perhaps the batch."""
        if not self._batches():
            self.world.advance(self.world.ask(spec))
        if not self._batches():
            return
        letter, message = pick(self._batches(), number)
        instance = self.world.deliver(letter)
        assert instance
        self.world.advance(instance, calls)
        self._hang(instance, what)
        if cancel:
            self.world.advance(self.world.cancel(message.task_id))
        self.world.kubelets_work = kubelets
        if seconds:
            self.world.run(seconds)
        if returns:
            self.world.advance(instance)

    def _batches(self) -> list[tuple[Letter, BatchMessage]]:
        return [(each, each.message) for each in self.world.letters if isinstance(each.message, BatchMessage)]

    @precondition(lambda self: self._telling())
    @rule(number=numbers, what=numbers, fault=faults)
    def deliver_badly(self, number: int, what: int, fault: Fault) -> None:
        letter = pick(self._telling(), number)
        if instance := self.world.deliver(letter):
            self.world.advance(instance, FOREVER, fault, pick(POINTS[letter.message.kind], what))

    def _telling(self) -> list[Letter]:
        return [letter for letter in self.world.letters if letter.message.kind in POINTS and not letter.dead]

    @precondition(lambda self: self.world.letters)
    @rule(number=numbers)
    def deliver_twice(self, number: int) -> None:
        self.world.letters.append(copy_of(pick(self.world.letters, number)))

    @precondition(lambda self: self.world.letters)
    @rule(number=numbers)
    def lose(self, number: int) -> None:
        letter = pick(self.world.letters, number)
        if not isinstance(letter.message, Notification | Announcement) and letter.deliveries == 0:
            # What was delivered before is in Pub/Sub's hands, and so is every notification that was sent.
            self.world.letters.remove(letter)

    @precondition(lambda self: self._failed_letters())
    @rule(number=numbers)
    def bury(self, number: int) -> None:
        pick(self._failed_letters(), number).dead = True

    def _failed_letters(self) -> list[Letter]:
        letters = [letter for letter in self.world.letters if letter.deliveries > 1]
        return [letter for letter in letters if isinstance(letter.message, BatchMessage | Notification)]

    @rule(digest=st.sampled_from(DIGESTS), tag=st.sampled_from(["", "1.2"]))
    def release(self, digest: str, tag: str) -> None:
        self.world.announce(digest, tag)

    # --- time

    @rule(seconds=st.sampled_from([0.5, 2.0, 6.0, 12.0, 35.0, 61.0, 125.0, 700.0]))
    def stand_still(self, seconds: float) -> None:
        self.world.pass_time(seconds)

    @rule(seconds=st.sampled_from([0.0, 1.0, 3.0, 15.0, 70.0, 200.0]), kubelets=st.booleans())
    def run(self, seconds: float, kubelets: bool) -> None:  # noqa: FBT001 - hypothesis draws it
        self.world.kubelets_work = kubelets
        self.world.run(seconds)

    # --- the cluster

    def _node(self, number: int) -> str | None:
        return pick(names, number) if (names := sorted(self.world.cluster._nodes)) else None

    @rule(number=numbers)
    def kubelet_works(self, number: int) -> None:
        self.world.cluster.work(self._node(number))

    @rule(number=numbers, image=st.sampled_from(IMAGES), trouble=st.sampled_from([*troubles]))
    def image_breaks_on_a_node(self, number: int, image: str, trouble: str) -> None:
        self.world.cluster.broken_on[self._node(number) or "", image] = troubles[trouble](image)

    @rule(image=st.sampled_from(IMAGES), trouble=st.sampled_from([*troubles]))
    def image_breaks(self, image: str, trouble: str) -> None:
        self.world.cluster.broken[image] = troubles[trouble](image)

    @rule()
    def images_heal(self) -> None:
        self.world.cluster.broken_on.clear()
        self.world.cluster.broken.clear()

    @rule(number=numbers, what=st.sampled_from([*node_troubles]))
    def node(self, number: int, what: str) -> None:
        if name := self._node(number):
            node_troubles[what](self.world.cluster, name)

    @rule()
    def watches_break(self) -> None:
        self.world.cluster.break_watches()

    # --- outages, which end when their time is over

    @rule(outage=st.sampled_from([*outages]), seconds=st.sampled_from([1.0, 5.0, 20.0, 100.0, 400.0]))
    def outage(self, outage: str, seconds: float) -> None:
        self.world.break_for(seconds, outages[outage])

    @rule(trouble=st.sampled_from([*receivers]), seconds=st.sampled_from([20.0, 100.0, 400.0]))
    def receivers(self, trouble: str, seconds: float) -> None:
        self.world.break_for(seconds, receivers[trouble])
