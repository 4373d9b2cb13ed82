"""End to end: the built program runs the shipped Push-T policy, and environments are its robots over zenoh."""

import contextlib
import io
import json
import pathlib
import tempfile
import threading
import time
import unittest

import running_kinestream
from running_kinestream import ROOT, Running

try:
    import kinestream_client as kinestream
    import pusht_command
    import pusht_gymnasium
    import pusht_pymunk
    from kinestream_gymnasium import Robot
    from kinestream_policy import Policy, StaleError, StoppedError
    from kinestream_stop import rearm, request_stop
except ImportError as error:
    pusht_command, MISSING = None, f"{error.name} is not installed"
else:
    MISSING = ""

# An observation of the table: nine keypoints and the agent, pixels.
TABLE = [256.0, 300.0] * 9 + [256.0, 400.0]


@unittest.skipIf(pusht_command is None, MISSING)
class PushT(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        running_kinestream.program()
        cls.address = f"tcp/{running_kinestream.free_address()}"
        text = (ROOT / "configs" / "pusht-state.toml").read_text()
        listen = 'listen = ["tcp/127.0.0.1:7447"]'
        assert text.count(listen) == 1 and text.count("[runtime]\n") == 1
        text = text.replace(listen, f'listen = ["{cls.address}"]').replace("[runtime]\n", "[runtime]\nlossless = true\n")
        folder = tempfile.TemporaryDirectory()
        cls.addClassCleanup(folder.cleanup)
        config = pathlib.Path(folder.name) / "pusht.toml"
        config.write_text(text)
        cls.config = str(config)
        cls.running = Running(["run", cls.config], "ready")
        cls.addClassCleanup(lambda: cls.running.stop())

    def play(self, environment, observe, act, *arguments):
        arguments = [f"--connect={self.address}", *arguments]
        with contextlib.redirect_stdout(io.StringIO()) as printed, contextlib.redirect_stderr(io.StringIO()) as said:
            status = pusht_command.main("test", "", environment, observe, act, arguments)
        self.assertEqual(status, 0, said.getvalue())
        return json.loads(printed.getvalue())

    def test_pymunk_in_lock_step(self):
        report = self.play(pusht_pymunk.Environment(), list, list, "--seeds=100000..100002")
        self.assertEqual(report["seeds"], [100000, 100001, 100002])
        self.assertGreater(report["mean_max_reward"], 0.8, report)

    def test_a_client_that_begins_anew_is_served_at_once(self):
        # Simulated time runs ahead of the clock in lock step: the second client's stamps are behind the first one's.
        for _ in range(2):
            with self.policy(lossless=True, limit_s=10.0) as policy:
                policy.wait()
                for step in range(30):
                    policy.observe(TABLE, step * 100_000_000)
                    plan = policy.plan()
                    self.assertEqual((plan.observation_sequence, plan.stamp.stream), (step + 1, policy.stream))

    def test_a_robot_stops_within_half_a_second_of_its_runtimes_death(self):
        running = self.running

        class Table(pusht_pymunk.Environment):
            steps = 0
            stops = 0

            def step(self, action):
                self.steps += 1
                if self.steps == 20:
                    running.kill()
                return super().step(action)

            def stop(self):
                self.stops += 1

        table = Table()
        with self.policy() as policy:
            policy.wait()
            with self.assertRaisesRegex(StaleError, "kinestream/pusht"):
                Robot(table, policy, list, list).real_time(3, 300)
        self.assertEqual(table.stops, 1)
        # Steps are a tenth of a second apart, whatever else the machine does: half a second has no more than five.
        self.assertLessEqual(table.steps, 25)
        type(self).running = Running(["run", self.config], "ready")

    def test_a_stop_is_confirmed_and_ends_an_episode_and_is_left_again(self):
        table = pusht_pymunk.Environment()
        with self.policy() as policy:
            policy.wait()
            with kinestream.open_session([self.address]) as other:
                keys = kinestream.Keys("kinestream", "pusht")
                timer = threading.Timer(1.0, lambda: states.append(request_stop(other, keys)))
                states = []
                timer.start()
                with self.assertRaisesRegex(StoppedError, "stopped the robot"):
                    Robot(table, policy, list, list).real_time(3, 300)
                timer.join()
                self.assertEqual(states[0]["rung"], "emergency_stop")
                self.assertNotIn(rearm(other, keys)["rung"], ("emergency_stop", "safe_stop"))

    @contextlib.contextmanager
    def policy(self, **options):
        with kinestream.open_session([self.address]) as session:
            with Policy(session, kinestream.Keys("kinestream", "pusht"), **options) as policy:
                yield policy

    def gym(self):
        try:
            return pusht_gymnasium.environment()
        except ImportError as error:
            self.skipTest(f"{error.name} is not installed (requirements-gymnasium.txt)")

    def test_gym_pusht_in_lock_step(self):
        report = self.play(self.gym(), pusht_gymnasium.observe, None, "--seeds=0..1")
        self.assertGreater(report["mean_max_reward"], 0.8, report)
        self.assertEqual((report["held"], report["missed"]), ([0, 0], [0, 0]))

    def test_gym_pusht_for_an_episode_at_10_hz(self):
        environment, begun = self.gym(), time.monotonic()
        report = self.play(environment, pusht_gymnasium.observe, None, "--seeds=3", "--real-time")
        (steps,), (held,), (score,) = report["steps"], report["held"], report["scores"]
        # The clock is the environment's: never faster, and a command of its own for most periods.
        self.assertGreaterEqual(time.monotonic() - begun, 0.1 * steps)
        self.assertTrue(steps == 300 or score == 1.0, report)
        self.assertLess(held, steps // 2)
        self.assertGreater(score, 0.3)


if __name__ == "__main__":
    unittest.main()
