"""What LeRobot's own `select_action` answers under DDPM, with every random number it drew.

    python3 recording.py FOLDER --out RECORDINGS/NAME [--evaluations 100] [--steps 20]
    KINESTREAM_RECORDINGS=RECORDINGS cargo nextest run --workspace ddpm_as_lerobot

FOLDER is what LeRobot's `save_pretrained` wrote, processors included. The new folder holds the same weights with DDPM as their
scheduler, and golden_io.safetensors: observations, the noise that each chunk begins from and that of its denoise steps, network
evaluations, and the actions, normalised and in the task's units. The test above replays it in kinestream. Needs
lerobot-requirements.txt; its first lines say how.
"""

import argparse
import pathlib

import diffusers.schedulers.scheduling_ddpm as ddpm
import torch
from lerobot.policies.diffusion.modeling_diffusion import DiffusionPolicy
from lerobot.policies.factory import make_pre_post_processors
from safetensors.torch import save_file

from shared import with_ddpm


class Recorder:
    """Everything that one run draws and evaluates."""

    def __init__(self):
        self.evaluations = {"sample": [], "timestep": [], "global_cond": [], "output": []}
        self.noise = []
        self.drawn = ddpm.randn_tensor
        ddpm.randn_tensor = self.draw

    def draw(self, *arguments, **options):
        noise = self.drawn(*arguments, **options)
        self.noise.append(noise.clone())
        return noise

    def evaluated(self, _module, arguments, options, output):
        sample, timestep = arguments[:2]
        found = {"sample": sample, "timestep": timestep, "global_cond": options["global_cond"], "output": output}
        for name, tensor in found.items():
            self.evaluations[name].append(tensor.detach().clone())


def record(folder: pathlib.Path, steps: int, seed: int) -> dict:
    torch.manual_seed(seed)
    policy = DiffusionPolicy.from_pretrained(folder)
    policy.eval()
    before, after = make_pre_post_processors(policy.config, pretrained_path=str(folder))
    recorder = Recorder()
    policy.diffusion.unet.register_forward_hook(recorder.evaluated, with_kwargs=True)
    config = policy.config
    # Numbers of a task whose units are pixels; brightnesses.
    scale = {name: 1.0 if "image" in name else 512.0 for name in config.input_features}
    observations = {
        name: scale[name] * torch.rand(steps, *feature.shape) for name, feature in config.input_features.items()
    }
    chunks = -(-steps // config.n_action_steps)
    initial = torch.randn(chunks, config.horizon, config.action_feature.shape[0])
    normalised, actions = [], []
    policy.reset()
    with torch.no_grad():
        for step in range(steps):
            batch = before({name: rows[step] for name, rows in observations.items()})
            chunk = step // config.n_action_steps
            normalised.append(policy.select_action(batch, noise=initial[chunk : chunk + 1]))
            actions.append(after(normalised[-1]))
    found = {f"obs.{name}": rows for name, rows in observations.items()}
    found |= {f"unet.{name}": torch.cat(rows) for name, rows in recorder.evaluations.items()}
    found |= {
        "initial_noise": initial,
        # The last denoise step of a chunk draws none.
        "step_noise": torch.cat(recorder.noise).view(chunks, -1, *initial.shape[1:]),
        "action_normalised": torch.cat(normalised),
        "action": torch.cat(actions),
        "chunk_steps": torch.arange(0, steps, config.n_action_steps),
    }
    return {name: tensor.contiguous() for name, tensor in found.items()}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("--out", type=pathlib.Path, required=True)
    parser.add_argument("--evaluations", type=int, default=100)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--seed", type=int, default=100)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    with_ddpm(arguments.folder, arguments.out, arguments.evaluations)
    found = record(arguments.out, arguments.steps, arguments.seed)
    save_file(found, arguments.out / "golden_io.safetensors")
    for name, tensor in found.items():
        print(name, list(tensor.shape))


if __name__ == "__main__":
    main()
