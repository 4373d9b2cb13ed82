"""Reads and writes kinestream's wire format (docs/WIRE.md), and names its zenoh keys.

The codec needs nothing but the standard library. Decoding raises WireError, with what was expected and what was found, and
nothing else, whatever the bytes. `open_session` needs eclipse-zenoh.
"""

import enum
import math
import re
import secrets
import struct
from dataclasses import dataclass, field
from typing import ClassVar, List, Optional, Sequence, Union

MAGIC = b"KNST"
VERSION = 1
MAX_VALUES = 65_536
MAX_HORIZON = 4_096
MAX_JOINTS = 1_024
MAX_POINTS = 256
MAX_IMAGE_BYTES = 16 << 20
MAX_IMAGE_SIDE = 16_384

_HEADER = struct.Struct("<4sHHQQQII")
_OBSERVATION = struct.Struct("<IHH32s")
_ACTION = struct.Struct("<QdfIII")
_PLAN = struct.Struct("<QQQQIIII")
_STATUS = struct.Struct("<QQQQQddddII")
_COMMAND = struct.Struct("<IIQddd")
_POSE = struct.Struct("<QQQIIIf3d3ff")
_CONTROL = struct.Struct("<I2f2fffI")
_IMAGE = struct.Struct("<IIII32s")

MAX_MESSAGE_BYTES = _HEADER.size + _OBSERVATION.size + MAX_VALUES * 8


class WireError(ValueError):
    """Bytes that are not a kinestream message, or a message that the format cannot hold."""


class RunState(enum.IntEnum):
    """What a node is doing."""

    STARTING = 0
    WAITING = 1
    RUNNING = 2
    PAUSED = 3
    HOLDING = 4
    STOPPED = 5
    FAULT = 6


class Request(enum.IntEnum):
    """What a Command asks for; the lower-case name is the last part of its key, cmd/<name>."""

    RESET = 1
    PAUSE = 2
    RESUME = 3
    STOP = 4
    MOVE_BLOCK = 5
    MOVE_AGENT = 6
    RELEASE_AGENT = 7


class ActionFlags(enum.IntFlag):
    """Bits of Action.flags; a reader ignores bits that it does not know."""

    LIMITED = 1
    HOLDING = 2
    STOPPING = 4


class ControlMode(enum.IntEnum):
    """How a character is steered."""

    STICK = 0
    PATH = 1


@dataclass
class Stamp:
    """When and as what in its stream a message was made."""

    sequence: int = 0
    monotonic_ns: int = 0
    wall_ns: int = 0
    stream: int = 0


@dataclass
class Observation:
    """A named vector; element is "f32" or "f64". NaN and infinities may occur: see is_finite."""

    kind: ClassVar[int] = 1
    name: str
    values: Sequence[float]
    element: str = "f64"
    stamp: Stamp = field(default_factory=Stamp)

    def is_finite(self) -> bool:
        """Whether every value is a finite number."""
        return all(math.isfinite(value) for value in self.values)


@dataclass
class Action:
    """The command for one period of the control loop. Flags are ActionFlags."""

    kind: ClassVar[int] = 2
    chunk: int
    position: float
    noise: float
    flags: int
    values: Sequence[float]
    stamp: Stamp = field(default_factory=Stamp)

    @property
    def is_limited(self) -> bool:
        """Whether the plan asked for more than the limits allow."""
        return bool(self.flags & ActionFlags.LIMITED)

    @property
    def is_holding(self) -> bool:
        """Whether no fresh plan is behind it: the runtime comes to rest, or is at rest, until there is one."""
        return bool(self.flags & ActionFlags.HOLDING)

    @property
    def is_stopping(self) -> bool:
        """Whether the runtime has stopped (safe or emergency stop): commands come to rest, and stay there until somebody
        re-arms it."""
        return bool(self.flags & ActionFlags.STOPPING)


@dataclass
class Plan:
    """A trajectory: noise[t] is 0 (clean) to 1, level[t] the denoising steps to go, actions[t * dims + d] row-major."""

    kind: ClassVar[int] = 3
    chunk: int
    observation_sequence: int
    first_action_ns: int
    period_ns: int
    dims: int
    committed: int
    levels: int
    noise: Sequence[float]
    level: Sequence[int]
    actions: Sequence[float]
    stamp: Stamp = field(default_factory=Stamp)

    @property
    def horizon(self) -> int:
        """Number of positions."""
        return len(self.noise)

    def action(self, position: int) -> List[float]:
        """The action at one position."""
        if not 0 <= position < self.horizon:
            raise IndexError(f"position {position} of a plan with {self.horizon} positions")
        return list(self.actions[position * self.dims : (position + 1) * self.dims])


