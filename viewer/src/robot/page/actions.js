// Commands and plan, one chart for each number of the action: past to the left of now, plan to the right.

import { baseLine, prepare } from "./chart.js";

/** Past that is shown, s. */
const PAST_S = 3;
/** How long a limit that has acted stays marked, ms: long enough to be seen. */
const ACTING_MS = 800;
const LIMITS = ["position", "velocity", "acceleration", "jerk", "not_finite"];
/** Half the height of the band around pure noise, in chart heights. */
const BAND = 0.22;

export class Actions {
  /** `container` gets the charts, `noise` is the canvas of the positions' noise. */
  constructor(container, noise) {
    Object.assign(this, { container, noise, rows: [], past: [], robot: null, shown: null });
    this.acted = new Map();
  }

  introduce(robot) {
    this.robot = robot;
    this.past = [];
    this.acted.clear();
    this.shown = null;
    this.rows = Array.from({ length: robot.action_size }, (_, number) => new Row(number, robot));
    // Few numbers have room to be looked at.
    this.container.classList.toggle("few", robot.action_size <= 3);
    this.container.replaceChildren(...this.rows.map(({ element }) => element));
  }

  take(shown) {
    this.shown = shown;
    const now = performance.now();
    for (const name of shown.limiting) this.acted.set(name, now);
    if (!shown.command) return;
    this.past.push({ now, values: shown.command.values });
    while (now - this.past[0].now > 1000 * PAST_S) this.past.shift();
    for (const row of this.rows) row.widen(shown);
  }

  draw(colours) {
    const { shown } = this;
    if (!shown || !this.robot) return;
    const now = performance.now();
    const isActing = (name) => now - (this.acted.get(name) ?? -Infinity) < ACTING_MS;
    for (const name of LIMITS) {
      document.getElementById(`limit-${name}`).parentElement.classList.toggle("acting", isActing(name));
    }
    const { plan } = shown;
    const future = plan ? Math.max(plan.period_s * plan.noise.length, 0.5) : 1;
    for (const row of this.rows) row.draw({ colours, shown, past: this.past, future, now, isActing });
    if (plan) drawNoise(this.noise, plan, colours);
  }
}

/** One number of the action. */
class Row {
  constructor(number, { lower, upper, velocity }) {
    Object.assign(this, { number, low: lower[number], high: upper[number], fastest: velocity[number] });
    /** What is shown where there is no limit: what was seen. */
    this.seen = [Infinity, -Infinity];
    this.element = document.createElement("figure");
    this.element.innerHTML =
      `<figcaption><b>${number}</b><output></output><span class="speed" title="Velocity beside its limit"><i></i></span></figcaption>` +
      `<canvas class="chart" role="img" aria-label="Commands and plan of number ${number} of the action"></canvas>`;
    this.canvas = this.element.querySelector("canvas");
    this.value = this.element.querySelector("output");
    this.speed = this.element.querySelector(".speed");
    this.speed.hidden = !(this.fastest > 0);
  }

  /** Takes what is to have room in the chart. */
  widen({ command, plan }) {
    const take = (value) => {
      if (!Number.isFinite(value)) return;
      this.seen = [Math.min(this.seen[0], value), Math.max(this.seen[1], value)];
    };
    take(command.values[this.number]);
    // What is mostly noise may lie anywhere.
    plan?.actions.forEach((action, k) => plan.noise[k] < 0.5 && take(action[this.number]));
  }

  /** Lowest and highest value of the chart. */
  range() {
    let [low, high] = this.seen;
    // Limits belong into the picture, unless they are so far away that nothing else could be seen.
    const span = Math.max(high - low, 1e-9);
    if (Number.isFinite(this.low) && low - this.low < 4 * span) low = Math.min(low, this.low);
    if (Number.isFinite(this.high) && this.high - high < 4 * span) high = Math.max(high, this.high);
    if (!(high > low)) [low, high] = [low - 0.5, low + 0.5];
    const room = 0.08 * (high - low);
    return [low - room, high + room];
  }

