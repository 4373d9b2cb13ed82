"""One network evaluation at batch 1 by kinestream and by what Python offers, turn by turn in one run.

    python3 unet.py CHECKPOINT --program ../../target/release/kinestream [--threads 2] [--rounds 5]

CHECKPOINT is a folder of kinestream's with a U-Net (`kinestream train`). The same weights run in PyTorch (eager under
inference mode, and torch.compile), ONNX Runtime and OpenVINO; each is checked against PyTorch's output first. Then rounds: a
burst of every peer, then `kinestream bench policy` for a few seconds, so that all meet the same state of the machine. Reported
is the smallest of a program's medians over the rounds, which a busy machine disturbs least, and its ratios. One JSON object on
stdout, a table on stderr. Needs requirements.txt, which weighs gigabytes: a virtual environment of its own is best.
"""

import argparse
import json
import math
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

import torch
import torch.nn.functional as F
from safetensors.torch import load_file


class UNet(torch.nn.Module):
    """The U-Net that a checkpoint describes: Diffusion Policy's, or one whose modulation takes each position's level."""

    def __init__(self, folder: pathlib.Path):
        super().__init__()
        description = json.loads((folder / "config.json").read_text())
        self.config = description["policy"]["network"]
        self.sizes = description["dimensions"]
        if self.config["kind"] not in ("diffusion_policy", "per_position"):
            raise SystemExit(f"{folder}: network.kind is {self.config['kind']}, expected diffusion_policy or per_position")
        self.stages = len(self.config["channels"])
        self.names = {}
        for name, tensor in load_file(folder / "model.safetensors").items():
            self.names[name] = name.replace(".", "_")
            self.register_parameter(self.names[name], torch.nn.Parameter(tensor.float(), requires_grad=False))

    def weights(self, path):
        return getattr(self, self.names[f"{path}.weight"]), getattr(self, self.names[f"{path}.bias"])

    def activate(self, x):
        return F.mish(x) if self.config["activation"] == "mish" else F.silu(x)

    def linear(self, path, x):
        return F.linear(x, *self.weights(path))

    def convolve(self, path, x, stride=1, padding=0):
        return F.conv1d(x, *self.weights(path), stride=stride, padding=padding)

    def block(self, path, x):
        x = self.convolve(f"{path}.block.0", x, padding=self.config["kernel_size"] // 2)
        return self.activate(F.group_norm(x, self.config["groups"], *self.weights(f"{path}.block.1")))

    def residual(self, path, x, modulation, resolution):
        hidden = self.block(f"{path}.blocks.0", x)
        levels, observed = modulation
        if levels is None:
            terms = self.linear(f"{path}.cond_encoder.1", observed).unsqueeze(-1)
        else:
            weight, bias = self.weights(f"{path}.level_encoder")
            terms = F.conv1d(levels[resolution], weight.unsqueeze(-1), bias)
            terms = terms + self.linear(f"{path}.observation_encoder", observed).unsqueeze(-1)
        if self.config["modulation_scale"]:
            scale, shift = terms.chunk(2, dim=1)
            hidden = scale * hidden + shift
        else:
            hidden = hidden + terms
        hidden = self.block(f"{path}.blocks.1", hidden)
        if f"{path}.residual_conv.weight" in self.names:
            x = self.convolve(f"{path}.residual_conv", x)
        return hidden + x

    def encode_levels(self, timesteps):
        half = self.config["level_embedding"] // 2
        frequencies = torch.exp(torch.arange(half, dtype=torch.float32) * -(math.log(10_000) / (half - 1)))
        phases = timesteps.float().unsqueeze(-1) * frequencies
        sinusoids = torch.cat([phases.sin(), phases.cos()], -1)
        hidden = self.activate(self.linear("diffusion_step_encoder.1", sinusoids))
        return self.linear("diffusion_step_encoder.3", hidden)

    def modulation(self, timesteps, condition):
        if self.config["kind"] == "diffusion_policy":
            levels = self.encode_levels(timesteps[:, 0])
            return None, self.activate(torch.cat([levels, condition], -1))
        levels = [self.activate(self.encode_levels(timesteps)).transpose(1, 2)]
        for _ in range(self.stages - 1):
            levels.append(F.avg_pool1d(levels[-1], 2, 2))
        observed = condition
        for layer in (0, 2):
            observed = self.activate(self.linear(f"observation_encoder.{layer}", observed))
        return levels, observed

    def forward(self, sample, timesteps, condition):
        modulation = self.modulation(timesteps, condition)
        hidden, skips = sample.transpose(1, 2), []
        for stage in range(self.stages):
            for index in range(2):
                hidden = self.residual(f"down_modules.{stage}.{index}", hidden, modulation, stage)
            skips.append(hidden)
            if stage + 1 < self.stages:
                hidden = self.convolve(f"down_modules.{stage}.2.conv", hidden, 2, 1)
        for index in range(2):
            hidden = self.residual(f"mid_modules.{index}", hidden, modulation, self.stages - 1)
        for stage in range(self.stages - 1):
            resolution = self.stages - 1 - stage
            hidden = torch.cat([hidden, skips[resolution]], 1)
            for index in range(2):
                hidden = self.residual(f"up_modules.{stage}.{index}", hidden, modulation, resolution)
            hidden = F.conv_transpose1d(hidden, *self.weights(f"up_modules.{stage}.2.conv"), stride=2, padding=1)
        hidden = self.block("final_conv.0", hidden)
        return self.convolve("final_conv.1", hidden).transpose(1, 2)


def inputs(unet):
    """A random plan at levels that rise along it (or one level), and an observation."""
    torch.manual_seed(1)
    sizes = unet.sizes
    horizon, last = sizes["horizon"], sizes["train_timesteps"]
    levels = [max(last * (at + 1) // horizon - 1, 0) for at in range(horizon)]
    if unet.config["kind"] == "diffusion_policy":
        levels = [last - 1] * horizon
    return torch.randn(1, horizon, sizes["action"]), torch.tensor([levels]), torch.randn(1, sizes["condition"])


def peers(unet, example, threads):
    """Name -> a function that evaluates once and returns the output."""
    found = {}

    def eager():
        with torch.inference_mode():
            return unet(*example)

    found["PyTorch, eager"] = eager
    compiled = torch.compile(unet)

    def compile_once():
        with torch.inference_mode():
            return compiled(*example)

    found["PyTorch, torch.compile"] = compile_once
    with tempfile.TemporaryDirectory() as folder:
        path = str(pathlib.Path(folder) / "unet.onnx")
        names = ["sample", "timesteps", "condition"]
        torch.onnx.export(unet, example, path, input_names=names, opset_version=18, dynamo=False)
        arrays = dict(zip(names, (tensor.numpy() for tensor in example)))
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        found["ONNX Runtime"] = lambda: torch.from_numpy(session.run(None, arrays)[0])
        import openvino

        hints = {"INFERENCE_NUM_THREADS": threads, "PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": "f32"}
        model = openvino.Core().compile_model(openvino.convert_model(path), "CPU", hints)
        request = model.create_infer_request()
        given = list(arrays.values())

        def infer():
            return torch.from_numpy(request.infer(given)[0].copy())

        found["OpenVINO"] = infer
    return found


def burst(evaluate, seconds):
    """Median time of an evaluation in ms."""
    evaluate()
    times, end = [], time.perf_counter() + seconds
    while time.perf_counter() < end or len(times) < 5:
        begun = time.perf_counter_ns()
        evaluate()
        times.append((time.perf_counter_ns() - begun) / 1e6)
    return statistics.median(times)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", type=pathlib.Path)
    parser.add_argument("--program", type=pathlib.Path, required=True)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=2.0, help="of every peer in every round")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    unet = UNet(arguments.checkpoint).eval()
    example = inputs(unet)
    evaluate = peers(unet, example, arguments.threads)
    reference = evaluate["PyTorch, eager"]()
    errors = {}
    for name, once in evaluate.items():
        output = once()
        errors[name] = float(((output - reference).square().mean() / reference.square().mean()).sqrt())
        if errors[name] > 1e-4:
            raise SystemExit(f"{name}: its output is off by {errors[name]:.1e}")
    times, floors = {}, {}
    command = [arguments.program.resolve(), "bench", "policy", "--checkpoint", arguments.checkpoint.resolve(), "--json"]
    command += ["--threads", arguments.threads, "--seconds", arguments.seconds, "--streams", 1]
    for _ in range(arguments.rounds):
        for name, once in evaluate.items():
            times.setdefault(name, []).append(burst(once, arguments.seconds))
        report = json.loads(subprocess.run([str(word) for word in command], check=True, capture_output=True).stdout)
        for row in report["evaluations"]:
            name = "kinestream, " + " ".join(filter(None, [row["executor"], row.get("precision")]))
            times.setdefault(name, []).append(row["ms"]["p50"])
            floors.setdefault(name, []).append(row["ratio_to_floor"])
            errors[name] = row["relative_error"]
    best = {name: min(found) for name, found in times.items()}
    eager = best["PyTorch, eager"]
    fastest = min(value for name, value in best.items() if not name.startswith("kinestream"))
    rows = [
        {
            "program": name,
            "ms": round(value, 3),
            "over_eager": round(value / eager, 3),
            "over_fastest_peer": round(value / fastest, 3),
            "over_floor": round(min(floors[name]), 2) if name in floors else None,
            "relative_error": errors[name],
        }
        for name, value in best.items()
    ]
    for row in rows:
        print("{program:28} {ms:8} ms  {over_eager:6} of eager  {over_fastest_peer:6} of the fastest peer".format(**row), file=sys.stderr)
    versions = {"torch": torch.__version__}
    for module in ("onnxruntime", "openvino"):
        versions[module] = __import__(module).__version__
    print(json.dumps({"threads": arguments.threads, "rounds": arguments.rounds, "versions": versions, "rows": rows}))


if __name__ == "__main__":
    main()
