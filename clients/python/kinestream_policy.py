"""The robot's end of a running policy: observations and resets go out, plans and commands come back.

`Policy` is what `kinestream run` is to a robot or a simulator, over zenoh (docs/RUNNING.md). Stamps of observations are given
to it; how old a command is it measures itself, from its arrival. Needs eclipse-zenoh.
"""

import math
import sys
import threading
import time
from typing import Any, Callable, Mapping, Optional, Sequence

import zenoh

import kinestream_client as kinestream


class StaleError(TimeoutError):
    """The newest command or plan is older than is allowed, or its runtime has gone: whoever goes on obeying it is out of
    control. A robot stops now, by its own means."""


class StoppedError(RuntimeError):
    """The runtime has stopped the robot (safe or emergency stop), and its commands are at rest."""


class Policy:
    """A policy that runs elsewhere.

    With `lossless`, observations wait for a congested receiver, as a simulator in lock step needs it; else they are
    dropped, as a robot needs it. `node` is the name of the liveliness token. A wait that exceeds `limit_s` is a TimeoutError
    that says what to look at.

    A runtime sends commands at its control rate, whatever it is doing. Where none has come for `stale_s`, or the runtime's
    liveliness token has gone, `newest_command` raises StaleError instead of repeating the last one; math.inf allows any age.

    `stream` is the number of the first stream, 1 to 2^32 - 1: by default a random one, so that a client that begins anew
    under the same name is not taken for the last one. Episodes count on from it.
    """

    def __init__(
        self,
        session: zenoh.Session,
        keys: kinestream.Keys,
        observation: str = "state",
        lossless: bool = False,
        limit_s: float = 10.0,
        node: str = "simulator",
        stale_s: float = 0.5,
        stream: Optional[int] = None,
    ):
        if not stale_s > 0.0:
            raise ValueError(f"stale_s: expected seconds above 0, or math.inf, found {stale_s}")
        if stream is not None and not 1 <= stream < 2**32:
            raise ValueError(f"stream: expected 1 to 2^32 - 1, found {stream}")
        self.limit_s = limit_s
        self.stale_s = stale_s
        self.malformed = 0
        self._keys = keys
        self._name = observation
        self._lossless = lossless
        self._stream = stream or kinestream.new_stream()
        self._sequence = 0
        self._plan: Optional[kinestream.Plan] = None
        self._plan_came = -math.inf
        self._command: Optional[kinestream.Action] = None
        self._command_came = -math.inf
        self._state: Optional[kinestream.RunState] = None
        self._alive = set()
        self._is_lost = False
        self._is_closed = False
        self._news = threading.Condition()
        self._token = session.liveliness().declare_token(keys.alive(node))
        self._presence = session.liveliness().declare_subscriber(keys.alive_all(), self._watch, history=True)
        heard = (keys.plan, keys.action, keys.status)
        self._subscribers = [session.declare_subscriber(key, self._receive) for key in heard]
        congestion = zenoh.CongestionControl
        # Both at one priority, so that a reset arrives before the observations sent after it.
        quality = {"priority": zenoh.Priority.REAL_TIME, "express": True}
        dropping = congestion.BLOCK if lossless else congestion.DROP
        self._observations = session.declare_publisher(
            keys.observation(observation), congestion_control=dropping, **quality
        )
        self._declare_pictures = lambda camera: session.declare_publisher(
            keys.observation(camera), congestion_control=dropping, **quality
        )
        self._pictures = {}
        self._resets = session.declare_publisher(
            keys.command(kinestream.Request.RESET), congestion_control=congestion.BLOCK, **quality
        )

    def wait(self) -> None:
        """Waits until the policy subscribes to observations and resets."""
        for publisher in (self._observations, self._resets):
            give_up = time.monotonic() + self.limit_s
            while not publisher.matching_status.matching:
                if time.monotonic() > give_up:
                    raise TimeoutError(
                        f"nobody subscribes to {publisher.key_expr} after {self.limit_s} s; "
                        "is `kinestream run` up, and --connect, --namespace, --robot as in its config?"
                    )
                time.sleep(0.02)

    def reset(self, seed: int, time_ns: int) -> None:
        """Begins a new episode: a stream of the next number."""
        self._stream = kinestream.next_stream(self._stream)
        stamp = kinestream.Stamp(0, time_ns, time.time_ns(), self._stream)
        self._resets.put(kinestream.encode(kinestream.Command(kinestream.Request.RESET, seed, stamp=stamp)))

    def observe(self, values: Sequence[float], time_ns: int, pictures: Optional[Mapping[str, Any]] = None) -> int:
        """Sends an observation of this moment on the robot's own clock; returns its sequence number.

        `pictures` are what the policy's cameras see now, by their names: arrays [height, width, 3] of uint8, red, green and
        blue, or the bytes of JPEG files.
        """
        self._sequence += 1
        stamp = kinestream.Stamp(self._sequence, time_ns, time.time_ns(), self._stream)
        # Before the observation that they belong to: it is answered when it comes.
        for camera, picture in (pictures or {}).items():
            if camera not in self._pictures:
                self._pictures[camera] = self._declare_pictures(camera)
            self._pictures[camera].put(kinestream.encode(image_of(camera, picture, stamp)))
        self._observations.put(kinestream.encode(kinestream.Observation(self._name, values, "f64", stamp)))
        return self._sequence

    @property
    def stream(self) -> int:
        """The stream of this episode."""
        return self._stream

    @property
    def is_controlled(self) -> bool:
        """Whether the runtime says that its commands move the robot, or may at once (token alive/control)."""
        with self._news:
            return "control" in self._alive

    @property
    def state(self) -> Optional[kinestream.RunState]:
        """What the runtime said last that it is doing, at least twice a second: STOPPED in a safe stop, FAULT in an emergency
        stop. None before the first word."""
        with self._news:
            return self._state

    def plan(self) -> kinestream.Plan:
        """Waits for the plan that answers the last observation.

        StaleError as soon as the runtime is gone, and where the plan came longer than `stale_s` ago; in lock step
        (`lossless`) a plan is as good as when it came, since the world has waited for it.
        """
        with self._news:
            self._wait_for(self._answer, "plan")
            if not self._lossless:
                self._check_age("plan", self._plan_came)
            return self._plan

    def newest_command(self) -> Optional[kinestream.Action]:
        """The newest command of this episode, limited as the policy's configuration says; None before the first.

        StaleError where it came longer than `stale_s` ago, or the runtime is gone.
        """
        with self._news:
            if not self._commanded():
                return None
            self._check_command()
            return self._command

    def first_command(self) -> kinestream.Action:
        """Waits until there is a command of this episode. StaleError as soon as the runtime is gone."""
        with self._news:
            self._wait_for(self._commanded, "command")
            return self._command

    def sleep_until(self, time_ns: int) -> None:
        """Waits for a moment of time.monotonic_ns() under the commands of this episode: StaleError as soon as
        `newest_command` would raise it, however long the period is."""
        with self._news:
            while True:
                left_s = (time_ns - time.monotonic_ns()) / 1e9
                if left_s <= 0.0:
                    return
                if self._commanded():
                    self._check_command()
                    left_s = min(left_s, self._command_came + self.stale_s - time.monotonic() + 1e-3)
                self._news.wait(left_s)

    def close(self) -> None:
        """Leaves; the session stays open. A second call does nothing."""
        publishers = (*self._pictures.values(), self._observations, self._resets)
        declared = (*self._subscribers, self._presence, *publishers, self._token)
        for it in declared if not self._is_closed else ():
            it.undeclare()
        self._is_closed = True

    def __enter__(self) -> "Policy":
        return self

    def __exit__(self, *_) -> None:
        self.close()

    def _answer(self) -> bool:
        plan = self._plan
        return plan is not None and (plan.observation_sequence, plan.stamp.stream) == (self._sequence, self._stream)

    def _commanded(self) -> bool:
        return self._command is not None and self._command.stamp.stream == self._stream

    def _wait_for(self, condition: Callable[[], bool], what: str) -> None:
        """Waits with the lock held."""
        came = self._news.wait_for(lambda: condition() or self._is_lost, self.limit_s)
        if self._is_lost:
            raise self._lost()
        if not came:
            raise TimeoutError(
                f"no {what} answers observation {self._sequence} after {self.limit_s} s "
                f"({self.malformed} malformed payloads seen); `kinestream top` shows what the policy does"
            )

    def _check_command(self) -> None:
        self._check_age("command", self._command_came)

    def _check_age(self, what: str, came: float) -> None:
        if self._is_lost:
            raise self._lost()
        age = time.monotonic() - came
        if age > self.stale_s:
            raise StaleError(
                f"the newest {what} on {self._keys.prefix} is {age:.2f} s old, allowed are {self.stale_s} s (stale_s): is "
                "`kinestream run` still up, and the line to it?"
            )

    def _lost(self) -> StaleError:
        return StaleError(f"the runtime of {self._keys.prefix} is gone: its token alive/runtime has been withdrawn")

    def _watch(self, sample: zenoh.Sample) -> None:
        node = str(sample.key_expr).rsplit("/", 1)[-1]
        is_alive = sample.kind == zenoh.SampleKind.PUT
        with self._news:
            (self._alive.add if is_alive else self._alive.discard)(node)
            if node == "runtime":
                # One that has never been there cannot get lost: other programs may stand in for it.
                self._is_lost = not is_alive
            self._news.notify_all()

    def _receive(self, sample: zenoh.Sample) -> None:
        try:
            message = kinestream.decode(sample.payload.to_bytes())
        except kinestream.WireError as error:
            self.malformed += 1
            print(f"{sample.key_expr}: {error}", file=sys.stderr)
            return
        with self._news:
            if isinstance(message, kinestream.Plan) and _is_news(message.stamp, self._plan):
                self._plan, self._plan_came = message, time.monotonic()
            elif isinstance(message, kinestream.Action) and _is_news(message.stamp, self._command):
                self._command, self._command_came = message, time.monotonic()
            elif isinstance(message, kinestream.Status):
                self._state = message.state
            self._news.notify_all()


