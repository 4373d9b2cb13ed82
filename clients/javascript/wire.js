// Reads and writes kinestream's wire format, version 1 (docs/WIRE.md).
//
// Messages are plain objects with the names of that page: `{ kind: "pose", stamp, frame, ... }`. Whole numbers of 64 bits
// are BigInt, arrays of numbers are arrays, a status' unknown numbers are NaN. Reading throws WireError, which says what
// was expected and what was found, and nothing else, whatever the bytes.

const MAGIC = 0x54534e4b;
const VERSION = 1;
const HEADER_BYTES = 40;
/** Longest message, bytes. */
export const MAX_BYTES = 524_368;
/** Longest picture, bytes. */
export const MAX_IMAGE_BYTES = 16 * 2 ** 20;
const MAX_IMAGE_SIDE = 16_384;
const MAX_VALUES = 65_536;
const MAX_HORIZON = 4_096;
const MAX_JOINTS = 1_024;
const MAX_POINTS = 256;
const NAME_BYTES = 32;
const MAX_U32 = 2 ** 32 - 1;

export const STATES = ["starting", "waiting", "running", "paused", "holding", "stopped", "fault"];
/** By code; there is none for 0. */
export const REQUESTS = [null, "reset", "pause", "resume", "stop", "move_block", "move_agent", "release_agent"];
export const MODES = ["stick", "path"];
/** By code, with the bytes of a pixel; there is none for 0. */
const ENCODINGS = [null, ["rgb8", 3], ["bgr8", 3], ["mono8", 1], ["jpeg", 0]];

/** Bytes that are no message, or a message that the format cannot hold. */
export class WireError extends Error {
  name = "WireError";
}

/** The message that an ArrayBuffer or a Uint8Array holds. */
export function decode(data) {
  const bytes = data instanceof Uint8Array ? data : new Uint8Array(data);
  const length = bytes.byteLength;
  if (length < HEADER_BYTES) {
    throw new WireError(`message of ${length} bytes is cut short: expected at least ${HEADER_BYTES}`);
  }
  const fields = new Reader(bytes);
  if (fields.u32() !== MAGIC) throw new WireError("magic: expected KNST, found other bytes; the sender is not kinestream");
  const version = fields.u16();
  if (version !== VERSION) {
    throw new WireError(`version: expected ${VERSION}, found ${version}; bring sender and receiver to the same release`);
  }
  const code = fields.u16();
  const [kind, pass] = KINDS[code] ?? [];
  if (!kind) throw new WireError(`kind: expected 1 to ${KINDS.length - 1}, found ${code}`);
  const stamp = stampOf(fields, {});
  const body = fields.u32();
  if (length !== HEADER_BYTES + body || length > MAX_BYTES + (kind === "image" ? MAX_IMAGE_BYTES : 0)) {
    throw new WireError(`message length: expected ${HEADER_BYTES + body} bytes, found ${length}`);
  }
  const message = { kind, stamp };
  pass(fields, message);
  if (fields.at !== length) throw new WireError(`message length: expected ${fields.at} bytes, found ${length}`);
  return message;
}

/** The bytes of a message, as a Uint8Array. */
export function encode(message) {
  const code = KINDS.findIndex((known) => known?.[0] === message.kind);
  if (code < 0) throw new WireError(`kind: found the unknown word ${message.kind}`);
  const fields = new Writer();
  fields.u32(MAGIC);
  fields.u16(VERSION);
  fields.u16(code);
  stampOf(fields, { ...message.stamp });
  fields.u32(0);
  // A copy: what is passed is assigned.
  KINDS[code][1](fields, { ...message });
  return fields.finished();
}

/** An empty place in time, to be filled in. */
export const stamp = (given = {}) => ({ sequence: 0n, monotonic_ns: 0n, wall_ns: 0n, stream: 0, ...given });

// The fields of each kind, in their order: the same lines read (a Reader returns what it found and ignores its argument)
// and write (a Writer returns its argument), so that the two cannot differ.

function stampOf(f, m) {
  m.sequence = f.u64(m.sequence);
  m.monotonic_ns = f.u64(m.monotonic_ns);
  m.wall_ns = f.u64(m.wall_ns);
  m.stream = f.u32(m.stream);
  return m;
}

function observation(f, m) {
  const dims = count("dims", f.u32(m.values?.length), MAX_VALUES);
  const code = f.u16({ f32: 1, f64: 2 }[m.element]);
  m.element = [null, "f32", "f64"][code];
  if (!m.element) throw new WireError(`element: expected 1 (f32) or 2 (f64), found ${code}`);
  f.u16(0);
  m.name = f.text(m.name, NAME_BYTES);
  m.values = f.list(dims, m.element, m.values);
}

function action(f, m) {
  m.chunk = f.u64(m.chunk);
  m.position = finite("position", f.f64(m.position));
  m.noise = within("noise", f.f32(m.noise), 0, 1);
  m.flags = f.u32(m.flags);
  const dims = count("dims", f.u32(m.values?.length), MAX_VALUES);
  f.u32(0);
  m.values = allFinite("values", f.list(dims, "f32", m.values));
}