@dataclass
class Status:
    """Counters and state of a node; None where a number is not known."""

    kind: ClassVar[int] = 4
    observations: int = 0
    plans: int = 0
    actions: int = 0
    missed: int = 0
    malformed: int = 0
    latency_p50_us: Optional[float] = None
    latency_p99_us: Optional[float] = None
    score: Optional[float] = None
    coverage: Optional[float] = None
    state: RunState = RunState.STARTING
    stamp: Stamp = field(default_factory=Stamp)


@dataclass
class Command:
    """A request; seed counts for RESET, x and y for the two moves, angle for MOVE_BLOCK."""

    kind: ClassVar[int] = 5
    request: Request
    seed: int = 0
    x: float = 0.0
    y: float = 0.0
    angle: float = 0.0
    stamp: Stamp = field(default_factory=Stamp)


@dataclass
class Pose:
    """One frame of a character, metres, right-handed, Y up, at rest facing +Z.

    rotations: quaternions x, y, z, w of unit length, of every joint against its parent (joint 0: against the world).
    Contacts: 1 left heel, 2 left toe, 4 right heel, 8 right toe. Flags: 1 clamped, 2 held, 4 idle, 8 acting.
    """

    kind: ClassVar[int] = 6
    frame: int
    frame_ns: int
    period_ns: int
    contacts: int
    flags: int
    phase: float
    root_position: Sequence[float]
    root_velocity: Sequence[float]
    yaw_rate: float
    rotations: Sequence[Sequence[float]]
    stamp: Stamp = field(default_factory=Stamp)


@dataclass
class PathPoint:
    """Where a character is to be, when (s after the message), and the angle to face at: 0 is +Z, None along the path."""

    time_s: float
    x: float
    z: float
    facing: Optional[float] = None


@dataclass
class Control:
    """What a character is asked to do: velocity and facing (x, z) count for STICK, points for PATH."""

    kind: ClassVar[int] = 7
    mode: ControlMode = ControlMode.STICK
    velocity: Sequence[float] = (0.0, 0.0)
    facing: Sequence[float] = (0.0, 0.0)
    diversity: float = 1.0
    strength: float = 1.0
    points: Sequence[PathPoint] = ()
    stamp: Stamp = field(default_factory=Stamp)


@dataclass
class Image:
    """A picture of a camera: rgb8, bgr8 or mono8 row by row from the top left, or the bytes of a jpeg file (width and height
    may be 0 then). stamp.monotonic_ns is when it was taken, on the clock of the robot's observations."""

    kind: ClassVar[int] = 8
    name: str
    width: int
    height: int
    encoding: str
    data: bytes
    stamp: Stamp = field(default_factory=Stamp)


Message = Union[Observation, Action, Plan, Status, Command, Pose, Control, Image]


def encode(message: Message) -> bytes:
    """The bytes of a message; WireError if the format cannot hold it."""
    try:
        body = _ENCODERS[type(message)](message)
        stamp = message.stamp
        times = (stamp.sequence, stamp.monotonic_ns, stamp.wall_ns, stamp.stream)
        return _HEADER.pack(MAGIC, VERSION, message.kind, *times, len(body)) + body
    except (struct.error, OverflowError, TypeError) as error:
        raise WireError(f"{type(message).__name__}: {error}") from error


def decode(data: bytes) -> Message:
    """The message that the bytes hold; WireError if they hold none."""
    data = bytes(data)
    if len(data) < _HEADER.size:
        raise WireError(f"message of {len(data)} bytes is cut short: expected at least {_HEADER.size}")
    magic, version, kind, sequence, monotonic_ns, wall_ns, stream, body_bytes = _HEADER.unpack_from(data)
    if magic != MAGIC:
        raise WireError(f"magic: expected {MAGIC!r}, found {magic!r}; the sender is not kinestream")
    if version != VERSION:
        raise WireError(f"version: expected {VERSION}, found {version}; bring sender and receiver to the same release")
    decoder = _DECODERS.get(kind)
    if decoder is None:
        raise WireError(f"kind: expected 1 to {max(_DECODERS)}, found {kind}")
    limit = MAX_MESSAGE_BYTES + (MAX_IMAGE_BYTES if kind == Image.kind else 0)
    if len(data) != _HEADER.size + body_bytes or len(data) > limit:
        raise WireError(f"message length: expected {_HEADER.size + body_bytes} bytes, found {len(data)}")
    message = decoder(data[_HEADER.size :])
    message.stamp = Stamp(sequence, monotonic_ns, wall_ns, stream)
    return message


