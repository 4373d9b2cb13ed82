// Wires the page of a running robot together: frames to the pictures, buttons and keys to the program.

import { Actions } from "./actions.js";
import { Cameras } from "./cameras.js";
import { Connection } from "./connection.js";
import { Health } from "./health.js";
import { palette } from "./palette.js";
import { Safety } from "./safety.js";
import { count, element, fixed, hertz, milliseconds, write } from "./text.js";

let colours = palette();
/** What does not change; null before it is told. */
let introduction = null;
/** Which robot is shown. */
let chosen = 0;
let frame = null;
/** "connecting", "open", "lost" or "ended". */
let link = "connecting";

const actions = new Actions(element("numbers"), element("noise"));
const cameras = new Cameras(element("cameras"));
const health = new Health();

const connection = new Connection(
  (next) => {
    if (next?.introduction) introduce(next.introduction);
    else if (next) show(next);
  },
  (state) => {
    // That nobody answers after a goodbye is no news.
    link = link === "ended" && state === "lost" ? "ended" : state;
    // A new connection may be to a new run of the program.
    if (state !== "open") frame = null;
    draw();
  },
);
const safety = new Safety((message) => connection.send(message));

function introduce(next) {
  introduction = next;
  const { robots } = next;
  chosen = Math.min(chosen, robots.length - 1);
  const list = element("robots");
  list.hidden = robots.length < 2;
  list.replaceChildren(...robots.map(({ name }, i) => new Option(name, i, i === chosen, i === chosen)));
  choose(chosen);
}

function choose(index) {
  chosen = index;
  const robot = introduction.robots[index];
  document.title = `${robot.name} · kinestream`;
  write("name", element("robots").hidden ? robot.name : "");
  actions.introduce(robot);
  cameras.introduce(robot);
  element("camera-section").hidden = robot.cameras.length === 0;
  safety.introduce(robot, introduction.robots.length);
  draw();
}

function show(next) {
  frame = next;
  const robot = frame.robots[chosen];
  if (!robot) return;
  actions.take(robot);
  cameras.take(robot);
  // How it is now, and beside it what is measured twice a second.
  const { rung, reason, since_s: rung_since_s } = robot.safety;
  health.take({ nodes: robot.nodes, health: { ...robot.health, rung, reason, rung_since_s } });
  draw();
}

function notice(robot) {
  if (link === "ended") return ["lost", "The runtime has ended. This page comes back when it is started again."];
  if (link === "lost") return ["lost", "Connection lost. Trying again…"];
  if (link === "connecting" || !robot) return ["wait", "Waiting for the runtime…"];
  if (robot.health?.policy?.fault) return ["fault", robot.health.policy.fault];
  if (!robot.plan) return ["wait", `No plan yet: waiting for observations on ${introduction.robots[chosen].prefix}/obs/state`];
  return [null, ""];
}

function draw() {
  const robot = link === "open" ? frame?.robots[chosen] : null;
  const [kind, text] = notice(robot);
  const banner = element("banner");
  banner.hidden = kind === null;
  banner.dataset.kind = kind ?? "";
  write("banner", text);
  document.body.classList.toggle("stale", kind === "lost");
  safety.draw(robot, link);
  if (!robot) return;

  actions.draw(colours);
  health.draw(colours);
  const { policy, control } = robot.health ?? {};
  write("observation-rate", hertz(policy?.observations_per_second));
  write("plan-rate", hertz(policy?.plans_per_second));
  write("command-rate", hertz(control?.measured_hz));
  write("late-plans", count(policy?.late));
  write("refused", count(policy ? policy.refused + policy.malformed : NaN));
  const known = policy?.plans > 0 ? policy.latency_ms : {};
  write("p50", milliseconds(known.p50));
  write("p99", milliseconds(known.p99));
  write("latency-last", policy?.plans > 0 ? `last ${milliseconds(known.last)}` : "");
  const { plan } = robot;
  write("plan-note", plan ? `plan ${count(plan.chunk)} · ${fixed(1 / plan.period_s, 0)} actions a second` : "no plan yet");
  write("positions", plan ? `${plan.noise.length} positions, ${plan.committed} committed` : "");
}

function repaint() {
  colours = palette();
  health.refresh();
  draw();
}

element("robots").addEventListener("change", (event) => choose(Number(event.target.value)));
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", repaint);
addEventListener("resize", repaint);
draw();
