// How the runtime fares: rung, lateness, limits, scheduling, nodes.

import { baseLine, prepare } from "./chart.js";
import { Nodes } from "./nodes.js";
import { count, element, fixed, NONE, write } from "./text.js";

const RUNGS = {
  waiting: "Waiting",
  running: "Running",
  continuing: "Continuing",
  holding: "Holding",
  safe_stop: "Safe stop",
  emergency_stop: "Emergency stop",
};
/** Rungs that are as they should be. */
const QUIET = new Set(["waiting", "running", "continuing"]);
const LIMITS = ["position", "velocity", "acceleration", "jerk", "not_finite"];
const PERCENTILES = ["p50", "p99", "p999", "max"];
/** Height of the histogram's scale, pixels. */
const SCALE = 15;

function microseconds(value) {
  if (!Number.isFinite(value)) return NONE;
  const [scaled, unit] = value < 1e3 ? [value, "µs"] : value < 1e6 ? [value / 1e3, "ms"] : [value / 1e6, "s"];
  return `${scaled.toFixed(scaled < 10 && scaled % 1 ? 1 : 0)} ${unit}`;
}

function passed(seconds) {
  if (!Number.isFinite(seconds)) return "";
  if (seconds < 60) return `for ${Math.floor(seconds)} s`;
  if (seconds < 3600) return `for ${Math.floor(seconds / 60)} min`;
  return `for ${Math.floor(seconds / 3600)} h ${Math.floor((seconds / 60) % 60)} min`;
}

export class Health {
  constructor() {
    this.health = null;
    this.stale = true;
    this.nodes = new Nodes(element("nodes"));
  }

  take(frame) {
    this.health = frame.health;
    this.nodes.take(frame.nodes);
    this.stale = true;
  }

  /** Everything is drawn again at the next `draw`, as when a colour or a size changed. */
  refresh() {
    this.stale = true;
  }

  draw(colours) {
    if (!this.stale) return;
    this.stale = false;
    const { health } = this;
    this.drawAlarm();
    if (!health) return;

    element("rung").dataset.rung = health.rung;
    write("rung", RUNGS[health.rung] ?? String(health.rung));
    write("rung-time", passed(health.rung_since_s));
    write("rung-reason", health.reason ?? "");
    const entered = health.rung_counts;
    write("holds", count(entered?.holding));
    write("stops", count(entered?.safe_stop + entered?.emergency_stop));
    write("longest", fixed(health.longest_without_command_ms, 0, " ms"));

    const { control, limits } = health;
    write("control-rate", `at ${fixed(control?.rate_hz, 0, " Hz")}`);
    for (const name of PERCENTILES) write(`late-${name}`, microseconds(control?.lateness_us?.[name]));
    drawHistogram(element("lateness"), control?.lateness_buckets ?? [], colours);

    write("limited", limits?.limited ? `${count(limits.limited)} commands changed` : "none needed");
    for (const name of LIMITS) {
      write(`limit-${name}`, count(limits?.[name]));
      element(`limit-${name}`).classList.toggle("some", limits?.[name] > 0);
    }

    const granted = control?.scheduling;
    const priority = granted?.priority ? ` ${granted.priority}` : "";
    write("scheduling", granted?.policy ? `${granted.policy}${priority}` : NONE);
    write("cores", granted?.cpus?.length ? granted.cpus.slice(0, 8).join(", ") : "any");
    write("memory", granted?.memory_locked ? "locked" : "not locked");
    write("missed", control ? `${count(control.missed)} of ${count(control.ticks + control.missed)}` : NONE);
    element("missed").classList.toggle("some", control?.missed > 0);
    this.nodes.draw();
  }

  /** What keeps the robot from following its plan stands on top of the page, where that has a place for it. */
  drawAlarm() {
    const { health } = this;
    const [all, alarm] = [element("health"), element("alarm")];
    if (all) all.hidden = !health;
    if (!alarm) return;
    alarm.hidden = !health || QUIET.has(health.rung);
    if (!health) return;
    alarm.dataset.rung = health.rung;
    write("alarm", RUNGS[health.rung] ?? String(health.rung));
  }
}

/** Buckets `[upper bound in µs, count]`: bounds rise by decades, heights with the logarithm of the count. */
function drawHistogram(canvas, buckets, colours) {
  const context = prepare(canvas);
  const { clientWidth: width } = canvas;
  const height = canvas.clientHeight - SCALE;
  baseLine(context, width, height, colours);
  if (buckets.length === 0) return;
  const pitch = width / buckets.length;
  const tallest = Math.log1p(Math.max(1, ...buckets.map(([, number]) => number)));
  context.font = `10px ${getComputedStyle(canvas).fontFamily}`;
  context.textBaseline = "bottom";
  let written = -Infinity;
  buckets.forEach(([bound, number], i) => {
    if (number > 0) {
      const tall = Math.max((Math.log1p(number) / tallest) * (height - 4), 2);
      context.fillStyle = colours.agent;
      context.globalAlpha = 0.9;
      context.fillRect(i * pitch, height - 1 - tall, Math.max(pitch - 1.5, 1), tall);
      context.globalAlpha = 1;
    }
    const decade = Math.log10(bound);
    if (Math.abs(decade - Math.round(decade)) > 1e-9) return;
    // The bound is the bucket's right edge; the label stands below it, within the picture.
    const label = microseconds(bound);
    const wide = context.measureText(label).width;
    const left = Math.max(0, Math.min((i + 1) * pitch - wide / 2, width - wide));
    if (left < written + 3) return;
    written = left + wide;
    context.fillStyle = colours.muted;
    context.fillText(label, left, canvas.clientHeight);
  });
}
