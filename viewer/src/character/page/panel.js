// The measurements beside the scene.

import { baseLine, prepare } from "./chart.js";
import { Nodes } from "./nodes.js";
import { count, element, fixed, hertz, milliseconds, write } from "./text.js";

/** Measurements that are kept for the charts. */
const LATENCIES = 150;
const SPEEDS = 300;
const STATES = {
  starting: "Starting",
  running: "Running",
  idle: "Standing",
  paused: "Paused",
  finished: "Finished",
};
const MODES = { stick: "by stick", path: "along a path" };
const FEET = ["left-heel", "left-toe", "right-heel", "right-toe"];
const FEET_NAMES = ["left heel", "left toes", "right heel", "right toes"];
/** Text changes at most this often, so that it can be read, ms. */
const TEXT_MS = 120;

export class Panel {
  constructor() {
    this.nodes = new Nodes(element("nodes"));
    this.frame = null;
    this.latencies = [];
    this.speeds = [];
    this.stale = true;
    this.writtenAt = -Infinity;
    this.drawn = { since: 0, pictures: 0, rate: NaN };
  }

  take(frame) {
    const before = this.frame;
    this.frame = frame;
    this.stale = true;
    this.nodes.take(frame.nodes);
    if (before && frame.frame === before.frame) return;
    if (before && frame.frame < before.frame) this.speeds = [];
    push(this.speeds, [frame.motion.speed, askedSpeed(frame)], SPEEDS);
    if (before?.latency.last_ms !== frame.latency.last_ms) push(this.latencies, frame.latency.last_ms, LATENCIES);
  }

  /** Everything is drawn again at the next `draw`, as when a colour or a size changed. */
  refresh() {
    this.stale = true;
    this.writtenAt = -Infinity;
  }

  /** `link` is "connecting", "open", "lost" or "ended". */
  draw(now, colours, link) {
    this.#count(now);
    const lost = link === "lost" || link === "ended";
    const state = lost ? "lost" : (this.frame?.state ?? "starting");
    element("state").dataset.state = state;
    write("state", lost ? "Disconnected" : (STATES[state] ?? state));
    for (const id of ["pause", "slow", "reset", "new-seed"]) element(id).disabled = link !== "open" || !this.frame;

    const { frame } = this;
    if (!frame || !this.stale) return;
    FEET.forEach((foot, i) => element(foot).classList.toggle("bears", frame.contacts[i] && !lost));
    if (now - this.writtenAt < TEXT_MS) return;
    this.writtenAt = now;
    this.stale = false;
    const bearing = FEET_NAMES.filter((_, i) => frame.contacts[i]).join(", ") || "none";
    element("contacts").setAttribute("aria-label", `Contacts with the floor: ${bearing}`);
    write("pause-label", frame.state === "paused" ? "Resume" : "Pause");
    element("slow").setAttribute("aria-pressed", String(frame.pace < 1));

    const { motion, rates, latency, control } = frame;
    write("mode", MODES[control.mode] ?? String(control.mode));
    write("speed", fixed(motion.speed, 2));
    write("asked", `${fixed(askedSpeed(frame), 2, " m/s")}${control.clamped ? " (clamped)" : ""}`);
    element("asked").classList.toggle("some", control.clamped);
    write("heading", fixed(motion.heading_error_deg, 1, "°"));
    write("sliding", fixed(motion.foot_sliding_cm, 2, " cm per frame"));
    write("p50", milliseconds(latency.p50_ms));
    write("p99", milliseconds(latency.p99_ms));
    write("generated", hertz(rates.generated_per_second));
    write("published", hertz(rates.published_per_second));
    write("drawn", hertz(this.drawn.rate));
    for (const name of ["clamped", "refused"]) {
      write(name, count(motion[name]));
      element(name).classList.toggle("some", motion[name] > 0);
    }
    // Seeds are names, not amounts: no separators.
    write("seed", String(frame.seed));
    write("frame", count(frame.frame));
    write("time", fixed(frame.time, 1, " s"));
    this.nodes.draw();

    drawSpeeds(element("speeds"), this.speeds, colours);
    drawLatencies(element("latency"), this.latencies, latency, colours);
  }

  #count(now) {
    const { drawn } = this;
    drawn.pictures += 1;
    if (now - drawn.since < 1000) return;
    drawn.rate = drawn.since > 0 ? (1000 * drawn.pictures) / (now - drawn.since) : NaN;
    Object.assign(drawn, { since: now, pictures: 0 });
  }
}

const askedSpeed = (frame) => Math.hypot(...frame.control.velocity);

function push(list, value, most) {
  list.push(value);
  if (list.length > most) list.shift();
}

/** The speed as a line, the speed asked for as a filled step behind it. */
function drawSpeeds(canvas, speeds, colours) {
  const context = prepare(canvas);
  const { clientWidth: width, clientHeight: height } = canvas;
  baseLine(context, width, height, colours);
  if (speeds.length < 2) return;
  const top = 1.1 * Math.max(1.2, ...speeds.flat().filter(Number.isFinite));
  const xOf = (i) => width - ((speeds.length - 1 - i) * width) / (SPEEDS - 1);
  const yOf = (speed) => height - 1 - (speed / top) * (height - 4);
  context.beginPath();
  context.moveTo(xOf(0), height - 1);
  speeds.forEach(([, asked], i) => context.lineTo(xOf(i), yOf(asked)));
  context.lineTo(width, height - 1);
  context.fillStyle = colours.asked;
  context.globalAlpha = 0.22;
  context.fill();
  context.globalAlpha = 1;
  stroke(context, speeds.map(([speed], i) => [xOf(i), yOf(speed)]), colours.predicted);
}

/** Recent latencies, the newest at the right, with the median as a thin line. */
function drawLatencies(canvas, values, { p50_ms: median, p99_ms: high }, colours) {
  const context = prepare(canvas);
  const { clientWidth: width, clientHeight: height } = canvas;
  baseLine(context, width, height, colours);
  if (values.length < 2) return;
  const top = 1.1 * Math.max(...values, Number.isFinite(high) ? high : 0) || 1;
  const xOf = (i) => width - ((values.length - 1 - i) * width) / (LATENCIES - 1);
  const yOf = (value) => height - 1 - (value / top) * (height - 5);
  if (Number.isFinite(median)) {
    context.fillStyle = colours.wall;
    context.fillRect(0, Math.round(yOf(median)), width, 1);
  }
  stroke(context, values.map((value, i) => [xOf(i), yOf(value)]), colours.predicted);
}

function stroke(context, places, colour) {
  context.beginPath();
  for (const [x, y] of places) context.lineTo(x, y);
  context.strokeStyle = colour;
  context.lineWidth = 1.5;
  context.lineJoin = "round";
  context.stroke();
}
