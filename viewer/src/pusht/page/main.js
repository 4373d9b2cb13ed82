// Wires the page together: frames to the pictures, buttons and keys to the program.

import { Connection } from "./connection.js";
import { Hand } from "./hand.js";
import { Health } from "./health.js";
import { Motion, PlanFlow } from "./motion.js";
import { Panel } from "./panel.js";
import { palette } from "./palette.js";
import { drawLegend, drawTable } from "./scene.js";

const table = document.getElementById("table");
const legend = document.getElementById("legend");
const banner = document.getElementById("banner");
const calm = matchMedia("(prefers-reduced-motion: reduce)");
const dark = matchMedia("(prefers-color-scheme: dark)");

let colours = palette();

function repaint() {
  colours = palette();
  panel.refresh();
  health.refresh();
  drawLegend(legend, colours);
}

let motion = new Motion();
const plan = new PlanFlow();
const panel = new Panel();
const health = new Health();
dark.addEventListener("change", repaint);
addEventListener("resize", repaint);
repaint();

let frame = null;
let shown = null;
/** "connecting", "open", "lost" or "ended". */
let link = "connecting";

const connection = new Connection(
  (next) => {
    if (!next) return;
    if (frame && (frame.episode !== next.episode || frame.seed !== next.seed)) plan.clear();
    frame = next;
    motion.push(next, performance.now());
    plan.take(next.plan);
    panel.take(next);
    health.take(next);
  },
  (state) => {
    // That nobody answers after a goodbye is no news.
    link = link === "ended" && state === "lost" ? "ended" : state;
    if (state === "open") return;
    hand.release();
    // A new connection may be to a new run of the program.
    motion = new Motion();
    if (frame) motion.push(frame, performance.now());
  },
);
const hand = new Hand(table, () => (link === "open" ? shown : null), (input) => connection.send(input));

/** Stops on the connection that is there, and on one of its own in case that one is slow. */
function stop() {
  if (!frame?.has_stop) return;
  connection.send({ type: "stop" });
  fetch("/stop", { method: "POST" }).catch(() => console.error("viewer: /stop was not reached"));
}
const rearm = () => connection.send({ type: "rearm" });
const togglePause = () => connection.send({ type: frame?.state === "paused" ? "resume" : "pause" });
const reset = () => connection.send({ type: "reset", seed: null });
const newSeed = () => connection.send({ type: "reset", seed: Math.floor(1e6 * Math.random()) });
document.getElementById("pause").addEventListener("click", togglePause);
document.getElementById("stop").addEventListener("click", stop);
document.getElementById("rearm").addEventListener("click", rearm);
document.getElementById("reset").addEventListener("click", reset);
document.getElementById("new-seed").addEventListener("click", newSeed);

addEventListener("keydown", (event) => {
  if (event.repeat || event.ctrlKey || event.metaKey || event.altKey) return;
  const key = event.key.toLowerCase();
  // On a button, Space presses that button.
  if (key === " " && event.target.closest?.("button")) return;
  const action = { escape: stop, " ": togglePause, r: reset, n: newSeed }[key];
  if (!action) return;
  event.preventDefault();
  action();
});

function notice() {
  if (link === "ended") return ["lost", "The demo has ended. This page comes back when it is started again."];
  if (link === "lost") return ["lost", "Connection lost. Trying again…"];
  if (link === "connecting" || !frame) return ["wait", "Waiting for the simulator…"];
  if (frame.fault) return ["fault", frame.fault];
  return [null, ""];
}

function showNotice() {
  const [kind, text] = notice();
  banner.hidden = kind === null;
  banner.dataset.kind = kind ?? "";
  if (banner.textContent !== text) banner.textContent = text;
  table.classList.toggle("stale", kind === "lost");
}

let before = performance.now();
function draw(now) {
  const passed = Math.min(now - before, 100);
  before = now;
  const clock = calm.matches ? 0 : now;
  shown = motion.at(now);
  plan.step(passed);
  hand.step(now);
  drawTable(table, colours, { shown, goal: frame?.goal, points: plan.points, hand: hand.shown, clock });
  panel.draw(colours, link);
  health.draw(colours);
  showNotice();
  requestAnimationFrame(draw);
}
requestAnimationFrame(draw);
