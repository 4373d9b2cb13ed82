"""Codec against the golden bytes of the Rust crate, malformed bytes, keys, and a loopback exchange."""

import json
import math
import pathlib
import queue
import random
import socket
import struct
import unittest

import kinestream_client as kinestream

GOLDEN = pathlib.Path(__file__).parents[2] / "bridge" / "golden" / "wire_v1.json"


def golden() -> dict:
    """name -> (bytes, JSON mirror)."""
    rows = json.loads(GOLDEN.read_text())
    return {row["name"]: (bytes.fromhex("".join(row["bytes"])), row["json"]) for row in rows}


def mirror(message: kinestream.Message) -> dict:
    """The JSON mirror of a message, built from the decoded object."""
    fields = dict(vars(message))
    fields["stamp"] = dict(vars(message.stamp))
    if isinstance(message, kinestream.Status):
        fields["state"] = message.state.name.lower()
    if isinstance(message, kinestream.Command):
        used = {"RESET": ["seed"], "MOVE_BLOCK": ["x", "y", "angle"], "MOVE_AGENT": ["x", "y"]}
        used = used.get(message.request.name, [])
        fields = {key: fields[key] for key in ["stamp", *used]}
        fields["request"] = message.request.name.lower()
    if isinstance(message, kinestream.Control):
        fields["mode"] = message.mode.name.lower()
        fields["points"] = [dict(vars(point)) for point in message.points]
    if isinstance(message, kinestream.Image):
        fields["data"] = message.data.hex()
    return {"kind": type(message).__name__.lower(), **fields}