function plan(f, m) {
  m.chunk = f.u64(m.chunk);
  m.observation_sequence = f.u64(m.observation_sequence);
  m.first_action_ns = f.u64(m.first_action_ns);
  m.period_ns = period(f.u64(m.period_ns));
  const horizon = count("horizon", f.u32(m.noise?.length), MAX_HORIZON);
  m.dims = count("dims", f.u32(m.dims), MAX_VALUES);
  count("horizon * dims", horizon * m.dims, MAX_VALUES);
  m.committed = within("committed", f.u32(m.committed), 0, horizon);
  m.levels = count("levels", f.u32(m.levels), MAX_U32);
  m.noise = f.list(horizon, "f32", m.noise);
  m.level = f.list(horizon, "u32", m.level);
  m.noise.forEach((noise) => within("noise", noise, 0, 1));
  m.level.forEach((level) => within("level", level, 0, m.levels));
  m.actions = allFinite("actions", f.list(horizon * m.dims, "f32", m.actions));
}

function status(f, m) {
  for (const name of ["observations", "plans", "actions", "missed", "malformed"]) m[name] = f.u64(m[name]);
  for (const name of ["latency_p50_us", "latency_p99_us", "score", "coverage"]) {
    m[name] = f.f64(m[name]);
    if (Math.abs(m[name]) === Infinity) throw new WireError(`${name}: expected a finite number or NaN, found ${m[name]}`);
  }
  m.state = word(f, "state", m.state, STATES);
  f.u32(0);
}

function command(f, m) {
  m.request = word(f, "request", m.request, REQUESTS);
  f.u32(0);
  m.seed = f.u64(m.seed ?? 0n);
  for (const name of ["x", "y", "angle"]) m[name] = finite(name, f.f64(m[name] ?? 0));
}

function pose(f, m) {
  m.frame = f.u64(m.frame);
  m.frame_ns = f.u64(m.frame_ns);
  m.period_ns = period(f.u64(m.period_ns));
  const joints = count("joints", f.u32(m.rotations?.length), MAX_JOINTS);
  m.contacts = f.u32(m.contacts);
  m.flags = f.u32(m.flags);
  m.phase = within("phase", f.f32(m.phase), 0, 1);
  m.root_position = allFinite("root_position", f.list(3, "f64", m.root_position));
  m.root_velocity = allFinite("root_velocity", f.list(3, "f32", m.root_velocity));
  m.yaw_rate = finite("yaw_rate", f.f32(m.yaw_rate));
  m.rotations = Array.from({ length: joints }, (_, joint) => {
    const rotation = f.list(4, "f32", m.rotations?.[joint]);
    const length = Math.hypot(...rotation);
    // Written so that NaN is refused.
    if (!(Math.abs(length - 1) <= 1e-3)) {
      throw new WireError(`rotations[${joint}]: expected a quaternion of unit length, found length ${length}`);
    }
    return rotation;
  });
}

function control(f, m) {
  m.mode = word(f, "mode", m.mode, MODES);
  m.velocity = allFinite("velocity", f.list(2, "f32", m.velocity));
  m.facing = allFinite("facing", f.list(2, "f32", m.facing));
  m.diversity = within("diversity", f.f32(m.diversity), 0, Number.MAX_VALUE);
  m.strength = within("strength", f.f32(m.strength), 0, Number.MAX_VALUE);
  const points = f.u32(m.points?.length ?? 0);
  if (m.mode === "path") count("points", points, MAX_POINTS);
  else if (points !== 0) throw new WireError(`points: expected 0, found ${points}`);
  let before = -Infinity;
  m.points = Array.from({ length: points }, (_, i) => {
    const given = m.points?.[i] ?? {};
    const [time_s, x, z] = allFinite(`points[${i}]`, f.list(3, "f32", [given.time_s, given.x, given.z]));
    const facing = f.f32(given.facing ?? NaN);
    if (!Number.isNaN(facing)) finite(`points[${i}].facing`, facing);
    if (time_s < 0 || time_s <= before) throw new WireError(`time_s: expected times of at least 0 that rise, found ${time_s}`);
    before = time_s;
    return { time_s, x, z, facing: Number.isNaN(facing) ? null : facing };
  });
}

function image(f, m) {
  m.width = f.u32(m.width);
  m.height = f.u32(m.height);
  m.encoding = word(f, "encoding", m.encoding, ENCODINGS.map((known) => known?.[0]));
  const pixel = ENCODINGS.find((known) => known?.[0] === m.encoding)[1];
  if (pixel || m.width || m.height) for (const side of ["width", "height"]) count(side, m[side], MAX_IMAGE_SIDE);
  const length = count("data", f.u32(m.data?.length), MAX_IMAGE_BYTES);
  if (pixel) within("data", length, m.width * m.height * pixel, m.width * m.height * pixel);
  m.name = f.text(m.name, NAME_BYTES);
  m.data = f.bytes(length, m.data);
}

/** By code. */
const KINDS = [
  null,
  ["observation", observation],
  ["action", action],
  ["plan", plan],
  ["status", status],
  ["command", command],
  ["pose", pose],
  ["control", control],
  ["image", image],
];

