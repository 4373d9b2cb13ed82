"""The pymunk environment against recorded reference trajectories, where they are at hand."""

import json
import pathlib
import struct
import unittest

try:
    import pusht_environment as pusht
except ImportError as error:
    pusht, MISSING = None, str(error)

GOLDEN = pathlib.Path(__file__).parents[3] / "shared" / "golden" / "pusht_env" / "pusht_env_dev.safetensors"


def tensors(path: pathlib.Path) -> dict:
    """name -> (shape, flat tuple of numbers); float64 and int64 only."""
    data = path.read_bytes()
    start = 8 + struct.unpack_from("<Q", data)[0]
    loaded = {}
    for name, entry in json.loads(data[8:start]).items():
        if name != "__metadata__":
            first, last = entry["data_offsets"]
            layout = f"<{(last - first) // 8}{ {'F64': 'd', 'I64': 'q'}[entry['dtype']] }"
            loaded[name] = entry["shape"], struct.unpack_from(layout, data, start + first)
    return loaded


@unittest.skipIf(pusht is None, "pymunk, shapely or numpy is not installed")
class Environment(unittest.TestCase):
    def test_seeded_reference_episodes(self):
        if not GOLDEN.exists():
            self.skipTest(f"no reference trajectories at {GOLDEN.parent}")
        loaded = tensors(GOLDEN)
        (episodes, steps, _), actions = loaded["actions"]
        states, rewards = loaded["states"][1], loaded["rewards"][1]
        replays, seeds = loaded["is_demo_replay"][1], loaded["seed"][1]
        played = 0
        for episode in range(episodes):
            if replays[episode]:
                continue
            table = pusht.PushT()
            table.reset(seeds[episode])
            for step in range(steps + 1):
                at = (episode * (steps + 1) + step) * 10
                self.assertEqual(table.state(), list(states[at : at + 10]), f"episode {episode}, step {step}")
                if step < steps:
                    at = episode * steps + step
                    coverage = table.step(actions[2 * at : 2 * at + 2])
                    self.assertAlmostEqual(pusht.reward(coverage), rewards[at], delta=1e-12)
            played += 1
        self.assertGreaterEqual(played, 10)

    def test_goal_pose_covers_everything(self):
        table = pusht.PushT()
        table.block.angle = pusht.GOAL_POSE[2]
        table.block.position = pusht.GOAL_POSE[:2]
        self.assertAlmostEqual(table.coverage(), 1.0)
        self.assertEqual(len(table.observation()), 20)


if __name__ == "__main__":
    unittest.main()