def _is_news(stamp: kinestream.Stamp, last: Optional[kinestream.Message]) -> bool:
    """Whether a message is newer than the last one: what is sent again, by a storage or a replay, is no sign of life."""
    if last is None or stamp.sequence == 0 or stamp.stream != last.stamp.stream:
        return True
    # A sender that begins anew counts from 1 again, at a later time by one of its clocks.
    later = stamp.monotonic_ns > last.stamp.monotonic_ns or stamp.wall_ns > last.stamp.wall_ns
    return later or stamp.sequence > last.stamp.sequence


def image_of(camera: str, picture: Any, stamp: kinestream.Stamp) -> kinestream.Image:
    """A picture as a message: an array [height, width, 3] of uint8, or the bytes of a JPEG file."""
    if isinstance(picture, (bytes, bytearray)):
        return kinestream.Image(camera, 0, 0, "jpeg", bytes(picture), stamp)
    shape, kind = getattr(picture, "shape", ()), str(getattr(picture, "dtype", type(picture).__name__))
    if len(shape) != 3 or shape[2] != 3 or kind != "uint8":
        raise ValueError(f"{camera}: expected an array [height, width, 3] of uint8, found {list(shape)} of {kind}")
    height, width, _ = shape
    return kinestream.Image(camera, width, height, "rgb8", picture.tobytes(), stamp)