  draw({ colours, shown, past, future, now, isActing }) {
    const { command, plan } = shown;
    const value = command?.values[this.number];
    this.value.textContent = Number.isFinite(value) ? short(value) : "–";
    const speed = Math.abs(command?.velocity[this.number] ?? 0);
    this.speed.firstChild.style.width = `${100 * Math.min(speed / this.fastest, 1)}%`;
    const isAtEdge = value <= this.low || value >= this.high;
    const isFast = this.fastest > 0 && speed > 0.97 * this.fastest;
    this.element.classList.toggle("acting", (isActing("position") && isAtEdge) || (isActing("velocity") && isFast));

    const context = prepare(this.canvas);
    const { clientWidth: width, clientHeight: height } = this.canvas;
    const [low, high] = this.range();
    const middle = (width * PAST_S) / (PAST_S + future);
    const xOf = (seconds) => middle + (seconds < 0 ? (seconds / PAST_S) * middle : (seconds / future) * (width - middle));
    const yOf = (at) => height - ((at - low) / (high - low)) * height;

    context.strokeStyle = colours.bad;
    context.globalAlpha = 0.7;
    context.lineWidth = 1;
    context.setLineDash([4, 4]);
    for (const limit of [this.low, this.high]) {
      if (!Number.isFinite(limit)) continue;
      const y = Math.round(yOf(limit)) + 0.5;
      context.beginPath();
      context.moveTo(0, y);
      context.lineTo(width, y);
      context.stroke();
    }
    context.setLineDash([]);
    context.globalAlpha = 1;
    context.fillStyle = colours.wall;
    context.fillRect(Math.round(middle), 0, 1, height);

    if (plan) this.drawPlan(context, colours, plan, value, { xOf, yOf, height });
    context.strokeStyle = colours.agent;
    context.lineWidth = 1.75;
    context.lineJoin = "round";
    context.beginPath();
    for (const { now: then, values } of past) context.lineTo(xOf((then - now) / 1000), yOf(values[this.number]));
    if (Number.isFinite(value)) context.lineTo(middle, yOf(value));
    context.stroke();
    if (!Number.isFinite(value)) return;
    context.fillStyle = colours.agent;
    context.beginPath();
    context.arc(middle, yOf(value), 3, 0, 2 * Math.PI);
    context.fill();
  }

  drawPlan(context, colours, plan, value, { xOf, yOf, height }) {
    const ahead = plan.actions
      .map((action, k) => ({ at: k * plan.period_s - plan.age_s, y: action[this.number], noise: plan.noise[k] }))
      .filter(({ at, y }) => at >= 0 && Number.isFinite(y));
    let from = Number.isFinite(value) ? [xOf(0), yOf(value)] : null;
    for (const { at, y, noise } of ahead) {
      const [x, top] = [xOf(at), Math.min(Math.max(yOf(y), 2), height - 2)];
      const pitch = Math.max(xOf(at + plan.period_s) - x, 1);
      context.fillStyle = context.strokeStyle = colours.plan;
      context.globalAlpha = 0.16 * noise;
      context.fillRect(x - pitch / 2, top - BAND * noise * height, pitch, 2 * BAND * noise * height);
      if (from) {
        context.globalAlpha = 0.85 * (1 - noise) ** 1.5;
        context.lineWidth = 1.5;
        context.beginPath();
        context.moveTo(...from);
        context.lineTo(x, top);
        context.stroke();
      }
      context.globalAlpha = 0.25 + 0.75 * (1 - noise) ** 2;
      context.beginPath();
      context.arc(x, top, 1.2 + 1.3 * (1 - noise), 0, 2 * Math.PI);
      context.fill();
      from = [x, top];
    }
    context.globalAlpha = 1;
  }
}

/** A number in a few digits, whatever its size. */
function short(value) {
  const size = Math.abs(value);
  return size >= 1e5 || (size > 0 && size < 1e-3) ? value.toExponential(1) : value.toFixed(size < 10 ? 3 : size < 1000 ? 1 : 0);
}

function drawNoise(canvas, { noise }, colours) {
  const context = prepare(canvas);
  const { clientWidth: width, clientHeight: height } = canvas;
  baseLine(context, width, height, colours);
  const pitch = Math.min(width / Math.max(noise.length, 1), 24);
  context.fillStyle = colours.plan;
  context.globalAlpha = 0.9;
  noise.forEach((share, i) => {
    const tall = Math.max((share ?? 0) * (height - 4), 2);
    context.fillRect(i * pitch, height - 1 - tall, Math.max(pitch - 1.5, 1), tall);
  });
  context.globalAlpha = 1;
}
