"""The Godot project without a screen, against the built program. KINESTREAM names the program, GODOT the engine."""

import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import unittest

FOLDER = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(FOLDER.parent / "python"))
import running_kinestream  # noqa: E402


class Project(unittest.TestCase):
    def test_a_character_walks(self):
        engine = os.environ.get("GODOT")
        if not engine:
            self.skipTest("GODOT is not set to a Godot 3 without a screen, such as godot3-server")
        place = running_kinestream.free_address()
        demo = ["demo", "motion", "--port=0", "--listen=tcp/127.0.0.1:0", f"--websocket={place}"]
        running = running_kinestream.Running(demo, "Ctrl-C ends it")
        self.addCleanup(running.stop)
        command = [engine, "--path", str(FOLDER), "--script", "test.gd"]
        environment = {**os.environ, "KINESTREAM_ADDRESS": f"ws://{place}/pose"}
        with tempfile.TemporaryDirectory() as home:
            # What the engine remembers of its projects is no concern of the user's.
            environment.update(HOME=home, XDG_DATA_HOME=home, XDG_CONFIG_HOME=home, XDG_CACHE_HOME=home)
            with subprocess.Popen(
                command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
            ) as played:
                self.addCleanup(played.kill)
                said = ""
                for line in played.stdout:
                    said += line
                    if line.startswith("answered"):
                        # It stands still and keeps the connection.
                        running.signal(signal.SIGSTOP)
                played.wait(90)
        running.signal(signal.SIGCONT)
        self.assertEqual(played.returncode, 0, said)
        self.assertNotIn("SCRIPT ERROR", said)
        self.assertIn("frozen", said)


if __name__ == "__main__":
    unittest.main()
