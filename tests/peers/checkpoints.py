"""A `.ckpt` of Diffusion Policy in its own code and in kinestream, turn by turn in one run.

    python3 checkpoints.py CHECKOUT FILE.ckpt... --program ../../target/release/kinestream [--threads 2] [--rounds 3]

CHECKOUT is one of diffusion_policy or Streaming Diffusion Policy, whichever saved the files. Its own `predict_action` runs, PyTorch
eager, from raw observations to actions in the task's units; kinestream runs `import --check` on the same file. Reported are the
smallest medians over the rounds, in ms: a chunk, and, where every observation is answered by one evaluation, an observation.
One JSON object a file on stdout. tests/import/make_ckpt.py makes such files, and says what the checkout needs.
"""

import argparse
import json
import pathlib
import statistics
import sys
import time

import dill
import torch

from shared import in_kinestream


class Peer:
    """The policy in its own code, fed random observations of the shapes that its configuration names."""

    def __init__(self, path: pathlib.Path):
        import hydra

        payload = torch.load(path, pickle_module=dill, map_location="cpu", weights_only=False)
        cfg = payload["cfg"]
        self.policy = hydra.utils.instantiate(cfg.policy)
        self.policy.load_state_dict(payload["state_dicts"]["ema_model" if cfg.training.use_ema else "model"])
        self.policy.eval()
        shapes = cfg.policy.get("shape_meta")
        steps = cfg.policy.n_obs_steps
        if shapes is None:
            self.shapes = {"obs": (1, steps, cfg.policy.obs_dim)}
        else:
            self.shapes = {key: (1, steps, *told.shape) for key, told in shapes.obs.items()}
        self.random = torch.Generator().manual_seed(0)

    def chunk(self) -> float:
        observation = {key: torch.rand(shape, generator=self.random) for key, shape in self.shapes.items()}
        begun = time.perf_counter()
        with torch.no_grad():
            self.policy.predict_action(observation)
        return 1e3 * (time.perf_counter() - begun)

    def measure(self, chunks: int) -> float:
        self.chunk()
        return statistics.median(self.chunk() for _ in range(chunks))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("checkout", type=pathlib.Path)
    parser.add_argument("files", type=pathlib.Path, nargs="+")
    parser.add_argument("--program", default="kinestream")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--chunks", type=int, default=5, help="measured in every round")
    arguments = parser.parse_args()
    sys.path.insert(0, str(arguments.checkout.resolve()))
    from omegaconf import OmegaConf

    OmegaConf.register_new_resolver("eval", eval, replace=True)
    torch.set_num_threads(arguments.threads)
    for path in arguments.files:
        peer = Peer(path)
        theirs, ours, each = [], [], []
        for _ in range(arguments.rounds):
            theirs.append(peer.measure(arguments.chunks))
            check = in_kinestream(arguments.program, path, arguments.threads)
            ours.append(check["plan_ms"]["p50"])
            each.append(check["every_observation"]["plan_ms"]["p50"])
        report = {
            "file": path.name,
            "parameters": sum(parameter.numel() for parameter in peer.policy.parameters()),
            "evaluations": peer.policy.num_inference_steps,
            "threads": arguments.threads,
            "torch": torch.__version__,
            "theirs_ms": min(theirs),
            "kinestream_ms": min(ours),
            "each_ms": min(each),
            "chunk_ratio": min(theirs) / min(ours),
            "streaming_ratio": min(theirs) / min(each),
        }
        print(json.dumps(report), flush=True)


if __name__ == "__main__":
    main()
