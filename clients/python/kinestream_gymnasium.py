"""Any gymnasium environment as the robot of a running policy.

Of an environment only gymnasium's protocol is asked, `reset(seed=...)` and `step(action)`, so this file imports nothing of
gymnasium, and what merely behaves like an environment will do. Two ways to play an episode:

- lock step: every observation waits for the plan that answers it, and the plan's first action is executed for one period.
  Simulated time, as fast as both sides compute; the configuration wants `runtime.lossless = true`.
- real time: observations at the environment's rate, and at the end of every period the newest command decides what the
  environment did in it, as a robot obeys it: limited, interpolated, held when the policy is late.

Where the runtime dies or stops the robot, an episode ends with an error and not with the last command: StaleError within
`Policy.stale_s` of its last sign of life, StoppedError once its commands have come to rest.
"""

import contextlib
import time
from dataclasses import dataclass, field
from typing import Any, Callable, List, Mapping, Optional, Sequence

from kinestream_client import RunState
from kinestream_policy import Policy, StaleError, StoppedError

REST_NS = 2_000_000_000
"""Longest time that a runtime takes to bring its commands to rest, ns."""


@dataclass
class Episode:
    """What became of one episode; `info` is the environment's last."""

    seed: int
    steps: int = 0
    best_reward: float = 0.0
    total_reward: float = 0.0
    terminated: bool = False
    truncated: bool = False
    info: dict = field(default_factory=dict)
    held: int = 0
    """Real time: periods without a new command, in which the last one went on, or with one that only held."""
    missed: int = 0
    """Real time: periods that began late, because the environment took longer than one."""

    @property
    def is_over(self) -> bool:
        """Whether the environment ended it."""
        return self.terminated or self.truncated


class Robot:
    """An environment that obeys a policy.

    `observe` turns the environment's observation into the numbers that the policy was trained on, in their order and units;
    left out, the observation is flattened. `act` turns the numbers of an action into what the environment takes; left out,
    an array of the shape and type of its action space. `see` turns the observation into what the policy's cameras see, arrays
    [height, width, 3] of uint8 by the cameras' names; left out, nothing is seen. `rate_hz` is left out where the environment's
    metadata names it (`render_fps`). An environment that moves something may have a method `stop()`: it is called before
    StaleError and StoppedError are raised.
    """

    def __init__(
        self,
        environment: Any,
        policy: Policy,
        observe: Optional[Callable[[Any], Sequence[float]]] = None,
        act: Optional[Callable[[Sequence[float]], Any]] = None,
        rate_hz: Optional[float] = None,
        see: Optional[Callable[[Any], Mapping[str, Any]]] = None,
    ):
        self.environment = environment
        self.policy = policy
        self._observe = observe or flattened
        self._see = see or (lambda _: {})
        self._act = act or self._as_the_action_space
        rate_hz = rate_hz or (getattr(environment, "metadata", None) or {}).get("render_fps")
        if not rate_hz:
            raise ValueError("rate_hz: the environment's metadata has no render_fps; give its steps per second")
        self.period_ns = round(1e9 / rate_hz)

    def lock_step(self, seed: int, steps: int) -> Episode:
        """Plays one episode of at most `steps`, each for one plan."""
        with self._stopping():
            episode, observation, begun_ns = self._begin(seed)
            while episode.steps < steps and not episode.is_over:
                # Simulated time: one period per step, whatever the computation takes.
                self._tell(observation, begun_ns + episode.steps * self.period_ns)
                plan = self.policy.plan()
                # A safe stop is none here: the watchdog measures the clock, which a world that waits does not keep.
                if self.policy.state is RunState.FAULT:
                    raise _stopped(episode)
                observation = self._step(episode, plan.action(0))
            return episode

    def real_time(self, seed: int, steps: int) -> Episode:
        """Plays one episode of at most `steps` periods of the clock. It begins with the first command."""
        with self._stopping():
            return self._real_time(seed, steps)

    def _real_time(self, seed: int, steps: int) -> Episode:
        episode, observation, begun_ns = self._begin(seed)
        self._tell(observation, begun_ns)
        self.policy.first_command()
        last = None
        stopping_since_ns = None
        end_ns = time.monotonic_ns() + self.period_ns
        while True:
            self.policy.sleep_until(end_ns)
            command = self.policy.newest_command()
            episode.held += command is last or command.is_holding
            if not command.is_stopping:
                stopping_since_ns = None
            else:
                # The commands of a stop lead to rest under the limits, so they are obeyed until they are there.
                now_ns = time.monotonic_ns()
                stopping_since_ns = stopping_since_ns or now_ns
                at_rest = last is not None and list(command.values) == list(last.values)
                if at_rest or now_ns - stopping_since_ns > REST_NS:
                    raise _stopped(episode)
            last = command
            observation = self._step(episode, command.values)
            if episode.steps >= steps or episode.is_over:
                return episode
            now_ns = time.monotonic_ns()
            self._tell(observation, now_ns)
            end_ns += self.period_ns
            if end_ns <= now_ns:
                # What is late stays late: periods are left out, not crowded together.
                episode.missed += 1
                end_ns = now_ns + self.period_ns

    @contextlib.contextmanager
    def _stopping(self):
        """Stops an environment that can, before the error that says why is seen by anybody."""
        try:
            yield
        except (StaleError, StoppedError):
            getattr(self.environment, "stop", lambda: None)()
            raise

    def _begin(self, seed: int):
        observation, info = self.environment.reset(seed=seed)
        begun_ns = time.monotonic_ns()
        self.policy.reset(seed, begun_ns)
        return Episode(seed, info=info), observation, begun_ns

    def _tell(self, observation: Any, time_ns: int) -> None:
        numbers = [float(value) for value in self._observe(observation)]
        self.policy.observe(numbers, time_ns, self._see(observation))

    def _step(self, episode: Episode, values: Sequence[float]) -> Any:
        observation, reward, terminated, truncated, info = self.environment.step(self._act(values))
        episode.steps += 1
        episode.best_reward = max(episode.best_reward, float(reward))
        episode.total_reward += float(reward)
        episode.terminated, episode.truncated, episode.info = bool(terminated), bool(truncated), info
        return observation

    def _as_the_action_space(self, values: Sequence[float]) -> Any:
        import numpy

        space = self.environment.action_space
        if space.shape is None or int(numpy.prod(space.shape)) != len(values):
            raise ValueError(
                f"the policy's actions have {len(values)} numbers, the environment takes {space}; "
                "give `act`, or a policy that was trained for it"
            )
        return numpy.asarray(values, dtype=space.dtype).reshape(space.shape)


def _stopped(episode: Episode) -> StoppedError:
    return StoppedError(
        f"the runtime has stopped the robot after {episode.steps} steps; `kinestream top` says why, "
        "`kinestream stop --rearm` leaves the stop"
    )


def flattened(observation: Any) -> List[float]:
    """The numbers of an array, row by row. Other observations need an `observe` of their own."""
    if isinstance(observation, (dict, str)):
        raise ValueError(f"observation: expected an array, found a {type(observation).__name__}; give `observe`")
    import numpy

    return numpy.asarray(observation, dtype=float).ravel().tolist()
