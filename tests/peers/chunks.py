"""A LeRobot diffusion policy in LeRobot itself and in kinestream, turn by turn in one run.

    python3 chunks.py FOLDER --program ../../target/release/kinestream [--threads 2] [--rounds 3]

FOLDER is what LeRobot's `save_pretrained` wrote, processors included; where there is none yet, one of LeRobot's default sizes
with random weights is made (`--camera`: of an image of 96 x 96 and two numbers; otherwise of 18 numbers). LeRobot runs its own `select_action`, PyTorch eager, from
raw observations to actions in the task's units; kinestream runs `import --check` on the same folder. Each takes turns, as the
folder is and with DDPM in 100 steps in place of its scheduler. Reported are the smallest medians over the rounds, in ms: a
chunk, and, where every observation is answered by one evaluation, an observation. One JSON object on stdout, a table on stderr.
Needs lerobot-requirements.txt; its first lines say how.
"""

import argparse
import json
import pathlib
import statistics
import sys
import tempfile
import time

import torch
from lerobot.configs.types import FeatureType, PolicyFeature
from lerobot.policies.diffusion.configuration_diffusion import DiffusionConfig
from lerobot.policies.diffusion.modeling_diffusion import DiffusionPolicy
from lerobot.policies.factory import make_pre_post_processors

from shared import in_kinestream, with_ddpm


class Peer:
    """LeRobot's policy, fed random observations of the shapes that its configuration names."""

    def __init__(self, folder: pathlib.Path):
        self.policy = DiffusionPolicy.from_pretrained(folder)
        self.policy.eval()
        self.before, self.after = make_pre_post_processors(self.policy.config, pretrained_path=str(folder))
        self.random = torch.Generator().manual_seed(0)

    def observation(self):
        features = self.policy.config.input_features
        return {name: torch.rand(feature.shape, generator=self.random) for name, feature in features.items()}

    def chunk(self) -> float:
        """Milliseconds from an observation to the first action of a new chunk; its other actions are taken, too."""
        actions = self.policy.config.n_action_steps
        taken = []
        for _ in range(actions):
            observation = self.observation()
            begun = time.perf_counter()
            self.after(self.policy.select_action(self.before(observation)))
            taken.append(1e3 * (time.perf_counter() - begun))
        return max(taken)

    def measure(self, chunks: int) -> float:
        self.policy.reset()
        self.chunk()
        return statistics.median(self.chunk() for _ in range(chunks))


def make(folder: pathlib.Path, camera: bool):
    """A policy as LeRobot makes one where nobody says more than what is observed, with random weights."""
    torch.manual_seed(0)
    state = PolicyFeature(FeatureType.STATE, (2,))
    other = {"observation.environment_state": PolicyFeature(FeatureType.ENV, (16,))}
    if camera:
        other = {"observation.image": PolicyFeature(FeatureType.VISUAL, (3, 96, 96))}
    config = DiffusionConfig(
        input_features={"observation.state": state, **other},
        output_features={"action": PolicyFeature(FeatureType.ACTION, (2,))},
        crop_shape=(84, 84) if camera else None,
        noise_scheduler_type="DDIM",
        num_inference_steps=10,
        device="cpu",
    )
    DiffusionPolicy(config).save_pretrained(folder)
    limits = {"min": torch.zeros(2), "max": torch.full((2,), 512.0), "mean": torch.zeros(2), "std": torch.ones(2)}
    colours = {"mean": torch.full((3, 1, 1), 0.5), "std": torch.full((3, 1, 1), 0.25)}
    statistics = {"observation.state": limits, "action": limits, "observation.image": colours}
    for processor in make_pre_post_processors(config, dataset_stats=statistics):
        processor.save_pretrained(folder)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("--program", default="kinestream")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--chunks", type=int, default=10, help="measured in every round")
    parser.add_argument("--camera", action="store_true", help="what is made observes an image")
    arguments = parser.parse_args()
    if not arguments.folder.exists():
        make(arguments.folder, arguments.camera)
    torch.set_num_threads(arguments.threads)
    with tempfile.TemporaryDirectory() as scratch:
        folders = {
            "as_is": arguments.folder,
            "ddpm_100": with_ddpm(arguments.folder, pathlib.Path(scratch) / "ddpm"),
        }
        peers = {name: Peer(folder) for name, folder in folders.items()}
        found = {name: {"lerobot_ms": [], "kinestream_ms": [], "each_ms": []} for name in folders}
        for _ in range(arguments.rounds):
            for name, folder in folders.items():
                chunks = arguments.chunks if name == "as_is" else max(2, arguments.chunks // 3)
                found[name]["lerobot_ms"].append(peers[name].measure(chunks))
                ours = in_kinestream(arguments.program, folder, arguments.threads)
                found[name]["kinestream_ms"].append(ours["plan_ms"]["p50"])
                found[name]["each_ms"].append(ours["every_observation"]["plan_ms"]["p50"])
    parameters = sum(parameter.numel() for parameter in peers["as_is"].policy.parameters())
    best = {name: {what: min(times) for what, times in times.items()} for name, times in found.items()}
    report = {
        "folder": str(arguments.folder),
        "parameters": parameters,
        "threads": arguments.threads,
        "torch": torch.__version__,
        **best,
        "chunk_ratio": best["as_is"]["lerobot_ms"] / best["as_is"]["kinestream_ms"],
        "ddpm_100_ratio": best["ddpm_100"]["lerobot_ms"] / best["ddpm_100"]["kinestream_ms"],
        "streaming_ratio": best["ddpm_100"]["lerobot_ms"] / best["as_is"]["each_ms"],
    }
    for name, times in best.items():
        line = ", ".join(f"{what.removesuffix('_ms')} {value:.2f} ms" for what, value in times.items())
        print(f"{name}: {line}", file=sys.stderr)
    print(json.dumps(report))


if __name__ == "__main__":
    main()