class Keys:
    """The zenoh keys of one robot, or of one character."""

    def __init__(self, namespace: str, robot: str):
        for what, chunks in (("namespace", namespace.split("/")), ("robot", [robot])):
            for chunk in chunks:
                _check_chunk(what, chunk)
        self.prefix = f"{namespace}/{robot}"
        self.action = f"{self.prefix}/act"
        self.plan = f"{self.prefix}/plan"
        self.status = f"{self.prefix}/status"
        self.pose = f"{self.prefix}/pose"
        self.control = f"{self.prefix}/control"
        self.stop = f"{self.prefix}/cmd/estop"

    def observation(self, name: str) -> str:
        """The key of observations called name."""
        return f"{self.prefix}/obs/{_check_chunk('observation name', name)}"

    def command(self, request: Request) -> str:
        """The key of one kind of request."""
        return f"{self.prefix}/cmd/{request.name.lower()}"

    def info(self, name: str) -> str:
        """The key to ask for information in JSON: "skeleton" names a character's joints."""
        return f"{self.prefix}/info/{_check_chunk('information name', name)}"

    def service(self, name: str) -> str:
        """The key to ask for something to be done: "estop" and "rearm"."""
        return f"{self.prefix}/srv/{_check_chunk('service name', name)}"

    def alive(self, node: str) -> str:
        """The liveliness token of a node."""
        return f"{self.prefix}/alive/{_check_chunk('node name', node)}"

    def alive_all(self) -> str:
        """The liveliness tokens of all nodes."""
        return f"{self.prefix}/alive/*"


def new_stream() -> int:
    """A stream number for a sender that begins: 32 random bits, not 0. The runtime then takes its first observation for the
    first of a new stream, whatever an earlier sender of the same name has sent; numbers may begin at 1 again."""
    return secrets.randbits(32) or 1


def next_stream(stream: int) -> int:
    """The stream after this one, for the next episode of the same sender; never 0."""
    return stream % (2**32 - 1) + 1


def open_session(
    connect: Sequence[str] = (),
    listen: Sequence[str] = (),
    mode: str = "peer",
    config_file: Optional[str] = None,
):
    """A zenoh session without multicast, listening only where it is told to.

    A zenoh configuration (JSON5) may say everything else, such as TLS and passwords.
    """
    import json

    import zenoh

    config = zenoh.Config.from_file(str(config_file)) if config_file else zenoh.Config()
    config.insert_json5("mode", json.dumps(mode))
    config.insert_json5("scouting/multicast/enabled", "false")
    config.insert_json5("listen/endpoints", json.dumps(list(listen)))
    config.insert_json5("connect/endpoints", json.dumps(list(connect)))
    retry = {"period_init_ms": 100, "period_max_ms": 2000, "period_increase_factor": 2}
    config.insert_json5("connect/retry", json.dumps(retry))
    return zenoh.open(config)


def _check_chunk(what: str, chunk: str) -> str:
    if not chunk or re.search(r"[/*$?#@\s\x00-\x1f\x7f]", chunk):
        raise WireError(f"{what} {chunk!r}: use letters, digits, '_', '-' and '.'")
    return chunk


def _count(name: str, found: int, limit: int) -> int:
    if not 1 <= found <= limit:
        raise WireError(f"{name}: expected 1 to {limit}, found {found}")
    return found


def _in_unit_interval(values: Sequence[float]) -> None:
    for value in values:
        if not 0.0 <= value <= 1.0:
            raise WireError(f"noise: expected 0 to 1, found {value}")


def _finite(name: str, values: Sequence[float]) -> None:
    for index, value in enumerate(values):
        if not math.isfinite(value):
            raise WireError(f"{name}[{index}]: expected a finite number, found {value}")


def _size(name: str, expected: int, found: int) -> None:
    if expected != found:
        raise WireError(f"{name}: expected {expected}, found {found}")


