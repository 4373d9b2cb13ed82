"""End to end: the built program runs the shipped Push-T policy, and environments are its robots over zenoh."""

import contextlib
import io
import json
import pathlib
import tempfile
import time
import unittest

import running_kinestream
from running_kinestream import ROOT, Running

try:
    import pusht_command
    import pusht_gymnasium
    import pusht_pymunk
except ImportError as error:
    pusht_command, MISSING = None, f"{error.name} is not installed"
else:
    MISSING = ""


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
        cls.addClassCleanup(Running(["run", str(config)], "ready").stop)

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