function within(name, found, least, most) {
  // Written so that NaN is refused.
  if (!(found >= least && found <= most)) throw new WireError(`${name}: expected ${least} to ${most}, found ${found}`);
  return found;
}

const count = (name, found, most) => within(name, found, 1, most);

function period(found) {
  if (found < 1n) throw new WireError("period_ns: expected at least 1, found 0");
  return found;
}

function finite(name, found) {
  if (!Number.isFinite(found)) throw new WireError(`${name}: expected a finite number, found ${found}`);
  return found;
}

function allFinite(name, found) {
  found.forEach((number, i) => finite(`${name}[${i}]`, number));
  return found;
}

function word(f, name, given, words) {
  const code = f.u32(Math.max(words.indexOf(given ?? ""), 0));
  const read = words[code];
  if (!read || (given !== undefined && read !== given)) {
    throw new WireError(`${name}: found the unknown ${given === undefined ? `code ${code}` : `word ${given}`}`);
  }
  return read;
}

/** Bytes of a number, and the methods of DataView without "get" and "set". */
const NUMBERS = {
  u16: [2, "Uint16"],
  u32: [4, "Uint32"],
  u64: [8, "BigUint64"],
  f32: [4, "Float32"],
  f64: [8, "Float64"],
};

class Reader {
  at = 0;

  constructor(bytes) {
    this.data = bytes;
    this.view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  u16 = () => this.#number("u16");
  u32 = () => this.#number("u32");
  u64 = () => this.#number("u64");
  f32 = () => this.#number("f32");
  f64 = () => this.#number("f64");

  list(length, type) {
    this.#need(length * NUMBERS[type][0]);
    return Array.from({ length }, () => this.#number(type));
  }

  bytes(length) {
    this.#need(length);
    this.at += length;
    return this.data.slice(this.at - length, this.at);
  }

  text(_, bytes) {
    this.#need(bytes);
    const field = this.data.subarray(this.at, this.at + bytes);
    this.at += bytes;
    let length = bytes;
    while (length > 0 && field[length - 1] === 0) length -= 1;
    let text = "";
    try {
      text = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(field.subarray(0, length));
    } catch {
      // Refused below, as an empty one is.
    }
    return checkedName(text, bytes);
  }

  #number(type) {
    const [bytes, method] = NUMBERS[type];
    this.#need(bytes);
    const value = this.view[`get${method}`](this.at, true);
    this.at += bytes;
    return value;
  }

  #need(bytes) {
    const length = this.data.byteLength;
    if (length - this.at < bytes) {
      throw new WireError(`message of ${length} bytes is cut short: expected at least ${this.at + bytes}`);
    }
  }
}

class Writer {
  at = 0;
  view = new DataView(new ArrayBuffer(1024));

  u16 = (value) => this.#number("u16", value);
  u32 = (value) => this.#number("u32", value);
  u64 = (value) => this.#number("u64", value);
  f32 = (value) => this.#number("f32", value);
  f64 = (value) => this.#number("f64", value);

  list(length, type, values) {
    if (values?.length !== length) throw new WireError(`count of values: expected ${length}, found ${values?.length}`);
    return Array.from(values, (value) => this.#number(type, value));
  }

  bytes(length, value) {
    this.#room(length);
    new Uint8Array(this.view.buffer).set(value, this.at);
    this.at += length;
    return value;
  }

  text(value, bytes) {
    const field = new TextEncoder().encode(checkedName(value, bytes));
    this.#room(bytes);
    new Uint8Array(this.view.buffer).set(field, this.at);
    this.at += bytes;
    return value;
  }

  /** All that was written, with the length of the body in the header. */
  finished() {
    this.view.setUint32(HEADER_BYTES - 4, this.at - HEADER_BYTES, true);
    return new Uint8Array(this.view.buffer, 0, this.at);
  }

  #number(type, value) {
    const [bytes, method] = NUMBERS[type];
    const isWhole = type.startsWith("u");
    const most = 2n ** BigInt(8 * bytes) - 1n;
    if (typeof value !== (type === "u64" ? "bigint" : "number") || (isWhole && !(value >= 0 && value <= most))) {
      throw new WireError(`expected a number ${type}${type === "u64" ? " (BigInt)" : ""}, found ${value}`);
    }
    if (isWhole && type !== "u64" && !Number.isInteger(value)) throw new WireError(`expected a whole number, found ${value}`);
    this.#room(bytes);
    this.view[`set${method}`](this.at, value, true);
    this.at += bytes;
    return value;
  }

  #room(bytes) {
    if (this.at + bytes <= this.view.byteLength) return;
    const larger = new Uint8Array(2 * this.view.byteLength + bytes);
    larger.set(new Uint8Array(this.view.buffer));
    this.view = new DataView(larger.buffer);
  }
}

function checkedName(name, bytes) {
  const length = new TextEncoder().encode(name ?? "").length;
  if (length < 1 || length > bytes || /[\u0000-\u001f\u007f-\u009f]/.test(name)) {
    throw new WireError(`name: expected 1 to ${bytes} bytes of UTF-8 without control characters`);
  }
  return name;
}