def _unpack(layout: struct.Struct, body: bytes) -> tuple:
    if len(body) < layout.size:
        raise WireError(f"body of {len(body)} bytes is cut short: expected at least {layout.size}")
    return layout.unpack_from(body)


def _encode_observation(message: Observation) -> bytes:
    dims = _count("dims", len(message.values), MAX_VALUES)
    codes = {"f32": (1, "f"), "f64": (2, "d")}
    if message.element not in codes:
        raise WireError(f"element: expected 'f32' or 'f64', found {message.element!r}")
    code, letter = codes[message.element]
    name = _encode_name(message.name)
    return _OBSERVATION.pack(dims, code, 0, name) + struct.pack(f"<{dims}{letter}", *message.values)


def _encode_name(text: str) -> bytes:
    name = text.encode()
    if not 1 <= len(name) <= 32 or not _plain(text):
        raise WireError("name: expected 1 to 32 bytes of UTF-8 without control characters")
    return name


def _decode_name(name: bytes) -> str:
    try:
        text = name.rstrip(b"\0").decode()
    except UnicodeDecodeError as error:
        raise WireError(f"name: {error}") from error
    if not text or not _plain(text):
        raise WireError("name: expected 1 to 32 bytes of UTF-8 without control characters")
    return text


def _plain(text: str) -> bool:
    return not any(ord(c) < 0x20 or 0x7F <= ord(c) <= 0x9F for c in text)


def _decode_observation(body: bytes) -> Observation:
    dims, code, _, name = _unpack(_OBSERVATION, body)
    _count("dims", dims, MAX_VALUES)
    if code not in (1, 2):
        raise WireError(f"element: expected 1 (f32) or 2 (f64), found {code}")
    _size("body bytes", _OBSERVATION.size + dims * (4, 8)[code - 1], len(body))
    text = _decode_name(name)
    values = list(struct.unpack_from(f"<{dims}{'fd'[code - 1]}", body, _OBSERVATION.size))
    return Observation(text, values, ("f32", "f64")[code - 1])


def _encode_action(message: Action) -> bytes:
    dims = _count("dims", len(message.values), MAX_VALUES)
    _check_action(message)
    fixed = _ACTION.pack(message.chunk, message.position, message.noise, message.flags, dims, 0)
    return fixed + struct.pack(f"<{dims}f", *message.values)


def _decode_action(body: bytes) -> Action:
    chunk, position, noise, flags, dims, _ = _unpack(_ACTION, body)
    _count("dims", dims, MAX_VALUES)
    _size("body bytes", _ACTION.size + dims * 4, len(body))
    message = Action(chunk, position, noise, flags, list(struct.unpack_from(f"<{dims}f", body, _ACTION.size)))
    _check_action(message)
    return message


def _check_action(message: Action) -> None:
    _finite("position", [message.position])
    _in_unit_interval([message.noise])
    _finite("values", message.values)


def _encode_plan(message: Plan) -> bytes:
    horizon, dims = message.horizon, message.dims
    _check_plan_counts(horizon, dims, message.committed, message.levels, message.period_ns)
    _size("level", horizon, len(message.level))
    _size("actions", horizon * dims, len(message.actions))
    _check_plan_arrays(message)
    fixed = _PLAN.pack(
        message.chunk,
        message.observation_sequence,
        message.first_action_ns,
        message.period_ns,
        horizon,
        dims,
        message.committed,
        message.levels,
    )
    arrays = struct.pack(f"<{horizon}f", *message.noise) + struct.pack(f"<{horizon}I", *message.level)
    return fixed + arrays + struct.pack(f"<{horizon * dims}f", *message.actions)


def _decode_plan(body: bytes) -> Plan:
    chunk, observation, first, period, horizon, dims, committed, levels = _unpack(_PLAN, body)
    _check_plan_counts(horizon, dims, committed, levels, period)
    _size("body bytes", _PLAN.size + horizon * 8 + horizon * dims * 4, len(body))
    noise = list(struct.unpack_from(f"<{horizon}f", body, _PLAN.size))
    level = list(struct.unpack_from(f"<{horizon}I", body, _PLAN.size + horizon * 4))
    actions = list(struct.unpack_from(f"<{horizon * dims}f", body, _PLAN.size + horizon * 8))
    message = Plan(chunk, observation, first, period, dims, committed, levels, noise, level, actions)
    _check_plan_arrays(message)
    return message


