"""What the comparisons of this folder have in common."""

import json
import pathlib
import shutil
import subprocess
import sys


def in_kinestream(program: str, path: pathlib.Path, threads: int) -> dict:
    """What `import --check` says of a folder or file of another program's."""
    command = [program, "import", str(path), "--check", "--threads", str(threads), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        sys.exit(f"{' '.join(command)}: {done.stderr.strip()}")
    return json.loads(done.stdout)["check"]


def with_ddpm(folder: pathlib.Path, to: pathlib.Path, evaluations: int = 100) -> pathlib.Path:
    """A copy of a LeRobot policy that DDPM denoises in `evaluations` of 100 steps; recordings are left behind."""
    shutil.copytree(folder, to, ignore=shutil.ignore_patterns("golden.json", "golden_io.safetensors"))
    path = to / "config.json"
    for written in [to, path]:
        written.chmod(written.stat().st_mode | 0o200)
    config = json.loads(path.read_text())
    config |= {"noise_scheduler_type": "DDPM", "num_train_timesteps": 100, "num_inference_steps": evaluations}
    path.write_text(json.dumps(config, indent=4))
    return to
