"""The robot's end of a running policy: observations and resets go out, plans and commands come back.

`Policy` is what `kinestream run` is to a robot or a simulator, over zenoh (docs/RUNNING.md). It keeps no clock of its own:
times are given to it. Needs eclipse-zenoh.
"""

import sys
import threading
import time
from typing import Any, Mapping, Optional, Sequence

import zenoh

import kinestream_client as kinestream


class Policy:
    """A policy that runs elsewhere.

    With `lossless`, observations wait for a congested receiver, as a simulator in lock step needs it; else they are
    dropped, as a robot needs it. `node` is the name of the liveliness token. A wait that exceeds `limit_s` is a TimeoutError
    that says what to look at.
    """

    def __init__(
        self,
        session: zenoh.Session,
        keys: kinestream.Keys,
        observation: str = "state",
        lossless: bool = False,
        limit_s: float = 10.0,
        node: str = "simulator",
    ):
        self.limit_s = limit_s
        self.malformed = 0
        self._name = observation
        self._stream = 0
        self._sequence = 0
        self._plan: Optional[kinestream.Plan] = None
        self._command: Optional[kinestream.Action] = None
        self._news = threading.Condition()
        self._token = session.liveliness().declare_token(keys.alive(node))
        self._subscribers = [session.declare_subscriber(key, self._receive) for key in (keys.plan, keys.action)]
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
        self._stream += 1
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

    def plan(self) -> kinestream.Plan:
        """Waits for the plan that answers the last observation."""
        with self._news:
            if not self._news.wait_for(self._answer, self.limit_s):
                raise TimeoutError(
                    f"no plan answers observation {self._sequence} after {self.limit_s} s "
                    f"({self.malformed} malformed payloads seen); `kinestream top` shows what the policy does"
                )
            return self._plan

    def newest_command(self) -> Optional[kinestream.Action]:
        """The newest command of this episode, limited as the policy's configuration says; None before the first."""
        with self._news:
            return self._command if self._commanded() else None

    def first_command(self) -> kinestream.Action:
        """Waits until there is a command of this episode."""
        with self._news:
            if not self._news.wait_for(self._commanded, self.limit_s):
                raise TimeoutError(
                    f"no command answers observation {self._sequence} after {self.limit_s} s "
                    f"({self.malformed} malformed payloads seen); `kinestream top` shows what the policy does"
                )
            return self._command

    def close(self) -> None:
        """Leaves; the session stays open."""
        for declared in (*self._subscribers, *self._pictures.values(), self._observations, self._resets, self._token):
            declared.undeclare()

    def __enter__(self) -> "Policy":
        return self

    def __exit__(self, *_) -> None:
        self.close()

    def _answer(self) -> bool:
        plan = self._plan
        return plan is not None and (plan.observation_sequence, plan.stamp.stream) == (self._sequence, self._stream)

    def _commanded(self) -> bool:
        return self._command is not None and self._command.stamp.stream == self._stream

    def _receive(self, sample: zenoh.Sample) -> None:
        try:
            message = kinestream.decode(sample.payload.to_bytes())
        except kinestream.WireError as error:
            self.malformed += 1
            print(f"{sample.key_expr}: {error}", file=sys.stderr)
            return
        with self._news:
            if isinstance(message, kinestream.Plan):
                self._plan = message
            elif isinstance(message, kinestream.Action):
                self._command = message
            self._news.notify_all()


def image_of(camera: str, picture: Any, stamp: kinestream.Stamp) -> kinestream.Image:
    """A picture as a message: an array [height, width, 3] of uint8, or the bytes of a JPEG file."""
    if isinstance(picture, (bytes, bytearray)):
        return kinestream.Image(camera, 0, 0, "jpeg", bytes(picture), stamp)
    shape, kind = getattr(picture, "shape", ()), str(getattr(picture, "dtype", type(picture).__name__))
    if len(shape) != 3 or shape[2] != 3 or kind != "uint8":
        raise ValueError(f"{camera}: expected an array [height, width, 3] of uint8, found {list(shape)} of {kind}")
    height, width, _ = shape
    return kinestream.Image(camera, width, height, "rgb8", picture.tobytes(), stamp)
