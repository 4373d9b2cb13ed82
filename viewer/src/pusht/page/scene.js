// Draws the table: goal, T, agent, and the plan with its noise. Units are the simulator's pixels.

import { prepare } from "./chart.js";
import { gaussian } from "./motion.js";

export const SIDE = 512;
export const AGENT_RADIUS = 15;
const WALL_NEAR = 5;
const WALL_FAR = 506;
const WALL_RADIUS = 2;

/** Outline of the T in its own frame; the origin is the middle of the bar's outer edge. */
const OUTLINE = [[-60, 0], [60, 0], [60, 30], [15, 30], [15, 120], [-15, 120], [-15, 30], [-60, 30]];
/** Its centre of gravity as the simulator sets it; turning by hand is about this point. */
export const CENTRE = [0, 45];

/** Scatter of a pure-noise position, standard deviation. */
const SCATTER = 26;

/** Whether a point in the T's own frame lies on it, with a margin around. */
export function onBlock([x, y], margin) {
  const inside = (left, top, right, bottom) =>
    x >= left - margin && x <= right + margin && y >= top - margin && y <= bottom + margin;
  return inside(-60, 0, 60, 30) || inside(-15, 30, 15, 120);
}

/** The table. `shown` is Motion's, `hand` what the person holds, `clock` ms for the shimmer. */
export function drawTable(canvas, colours, { shown, goal, points, hand, clock }) {
  const context = prepare(canvas);
  const scale = canvas.clientWidth / SIDE;
  context.scale(scale, scale);

  drawWalls(context, colours);
  if (!shown) return;

  context.globalAlpha = colours.goalStrength;
  fillBlock(context, goal, colours.goal);
  context.globalAlpha = 1;
  fillBlock(context, shown.block, colours.block);
  // Over the T, so that the last few pixels can be judged.
  strokeBlock(context, goal, colours.goal, 1.5);
  if (hand?.kind === "block") {
    context.setLineDash([5, 4]);
    strokeBlock(context, hand.pose, colours.text, 1.25);
    context.setLineDash([]);
  }

  // A plan may lead beyond the table; the picture ends at its walls.
  context.save();
  context.beginPath();
  context.rect(WALL_NEAR, WALL_NEAR, WALL_FAR - WALL_NEAR, WALL_FAR - WALL_NEAR);
  context.clip();
  drawPlan(context, colours, points, shown, clock);
  context.restore();
  drawAgent(context, colours, shown, hand);
}

/** Noise levels from clean to pure noise, as the plan shows them. */
export function drawLegend(canvas, colours) {
  const context = prepare(canvas);
  const { clientWidth: width, clientHeight: height } = canvas;
  const count = 6;
  for (let i = 0; i < count; i += 1) {
    const noise = i / (count - 1);
    const samples = Array.from({ length: 14 }, (_, k) => gaussian(200 + 14 * i + k));
    const x = 10 + ((width - 32) * i) / (count - 1);
    drawPosition(context, colours, { x, y: height / 2, noise, fresh: 1, samples }, 0, 0.3);
  }
}

function drawWalls(context, colours) {
  context.strokeStyle = colours.wall;
  context.lineWidth = 2 * WALL_RADIUS;
  context.lineJoin = "round";
  const side = WALL_FAR - WALL_NEAR;
  context.strokeRect(WALL_NEAR, WALL_NEAR, side, side);
}

function traceBlock(context, [x, y, angle]) {
  const cos = Math.cos(angle);
  const sin = Math.sin(angle);
  context.beginPath();
  for (const [u, v] of OUTLINE) context.lineTo(x + u * cos - v * sin, y + u * sin + v * cos);
  context.closePath();
}

function fillBlock(context, pose, colour) {
  traceBlock(context, pose);
  context.fillStyle = colour;
  context.fill();
}

function strokeBlock(context, pose, colour, width) {
  traceBlock(context, pose);
  context.strokeStyle = colour;
  context.lineWidth = width;
  context.lineJoin = "round";
  context.stroke();
}

function drawPlan(context, colours, points, shown, clock) {
  // The line starts at the agent, so that the plan reads as its way ahead.
  let [x, y] = shown.agent;
  context.strokeStyle = colours.plan;
  context.lineCap = "round";
  const ahead = points.filter(({ past }) => !past);
  for (const point of ahead) {
    context.globalAlpha = 0.8 * (1 - point.noise) ** 1.5 * point.fresh;
    context.lineWidth = 1.75;
    context.beginPath();
    context.moveTo(x, y);
    context.lineTo(point.x, point.y);
    context.stroke();
    ({ x, y } = point);
  }
  // The next one on top.
  for (const point of ahead.reverse()) drawPosition(context, colours, point, clock, 1);
  context.globalAlpha = 1;
}

/** One position: a cloud of faint samples as wide as its noise, and a core as sharp as it is clean. */
function drawPosition(context, colours, point, clock, size) {
  const { x, y, noise, fresh, samples, goal } = point;
  context.fillStyle = colours.plan;
  const scatter = SCATTER * noise * size;
  if (noise > 0.01) {
    const radius = 1.1 + 0.9 * (1 - noise);
    context.globalAlpha = fresh * (0.3 - 0.13 * noise) * Math.min(1, 6 * noise);
    for (const [u, v, phase] of samples) {
      const drift = 0.12 * Math.sin(clock / 900 + phase);
      context.beginPath();
      context.arc(x + scatter * (u + drift), y + scatter * (v - drift), radius, 0, 2 * Math.PI);
      context.fill();
    }
  }
  const clean = 1 - noise;
  context.globalAlpha = fresh * clean ** 2;
  context.beginPath();
  context.arc(x, y, 1.6 + 1.8 * clean + (goal?.committed ? 0.8 : 0), 0, 2 * Math.PI);
  context.fill();
}

function drawAgent(context, colours, shown, hand) {
  const [x, y] = shown.agent;
  if (hand?.kind === "agent") {
    context.strokeStyle = colours.agent;
    context.globalAlpha = 0.55;
    context.lineWidth = 3;
    context.lineCap = "round";
    context.beginPath();
    context.moveTo(x, y);
    context.lineTo(...hand.at);
    context.stroke();
    context.globalAlpha = 1;
  }

  context.fillStyle = colours.agent;
  context.strokeStyle = colours.surface;
  context.lineWidth = 1.5;
  context.beginPath();
  context.arc(x, y, AGENT_RADIUS, 0, 2 * Math.PI);
  context.fill();
  context.stroke();

  // The command in force: a ring, over the agent too.
  const [tx, ty] = shown.target;
  context.beginPath();
  context.arc(tx, ty, 6.5, 0, 2 * Math.PI);
  context.lineWidth = 4;
  context.strokeStyle = colours.surface;
  context.stroke();
  context.lineWidth = 2;
  context.strokeStyle = colours.plan;
  context.stroke();
}