def _check_plan_counts(horizon: int, dims: int, committed: int, levels: int, period_ns: int) -> None:
    _count("horizon", horizon, MAX_HORIZON)
    _count("dims", dims, MAX_VALUES)
    _count("horizon * dims", horizon * dims, MAX_VALUES)
    if committed > horizon:
        raise WireError(f"committed: expected at most {horizon}, found {committed}")
    _count("levels", levels, 2**32 - 1)
    _count("period_ns", period_ns, 2**64 - 1)


def _check_plan_arrays(message: Plan) -> None:
    _in_unit_interval(message.noise)
    if max(message.level) > message.levels:
        raise WireError(f"level: expected at most {message.levels}, found {max(message.level)}")
    _finite("actions", message.actions)


def _encode_status(message: Status) -> bytes:
    floats = []
    for name in ("latency_p50_us", "latency_p99_us", "score", "coverage"):
        value = getattr(message, name)
        if value is not None:
            _finite(name, [value])
        floats.append(math.nan if value is None else value)
    counters = (message.observations, message.plans, message.actions, message.missed, message.malformed)
    return _STATUS.pack(*counters, *floats, int(message.state), 0)


def _decode_status(body: bytes) -> Status:
    fields = _unpack(_STATUS, body)
    _size("body bytes", _STATUS.size, len(body))
    floats = []
    for name, value in zip(("latency_p50_us", "latency_p99_us", "score", "coverage"), fields[5:9]):
        if math.isinf(value):
            raise WireError(f"{name}: expected a finite number or NaN, found {value}")
        floats.append(None if math.isnan(value) else value)
    try:
        state = RunState(fields[9])
    except ValueError as error:
        raise WireError(f"state: found the unknown code {fields[9]}") from error
    return Status(*fields[:5], *floats, state)


def _encode_command(message: Command) -> bytes:
    _finite("x, y, angle", [message.x, message.y, message.angle])
    return _COMMAND.pack(int(message.request), 0, message.seed, message.x, message.y, message.angle)


def _decode_command(body: bytes) -> Command:
    code, _, seed, x, y, angle = _unpack(_COMMAND, body)
    _size("body bytes", _COMMAND.size, len(body))
    try:
        request = Request(code)
    except ValueError as error:
        raise WireError(f"request: found the unknown code {code}") from error
    _finite("x, y, angle", [x, y, angle])
    return Command(request, seed, x, y, angle)


def _encode_pose(message: Pose) -> bytes:
    _size("root_position", 3, len(message.root_position))
    _size("root_velocity", 3, len(message.root_velocity))
    for rotation in message.rotations:
        _size("numbers of a rotation", 4, len(rotation))
    _check_pose_counts(len(message.rotations), message.period_ns)
    _check_pose(message)
    fixed = _POSE.pack(
        message.frame,
        message.frame_ns,
        message.period_ns,
        len(message.rotations),
        message.contacts,
        message.flags,
        message.phase,
        *message.root_position,
        *message.root_velocity,
        message.yaw_rate,
    )
    return fixed + b"".join(struct.pack("<4f", *rotation) for rotation in message.rotations)


def _decode_pose(body: bytes) -> Pose:
    frame, frame_ns, period_ns, joints, contacts, flags, phase, *root, yaw_rate = _unpack(_POSE, body)
    _check_pose_counts(joints, period_ns)
    _size("body bytes", _POSE.size + joints * 16, len(body))
    rotations = [list(rotation) for rotation in struct.iter_unpack("<4f", body[_POSE.size :])]
    message = Pose(frame, frame_ns, period_ns, contacts, flags, phase, root[:3], root[3:], yaw_rate, rotations)
    _check_pose(message)
    return message


def _check_pose_counts(joints: int, period_ns: int) -> None:
    _count("joints", joints, MAX_JOINTS)
    _count("period_ns", period_ns, 2**64 - 1)


def _check_pose(message: Pose) -> None:
    if not 0.0 <= message.phase <= 1.0:
        raise WireError(f"phase: expected 0 to 1, found {message.phase}")
    _finite("root_position", message.root_position)
    _finite("root_velocity", message.root_velocity)
    _finite("yaw_rate", [message.yaw_rate])
    for index, rotation in enumerate(message.rotations):
        _finite(f"rotations[{index}]", rotation)
        x, y, z, w = rotation
        length = math.sqrt(x * x + y * y + z * z + w * w)
        if abs(length - 1.0) > 1e-3:
            raise WireError(f"rotations[{index}]: expected a quaternion of unit length, found length {length}")


