// The safety state, and the buttons that change it.

import { element, write } from "./text.js";

/** States that a person leaves by re-arming. */
const STOPPED = new Set(["safe_stop", "emergency_stop"]);
const LINKS = { connecting: "Connecting", open: "Connected", lost: "Disconnected", ended: "Disconnected" };

export class Safety {
  /** `send` takes a message for the program. */
  constructor(send) {
    this.send = send;
    this.robot = null;
    const dialog = element("rearm-dialog");
    element("stop").addEventListener("click", () => this.stop());
    element("rearm").addEventListener("click", () => dialog.showModal());
    dialog.addEventListener("close", () => {
      if (dialog.returnValue === "rearm") this.send({ type: "rearm" });
      dialog.returnValue = "";
    });
    for (const type of ["pause", "resume", "home"]) {
      element(type).addEventListener("click", () => this.send({ type, robot: this.robot.name }));
    }
    addEventListener("keydown", (event) => {
      if (event.key !== "Escape" || event.repeat) return;
      this.stop();
    });
  }

  introduce(robot, count) {
    this.robot = robot;
    // A stop is for all: nobody has to choose first.
    write("stop-label", count > 1 ? "Stop all" : "Stop");
    write("rearm", count > 1 ? "Re-arm all" : "Re-arm");
  }

  /** Stops on the connection that is there, and on one of its own in case that one is slow. */
  stop() {
    this.send({ type: "stop" });
    fetch("/stop", { method: "POST" }).catch(() => console.error("viewer: /stop was not reached"));
  }

  /** `shown` is the robot of the newest frame, null where it is not known how it is. */
  draw(shown, link) {
    element("state").dataset.state = link === "open" ? "running" : link === "connecting" ? "starting" : "lost";
    write("state", LINKS[link]);
    const safety = shown?.safety;
    const isStopped = STOPPED.has(safety?.rung);
    element("stop").disabled = link === "lost" || link === "ended";
    element("rearm").hidden = !isStopped;
    element("pause").hidden = Boolean(safety?.is_paused);
    element("resume").hidden = !safety?.is_paused;
    element("home").hidden = !this.robot?.has_home;
    for (const id of ["rearm", "pause", "resume", "home"]) element(id).disabled = !safety;
    for (const id of ["pause", "resume", "home"]) element(id).disabled ||= isStopped;
    element("stopped-by").hidden = !safety?.stopped_by;
    write("stopped-by", safety?.stopped_by ? `Stopped by ${safety.stopped_by}; ${safety.at_rest ? "at rest" : "coming to rest"}` : "");
    // The reason follows the time in this state.
    element("rung-reason").classList.toggle("follows", Boolean(safety?.reason));
    write("answer", shown?.answer ?? "");
    if (!isStopped && element("rearm-dialog").open) element("rearm-dialog").close("keep");
  }
}
