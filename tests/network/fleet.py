"""A fleet: a router, one machine that serves the policy, and robots, each on a machine and a line of its own.

    python3 fleet.py --program ../../target/release/kinestream --robots 3 [--loss 0.01] [--delay-ms 10]

Every machine is a network namespace of Linux; lines from the router to all others lose and delay packets (`lossy.py`). The
router is zenoh's own, as its Python package brings it: no program of kinestream. Robots are simulators that play one episode
each, all at the same time, and are answered by one runtime in batches. One JSON object on stdout. Needs Linux, root (or
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
from measure import end, heard

ROOT = pathlib.Path(__file__).resolve().parents[2]
ROUTER = """
import time, zenoh
config = zenoh.Config()
config.insert_json5("mode", '"router"')
config.insert_json5("listen/endpoints", '["tcp/0.0.0.0:7447"]')
config.insert_json5("scouting/multicast/enabled", "false")
session = zenoh.open(config)
print("up", flush=True)
time.sleep(1e6)
"""


def configuration(address: str, robots: list) -> str:
    """The shipped one, for several robots, as a client of the router; its last table is [session]."""
    text = (ROOT / "configs" / "pusht-state.toml").read_text()
    text = text.replace('robot = "pusht"', f"robots = {json.dumps(robots)}")
    text = text.replace('listen = ["tcp/127.0.0.1:7447"]', f'mode = "client"\nconnect = ["tcp/{address}:7447"]')
    assert "robots = " in text and "client" in text, "configs/pusht-state.toml reads otherwise than this program expects"
    return text


def run(arguments) -> dict:
    """Brings everything up, waits for the episodes, and says what became of them."""
    robots = [f"robot_{number + 1}" for number in range(arguments.robots)]
    program = str(arguments.program.resolve())
    running = []

    def start(command, **options):
        running.append(subprocess.Popen(command, text=True, cwd=ROOT, **options))
        return running[-1]

    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        try:
            router, *machines = [lossy.namespace() for _ in range(len(robots) + 2)]
            running += [router, *machines]
            lines = []
            for number, machine in enumerate(machines):
                line = start(
                    [sys.executable, str(ROOT / "tests/network/lossy.py"), "--number", str(number)]
                    + ["--loss", str(arguments.loss), "--delay-ms", str(arguments.delay_ms)]
                    + ["--seed", str(number + 1), str(router.pid), str(machine.pid)],
                    stdout=subprocess.PIPE,
                    stderr=subprocess.PIPE,
                )
                if line.stderr.readline().strip() != "up":
                    raise OSError("a line did not come up: " + line.stderr.read())
                lines.append(line)
            daemon = start(lossy.within(router.pid, [sys.executable, "-c", ROUTER]), stdout=subprocess.PIPE)
            if daemon.stdout.readline().strip() != "up":
                raise OSError("the router did not come up")
            for number in range(len(machines)):
                (folder / f"{number}.toml").write_text(configuration(lossy.addresses(number)[0], robots))
            log = open(folder / "run.log", "w+")
            server = machines[0]
            runtime = start(lossy.within(server.pid, [program, "run", str(folder / "0.toml")]), stderr=log)
            time.sleep(arguments.settle_s)
            play = [
                start(
                    lossy.within(machine.pid, [program, "sim", str(folder / f"{number}.toml")])
                    + ["--robot", robot, "--episodes", "1", "--seed", str(100_000 + number), "--json"],
                    stdout=subprocess.PIPE,
                    stderr=subprocess.DEVNULL,
                )
                for number, (robot, machine) in enumerate(zip(robots, machines[1:]), start=1)
            ]
            played = [json.loads(simulator.communicate(timeout=300)[0]) for simulator in play]
            runtime.send_signal(signal.SIGINT)
            runtime.wait(timeout=60)
            packets = []
            for line in lines:
                line.terminate()
                packets.append(json.loads(line.communicate(timeout=10)[0]))
            said = heard(log)
        finally:
            end(running)
    return {
        "robots": {
            robot: {
                "score": round(report["episodes"][0]["score"], 3),
                "steps": report["episodes"][0]["steps"],
                "actions_received": report["actions_received"],
            }
            for robot, report in zip(robots, played)
        },
        "loss": arguments.loss,
        "delay_ms": arguments.delay_ms,
        "packets": dict(zip(["server", *robots], packets)),
        "runtime": said,
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--program", type=pathlib.Path, required=True)
    parser.add_argument("--robots", type=int, default=3)
    parser.add_argument("--loss", type=float, default=0.01, help="share of packets, each way, on every line")
    parser.add_argument("--delay-ms", type=float, default=10.0, help="one way, of every line; between two robots there are two")
    parser.add_argument("--settle-s", type=float, default=5.0)
    print(json.dumps(run(parser.parse_args()), indent=2))


if __name__ == "__main__":
    main()
