"""The adapter: an environment and a policy meet over zenoh in one process, in lock step and in real time."""

import socket
import threading
import unittest

import kinestream_client as kinestream

try:
    import zenoh  # noqa: F401

    from kinestream_gymnasium import Robot, flattened
    from kinestream_policy import Policy
except ImportError as error:
    zenoh, MISSING = None, f"{error.name} is not installed"
else:
    MISSING = ""

KEYS = kinestream.Keys("test", "line")


class Line:
    """A point on a line that goes where it is told; the episode ends at zero."""

    def __init__(self, rate_hz: float):
        self.metadata = {"render_fps": rate_hz}
        self.told = []

    def reset(self, seed):
        self.place = float(seed)
        return {"place": self.place}, {}

    def step(self, action):
        self.told.append(action)
        self.place += action
        return {"place": self.place}, -abs(self.place), self.place == 0.0, False, {"place": self.place}


class Homing:
    """A policy on zenoh: half the way to zero with each plan and command, the whole way when it is short."""

    def __init__(self, session):
        self._session = session
        self._lock = threading.Lock()
        self.resets, self.observations = [], []
        self._subscribers = [
            session.declare_subscriber(KEYS.command(kinestream.Request.RESET), self._reset),
            session.declare_subscriber(KEYS.observation("place"), self._answer),
        ]

    def _reset(self, sample):
        self.resets.append(kinestream.decode(sample.payload.to_bytes()))

    def _answer(self, sample):
        with self._lock:
            seen = kinestream.decode(sample.payload.to_bytes())
            self.observations.append(seen)
            place = seen.values[0]
            move = -place if abs(place) <= 1.0 else -0.5 * place
            number = seen.stamp.sequence
            plan = kinestream.Plan(number, number, 0, 1, 1, 1, 1, [0.0, 0.5], [0, 1], [move, 0.0], stamp=seen.stamp)
            command = kinestream.Action(number, 0.0, 0.0, 0, [move], stamp=seen.stamp)
            self._session.put(KEYS.plan, kinestream.encode(plan))
            self._session.put(KEYS.action, kinestream.encode(command))


@unittest.skipIf(zenoh is None, MISSING)
class Adapter(unittest.TestCase):
    def setUp(self):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            address = f"tcp/127.0.0.1:{probe.getsockname()[1]}"
        theirs = self.enter(kinestream.open_session(listen=[address]))
        self.ours = self.enter(kinestream.open_session([address]))
        self.homing = Homing(theirs)

    def enter(self, context):
        value = context.__enter__()
        self.addCleanup(context.__exit__, None, None, None)
        return value

    def robot(self, lossless, rate_hz):
        policy = self.enter(Policy(self.ours, KEYS, "place", lossless))
        policy.wait()
        return Robot(Line(rate_hz), policy, lambda told: [told["place"]], lambda values: values[0])

    def test_lock_step_takes_one_plan_a_step(self):
        robot = self.robot(lossless=True, rate_hz=10.0)
        episode = robot.lock_step(seed=8, steps=100)
        self.assertEqual(robot.environment.told, [-4.0, -2.0, -1.0, -1.0])
        self.assertEqual((episode.steps, episode.terminated, episode.info), (4, True, {"place": 0.0}))
        self.assertEqual((episode.total_reward, episode.best_reward), (-7.0, 0.0))
        times = [seen.stamp.monotonic_ns for seen in self.homing.observations]
        self.assertEqual([later - earlier for earlier, later in zip(times, times[1:])], [100_000_000] * 3)
        self.assertEqual(robot.lock_step(seed=64, steps=2).is_over, False)
        resets = [(reset.seed, reset.stamp.stream) for reset in self.homing.resets]
        first, second = resets[0][1], resets[1][1]
        self.assertEqual(resets, [(8, first), (64, second)])
        self.assertEqual(second, kinestream.next_stream(first))
        self.assertEqual([seen.stamp.stream for seen in self.homing.observations], [first] * 4 + [second] * 2)

    def test_real_time_obeys_the_newest_command(self):
        robot = self.robot(lossless=False, rate_hz=25.0)
        episode = robot.real_time(seed=4, steps=50)
        self.assertTrue(episode.terminated)
        # Whoever is scheduled when: the first command is the answer to the first observation.
        self.assertEqual(robot.environment.told[0], -2.0)
        self.assertEqual(episode.steps, len(robot.environment.told))
        self.assertLess(episode.held, episode.steps)

    def test_a_policy_that_is_not_there_is_named(self):
        with Policy(self.ours, kinestream.Keys("test", "nobody"), limit_s=0.1) as policy:
            with self.assertRaisesRegex(TimeoutError, "nobody subscribes to test/nobody/obs/state"):
                policy.wait()
            robot = Robot(Line(10.0), policy, lambda told: [told["place"]])
            with self.assertRaisesRegex(TimeoutError, "no plan answers observation 1"):
                robot.lock_step(1, 1)
            with self.assertRaisesRegex(TimeoutError, "no command answers observation 2"):
                robot.real_time(1, 1)


@unittest.skipIf(zenoh is None, MISSING)
class Mappings(unittest.TestCase):
    def test_what_cannot_be_mapped_is_said(self):
        with self.assertRaisesRegex(ValueError, "found a dict; give `observe`"):
            flattened({"place": 1.0})
        self.assertEqual(flattened([[1, 2], [3, 4]]), [1.0, 2.0, 3.0, 4.0])
        with self.assertRaisesRegex(ValueError, "no render_fps"):
            Robot(object(), None)

    def test_actions_take_the_form_of_the_action_space(self):
        try:
            from gymnasium import spaces
        except ImportError:
            self.skipTest("gymnasium is not installed")
        line = Line(10.0)
        line.action_space = spaces.Box(-1.0, 1.0, (2, 1))
        robot = Robot(line, None)
        action = robot._as_the_action_space([0.5, -0.25])
        self.assertTrue(line.action_space.contains(action))
        with self.assertRaisesRegex(ValueError, "have 3 numbers, the environment takes Box"):
            robot._as_the_action_space([0.0] * 3)


if __name__ == "__main__":
    unittest.main()
