"""A policy and its robot on two sides of a bad line: what arrives, how late, and what the ladder of the watchdog does.

    python3 measure.py --program ../../target/release/kinestream [--loss 0,0.01,0.05,0.2] [--delay-ms 50] [--transport tcp,udp]

The runtime is in one network namespace; the simulator, and a program that listens, in another. After the measured time the
line is cut for as long as --cut-s says and mended again. One JSON object on stdout, a table on stderr. Needs Linux, root (or
`unshare -Ur`) and the requirements of clients/python.
"""

import argparse
import json
import pathlib
import signal
import subprocess
import sys
import tempfile
import time

import lossy

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[1]


def configuration(transport: str, zenoh) -> str:
    """The shipped one, with the runtime listening on its side of the line; its last table is [session]."""
    text = (ROOT / "configs" / "pusht-state.toml").read_text()
    text = text.replace('"tcp/127.0.0.1:7447"', f'"{transport}/{lossy.ADDRESSES[0]}:7447"')
    return text + (f'config_file = "{zenoh.resolve()}"\n' if zenoh else "")


def heard(log) -> list:
    """What a runtime's log says of the watchdog's rungs, and of its end."""
    log.seek(0)
    return [text.split("kinestream::", 1)[-1].strip() for text in log if "->" in text or "ended:" in text]


def end(running: list) -> None:
    """Ends processes, the newest first."""
    for process in reversed(running):
        if process.poll() is None:
            process.kill()
        process.wait()


def measure(arguments, transport: str, loss: float) -> dict:
    """One run: connect, watch, cut, mend."""
    running = []

    def start(command, **options):
        running.append(subprocess.Popen(command, **options))
        return running[-1]

    with tempfile.TemporaryDirectory() as folder:
        config = pathlib.Path(folder) / "line.toml"
        config.write_text(configuration(transport, arguments.zenoh))
        try:
            policy_side, robot_side = lossy.namespace(), lossy.namespace()
            running += [policy_side, robot_side]
            line = start(
                [sys.executable, str(HERE / "lossy.py"), "--loss", str(loss), "--delay-ms", str(arguments.delay_ms)]
                + [str(policy_side.pid), str(robot_side.pid)],
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
            if line.stderr.readline().strip() != "up":
                raise OSError("the line did not come up: " + line.stderr.read())
            program = str(arguments.program.resolve())
            log = open(pathlib.Path(folder) / "run.log", "w+")
            runtime = start(
                lossy.within(policy_side.pid, [program, "run", str(config)]), stderr=log, cwd=ROOT
            )
            time.sleep(3)
            simulator = start(
                lossy.within(robot_side.pid, [program, "sim", str(config), "--json"]),
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
                cwd=ROOT,
            )
            time.sleep(arguments.settle_s)
            watch = lambda seconds: start(
                lossy.within(
                    robot_side.pid,
                    [sys.executable, str(HERE / "watch.py"), "--seconds", str(seconds)]
                    + ["--connect", f"{transport}/{lossy.ADDRESSES[0]}:7447"]
                    + (["--zenoh", str(arguments.zenoh.resolve())] if arguments.zenoh else []),
                ),
                stdout=subprocess.PIPE,
                text=True,
            )
            told = watch(arguments.seconds)
            steady = json.loads(told.communicate()[0])
            told = watch(arguments.cut_s + 2 * arguments.settle_s)
            time.sleep(arguments.settle_s)
            line.send_signal(signal.SIGUSR1)
            time.sleep(arguments.cut_s)
            line.send_signal(signal.SIGUSR2)
            cut = json.loads(told.communicate()[0])
            simulator.send_signal(signal.SIGINT)
            played = json.loads(simulator.communicate(timeout=60)[0])
            runtime.send_signal(signal.SIGINT)
            runtime.wait(timeout=60)
            line.terminate()
            packets = json.loads(line.communicate(timeout=10)[0])
            said = heard(log)
        finally:
            end(running)
    scores = [round(episode["score"], 3) for episode in played["episodes"]]
    return {
        "transport": transport,
        "loss": loss,
        "delay_ms": arguments.delay_ms,
        "packets": packets,
        "steady": steady,
        "around_the_cut": cut,
        "scores": scores,
        "runtime": said,
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    numbers = lambda text: [float(part) for part in text.split(",")]
    parser.add_argument("--program", type=pathlib.Path, required=True)
    parser.add_argument("--loss", type=numbers, default=[0.0, 0.01, 0.05, 0.2])
    parser.add_argument("--delay-ms", type=float, default=50.0)
    parser.add_argument("--transport", type=lambda text: text.split(","), default=["tcp", "udp"])
    parser.add_argument("--zenoh", type=pathlib.Path, help="zenoh configuration (JSON5) of all sessions")
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--settle-s", type=float, default=5.0)
    parser.add_argument("--cut-s", type=float, default=3.0)
    arguments = parser.parse_args()
    rows = []
    for transport in arguments.transport:
        for loss in arguments.loss:
            row = measure(arguments, transport, loss)
            action, plan = row["steady"]["action"], row["steady"]["plan"]
            print(
                f"{transport} loss {loss:.0%}: actions {action.get('share', 0):.1%}"
                f" late {action.get('late_ms')}, plans {plan.get('share', 0):.1%} late {plan.get('late_ms')};"
                f" after the cut: {row['around_the_cut']['rung_counts']}",
                file=sys.stderr,
                flush=True,
            )
            rows.append(row)
    print(json.dumps({"runs": rows}))


if __name__ == "__main__":
    main()