class Codec(unittest.TestCase):
    def test_golden_bytes(self):
        self.assertGreaterEqual(len(golden()), 13)
        for name, (data, fields) in golden().items():
            with self.subTest(name):
                message = kinestream.decode(data)
                self.assertEqual(mirror(message), fields)
                self.assertEqual(kinestream.encode(message), data)

    def test_truncated_and_longer_messages_are_refused(self):
        for name, (data, _) in golden().items():
            for length in range(len(data)):
                with self.assertRaises(kinestream.WireError, msg=f"{name} cut to {length}"):
                    kinestream.decode(data[:length])
            with self.assertRaises(kinestream.WireError):
                kinestream.decode(data + b"\0")
            longer = data[:36] + struct.pack("<I", len(data) - 39) + data[40:] + b"\0"
            with self.assertRaises(kinestream.WireError):
                kinestream.decode(longer)

    def test_wrong_headers_are_refused_by_name(self):
        data, _ = golden()["action"]
        for at, value, text in ((0, 0, "magic"), (4, 2, "version: expected 1, found 2"), (6, 99, "kind")):
            changed = bytearray(data)
            changed[at] = value
            with self.assertRaisesRegex(kinestream.WireError, text):
                kinestream.decode(changed)

    def test_mutated_messages_raise_nothing_else(self):
        draw = random.Random(1)
        for data, _ in golden().values():
            for _ in range(2000):
                changed = bytearray(data)
                for _ in range(draw.randint(1, 6)):
                    changed[draw.randrange(len(changed))] = draw.randrange(256)
                try:
                    self.assertEqual(len(kinestream.encode(kinestream.decode(changed))), len(data))
                except kinestream.WireError:
                    pass

    def test_non_finite_numbers_pass_in_observations_only(self):
        observation = kinestream.Observation("state", [1.0, math.nan])
        self.assertFalse(kinestream.decode(kinestream.encode(observation)).is_finite())
        action, _ = golden()["action"]
        changed = action[:-4] + struct.pack("<f", math.inf)
        with self.assertRaisesRegex(kinestream.WireError, r"values\[1\]"):
            kinestream.decode(changed)

    def test_what_does_not_fit_is_refused(self):
        plan = kinestream.decode(golden()["plan"][0])
        for field, value in (("committed", 4), ("level", [0]), ("period_ns", 0), ("actions", [0.0]), ("chunk", -1)):
            with self.subTest(field), self.assertRaises(kinestream.WireError):
                kinestream.encode(kinestream.Plan(**{**vars(plan), field: value}))
        for name in ("", "x" * 33, "a\0b"):
            with self.assertRaises(kinestream.WireError):
                kinestream.encode(kinestream.Observation(name, [1.0]))

    def test_poses_that_are_none_are_refused_on_either_side(self):
        data, _ = golden()["pose"]
        pose = kinestream.decode(data)
        turned = [[0.0, 0.0, 0.0, 1.0], [0.0, 0.0, 0.0, 1.5]]
        for field, value, text in (
            ("period_ns", 0, "period_ns"),
            ("phase", 1.5, "phase"),
            ("root_position", [0.0, math.inf, 0.0], r"root_position\[1\]"),
            ("root_velocity", [0.0, 0.0], "root_velocity"),
            ("yaw_rate", math.nan, "yaw_rate"),
            ("rotations", [], "joints"),
            ("rotations", turned, r"rotations\[1\].*length 1.5"),
            ("rotations", [[0.0, 0.0, 1.0]], "rotation"),
        ):
            with self.subTest(field), self.assertRaisesRegex(kinestream.WireError, text):
                kinestream.encode(kinestream.Pose(**{**vars(pose), field: value}))
        for bad in (math.nan, 1.0011, 0.9989):
            with self.assertRaisesRegex(kinestream.WireError, r"rotations\[1\]"):
                kinestream.decode(data[:-4] + struct.pack("<f", bad))
        self.assertTrue(kinestream.decode(data[:-4] + struct.pack("<f", 1.0009)))

    def test_controls_that_are_none_are_refused_on_either_side(self):
        data, _ = golden()["control_path"]
        control = kinestream.decode(data)
        point = kinestream.PathPoint
        for field, value, text in (
            ("mode", 2, "mode"),
            ("mode", kinestream.ControlMode.STICK, "points"),
            ("velocity", [math.nan, 0.0], "velocity"),
            ("facing", [0.0], "facing"),
            ("diversity", -1.0, "diversity"),
            ("strength", math.inf, "strength"),
            ("points", [], "points"),
            ("points", [point(0.0, 0.0, 0.0)] * 257, "points"),
            ("points", [point(1.0, 0.0, 0.0), point(1.0, 0.0, 0.0)], "time_s"),
            ("points", [point(1.0, 0.0, 0.0, math.inf)], r"points\[0\]\[3\]"),
        ):
            with self.subTest(field), self.assertRaisesRegex(kinestream.WireError, text):
                kinestream.encode(kinestream.Control(**{**vars(control), field: value}))
        # Any NaN stands for "no direction"; every other number is finite.
        none = data[:84] + struct.pack("<I", 0xFFC12345) + data[88:]
        self.assertEqual(kinestream.encode(kinestream.decode(none)), data)
        for at in (*range(44, 68, 4), 72, 76, 80):
            with self.assertRaises(kinestream.WireError, msg=str(at)):
                kinestream.decode(data[:at] + struct.pack("<f", math.nan) + data[at + 4 :])

    def test_keys(self):
        keys = kinestream.Keys("lab/cell", "arm-1")
        self.assertEqual(keys.observation("state"), "lab/cell/arm-1/obs/state")
        self.assertEqual((keys.pose, keys.control), ("lab/cell/arm-1/pose", "lab/cell/arm-1/control"))
        self.assertEqual(keys.info("skeleton"), "lab/cell/arm-1/info/skeleton")
        self.assertEqual(keys.command(kinestream.Request.MOVE_BLOCK), "lab/cell/arm-1/cmd/move_block")
        for namespace, robot in (("", "r"), ("a//b", "r"), ("a", "b/c"), ("a*", "r"), ("a", "b c")):
            with self.assertRaises(kinestream.WireError):
                kinestream.Keys(namespace, robot)


class Loopback(unittest.TestCase):
    def test_two_sessions_meet(self):
        try:
            import zenoh  # noqa: F401
        except ImportError:
            self.skipTest("eclipse-zenoh is not installed")
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            address = f"tcp/127.0.0.1:{probe.getsockname()[1]}"
        keys = kinestream.Keys("test", "arm")
        received: "queue.Queue[kinestream.Message]" = queue.Queue()
        with kinestream.open_session(listen=[address]) as robot, kinestream.open_session([address]) as runtime:
            subscriber = robot.declare_subscriber(
                keys.plan, lambda sample: received.put(kinestream.decode(sample.payload.to_bytes()))
            )
            publisher = runtime.declare_publisher(keys.plan)
            plan = kinestream.decode(golden()["plan"][0])
            # A publisher may speak before its subscriber is known to it: repeat until one message has come through.
            for _ in range(600):
                publisher.put(kinestream.encode(plan))
                try:
                    self.assertEqual(received.get(timeout=0.05), plan)
                    break
                except queue.Empty:
                    continue
            else:
                self.fail("nothing arrived")
            subscriber.undeclare()


if __name__ == "__main__":
    unittest.main()
