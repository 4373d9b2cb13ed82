// The measurements beside the table.

import { baseLine, prepare } from "./chart.js";
import { clamp } from "./motion.js";
import { count, element, fixed, hertz, milliseconds, write } from "./text.js";

const LATENCIES = 150;
const STATES = {
  starting: "Starting",
  running: "Running",
  held: "You hold the T",
  paused: "Paused",
  finished: "Finished",
};

/** Rungs that a person leaves by re-arming. */
const STOPPED = new Set(["safe_stop", "emergency_stop"]);

export class Panel {
  constructor() {
    this.latencies = [];
    this.chunk = null;
    this.frame = null;
    this.stale = true;
  }

  take(frame) {
    this.frame = frame;
    this.stale = true;
    const { plan, latency } = frame;
    if (plan.chunk !== this.chunk) {
      if (plan.chunk < this.chunk) this.latencies = [];
      this.chunk = plan.chunk;
      if (plan.actions.length > 0 && Number.isFinite(latency.last_ms)) {
        this.latencies.push(latency.last_ms);
        if (this.latencies.length > LATENCIES) this.latencies.shift();
      }
    }
  }

  /** Charts and numbers are drawn again at the next `draw`, as when a colour or a size changed. */
  refresh() {
    this.stale = true;
  }

  /** `link` is "connecting", "open", "lost" or "ended". */
  draw(colours, link) {
    const lost = link === "lost" || link === "ended";
    const state = lost ? "lost" : (this.frame?.state ?? "starting");
    element("state").dataset.state = state;
    write("state", lost ? "Disconnected" : (STATES[state] ?? state));
    for (const id of ["pause", "reset", "new-seed"]) element(id).disabled = link !== "open" || !this.frame;

    element("stop").hidden = !this.frame?.has_stop;
    element("stop").disabled = lost;
    element("rearm").hidden = !this.frame?.has_stop || !STOPPED.has(this.frame.health?.rung);
    element("rearm").disabled = link !== "open";

    const { frame } = this;
    if (!frame || !this.stale) return;
    this.stale = false;
    write("pause-label", frame.state === "paused" ? "Resume" : "Pause");

    write("reward", fixed(frame.reward, 2));
    write("best", fixed(frame.best_reward, 3));
    write("coverage", fixed(100 * frame.coverage, 1, " %"));
    element("success").hidden = !frame.success;
    element("reward-bar").style.width = `${100 * clamp(frame.reward ?? 0, 0, 1)}%`;
    element("best-mark").style.left = `${100 * clamp(frame.best_reward ?? 0, 0, 1)}%`;

    write("episode", count(frame.episode));
    // Seeds are names, not amounts: no separators.
    write("seed", String(frame.seed));
    write("step", count(frame.step));
    write("time", fixed(frame.time, 1, " s"));

    write("p50", milliseconds(frame.latency.p50_ms));
    write("p99", milliseconds(frame.latency.p99_ms));
    write("evaluations", fixed(frame.latency.evaluations_per_action, frame.latency.evaluations_per_action % 1 ? 2 : 0));
    write("plan-rate", hertz(frame.rates.plans_per_second));
    write("command-rate", hertz(frame.rates.commands_per_second));
    // With a runtime behind the page, its health says so.
    if (!frame.health) write("missed", count(frame.missed));

    const { history, plan } = frame;
    const mean = history.reduce((sum, score) => sum + score, 0) / history.length;
    write("mean", history.length ? `mean ${fixed(mean, 2)} of ${history.length}` : "none yet");
    write("positions", plan.noise.length ? `${plan.noise.length} positions, ${plan.committed} committed` : "no plan yet");

    drawBars(element("history"), history.slice(-40), 40, colours, (i, n) => [i === n - 1 ? colours.goal : colours.block, 0.9]);
    drawBars(element("ladder"), plan.noise, plan.noise.length, colours, (i) => [colours.plan, i < plan.current ? 0.25 : 0.9]);
    drawLine(element("latency"), this.latencies, frame.latency, colours);
  }
}

/** Bars of 0 to 1 over a base line, as many places wide as `places`; `look` gives colour and opacity of one. */
function drawBars(canvas, values, places, colours, look) {
  const context = prepare(canvas);
  const { clientWidth: width, clientHeight: height } = canvas;
  baseLine(context, width, height, colours);
  const pitch = Math.min(width / Math.max(places, 1), 24);
  const bar = Math.max(pitch - Math.max(1.5, 0.22 * pitch), 1);
  values.forEach((value, i) => {
    const share = clamp(value ?? 0, 0, 1);
    const tall = Math.max(share * (height - 4), 2);
    [context.fillStyle, context.globalAlpha] = look(i, values.length);
    context.beginPath();
    context.roundRect(i * pitch, height - 1 - tall, bar, tall, [Math.min(2, bar / 2), Math.min(2, bar / 2), 0, 0]);
    context.fill();
  });
}

/** Recent latencies, the newest at the right, with the median as a thin line. */
function drawLine(canvas, values, { p50_ms: median, p99_ms: high }, colours) {
  const context = prepare(canvas);
  const { clientWidth: width, clientHeight: height } = canvas;
  baseLine(context, width, height, colours);
  if (values.length < 2) return;
  const top = 1.1 * Math.max(...values, Number.isFinite(high) ? high : 0) || 1;
  const right = width - 4;
  const xOf = (i) => right - ((values.length - 1 - i) * right) / (LATENCIES - 1);
  const yOf = (value) => height - 1 - (value / top) * (height - 5);
  if (Number.isFinite(median)) {
    context.fillStyle = colours.wall;
    context.fillRect(0, Math.round(yOf(median)), width, 1);
  }
  context.beginPath();
  values.forEach((value, i) => context.lineTo(xOf(i), yOf(value)));
  context.strokeStyle = colours.agent;
  context.lineWidth = 1.5;
  context.lineJoin = "round";
  context.stroke();
  context.beginPath();
  context.arc(right, yOf(values.at(-1)), 2.5, 0, 2 * Math.PI);
  context.fillStyle = colours.agent;
  context.fill();
}