def _encode_control(message: Control) -> bytes:
    _size("velocity", 2, len(message.velocity))
    _size("facing", 2, len(message.facing))
    mode = _control_mode(message.mode)
    _check_point_count(mode, len(message.points))
    _check_control(message)
    fixed = _CONTROL.pack(
        mode, *message.velocity, *message.facing, message.diversity, message.strength, len(message.points)
    )
    points = []
    for point in message.points:
        facing = math.nan if point.facing is None else point.facing
        points.append(struct.pack("<4f", point.time_s, point.x, point.z, facing))
    return fixed + b"".join(points)


def _decode_control(body: bytes) -> Control:
    code, *floats, count = _unpack(_CONTROL, body)
    mode = _control_mode(code)
    _check_point_count(mode, count)
    _size("body bytes", _CONTROL.size + count * 16, len(body))
    points = []
    for *place, facing in struct.iter_unpack("<4f", body[_CONTROL.size :]):
        points.append(PathPoint(*place, None if math.isnan(facing) else facing))
    message = Control(mode, floats[:2], floats[2:4], *floats[4:], points)
    _check_control(message)
    return message


def _control_mode(code: int) -> ControlMode:
    try:
        return ControlMode(code)
    except ValueError as error:
        raise WireError(f"mode: found the unknown code {code}") from error


def _check_point_count(mode: ControlMode, found: int) -> None:
    if mode is ControlMode.PATH:
        _count("points", found, MAX_POINTS)
    else:
        _size("points", 0, found)


def _check_control(message: Control) -> None:
    _finite("velocity", message.velocity)
    _finite("facing", message.facing)
    for name in ("diversity", "strength"):
        value = getattr(message, name)
        if not 0.0 <= value < math.inf:
            raise WireError(f"{name}: expected a finite number of at least 0, found {value}")
    before = None
    for index, point in enumerate(message.points):
        numbers = [point.time_s, point.x, point.z]
        _finite(f"points[{index}]", numbers if point.facing is None else [*numbers, point.facing])
        if point.time_s < 0.0 or (before is not None and point.time_s <= before):
            raise WireError(f"time_s: expected times of at least 0 that rise, found {point.time_s}")
        before = point.time_s


_IMAGE_ENCODINGS = {"rgb8": (1, 3), "bgr8": (2, 3), "mono8": (3, 1), "jpeg": (4, 0)}


def _encode_image(message: Image) -> bytes:
    if message.encoding not in _IMAGE_ENCODINGS:
        raise WireError(f"encoding: expected one of {', '.join(_IMAGE_ENCODINGS)}, found {message.encoding!r}")
    code, pixel = _IMAGE_ENCODINGS[message.encoding]
    data = bytes(message.data)
    _check_image(message.width, message.height, pixel, len(data))
    return _IMAGE.pack(message.width, message.height, code, len(data), _encode_name(message.name)) + data


def _decode_image(body: bytes) -> Image:
    width, height, code, length, name = _unpack(_IMAGE, body)
    encodings = [(word, pixel) for word, (number, pixel) in _IMAGE_ENCODINGS.items() if number == code]
    if not encodings:
        raise WireError(f"encoding: found the unknown code {code}")
    _size("body bytes", _IMAGE.size + length, len(body))
    (encoding, pixel) = encodings[0]
    _check_image(width, height, pixel, length)
    return Image(_decode_name(name), width, height, encoding, body[_IMAGE.size :])


def _check_image(width: int, height: int, pixel: int, length: int) -> None:
    if pixel or width or height:
        _count("width", width, MAX_IMAGE_SIDE)
        _count("height", height, MAX_IMAGE_SIDE)
    _count("data", length, MAX_IMAGE_BYTES)
    if pixel:
        _size("data", width * height * pixel, length)


_ENCODERS = {
    Observation: _encode_observation,
    Action: _encode_action,
    Plan: _encode_plan,
    Status: _encode_status,
    Command: _encode_command,
    Pose: _encode_pose,
    Control: _encode_control,
    Image: _encode_image,
}
_DECODERS = {
    1: _decode_observation,
    2: _decode_action,
    3: _decode_plan,
    4: _decode_status,
    5: _decode_command,
    6: _decode_pose,
    7: _decode_control,
    8: _decode_image,
}
