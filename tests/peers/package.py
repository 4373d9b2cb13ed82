"""Makes the AOTInductor package that the tests load: package.py FOLDER

Writes model.pt2, a small denoiser compiled for the CPU, and expected.safetensors, inputs and what PyTorch itself answers. It
needs PyTorch 2.11.0, the release that kinestream is bound to, safetensors, and a C++ compiler:

    python tests/peers/package.py torch-shim/tests/package

The library in it uses the baseline of its architecture and nothing newer, so that it runs on all machines of that architecture;
symbols and sources, which nobody reads, are left out of the package.
"""

import pathlib
import platform
import subprocess
import sys
import tempfile
import zipfile

import torch
from safetensors.torch import save_file
from torch._inductor import cpp_builder

HORIZON, ACTION, CONDITION, WIDTH = 8, 2, 6, 16
BASELINE = {"x86_64": "march=x86-64", "aarch64": "march=armv8-a"}


class Denoiser(torch.nn.Module):
    """Takes and returns what kinestream's networks do; its weights are the same on every run."""

    def __init__(self):
        super().__init__()
        self.action = torch.nn.Linear(ACTION, WIDTH)
        self.level = torch.nn.Linear(1, WIDTH)
        self.condition = torch.nn.Linear(CONDITION, WIDTH)
        self.out = torch.nn.Linear(WIDTH, ACTION)
        for index, weight in enumerate(self.parameters()):
            values = torch.sin(torch.arange(weight.numel()) * 1.7 + index)
            weight.data = 0.3 * values.reshape(weight.shape)

    def forward(self, sample, timesteps, condition):
        level = self.level(timesteps.unsqueeze(-1).to(sample.dtype) / 100)
        hidden = self.action(sample) + level + self.condition(condition).unsqueeze(1)
        return self.out(torch.nn.functional.silu(hidden))


def inputs(rows):
    return (
        torch.linspace(-1, 1, rows * HORIZON * ACTION).reshape(rows, HORIZON, ACTION),
        (torch.arange(rows * HORIZON) * 7 % 100).reshape(rows, HORIZON),
        torch.linspace(1, -1, rows * CONDITION).reshape(rows, CONDITION),
    )


def use_baseline(architecture):
    """Has the compiler leave out what only this machine's processor has."""
    flags = cpp_builder._get_optimization_cflags

    def portable(*arguments, **named):
        compiler, linker = flags(*arguments, **named)
        return [BASELINE[architecture] if flag == "march=native" else flag for flag in compiler], linker

    cpp_builder._get_optimization_cflags = portable


def compiled(module, path):
    plans = torch.export.Dim("plans", min=1, max=64)
    # Two plans: a dimension of one would be taken for a constant.
    program = torch.export.export(module, inputs(2), dynamic_shapes=({0: plans}, {0: plans}, {0: plans}))
    torch._inductor.aoti_compile_and_package(
        program,
        package_path=str(path),
        inductor_configs={
            "cpp.simdlen": 1,
            "cpp.threads": 1,
            "aot_inductor.precompile_headers": False,
            # Else it takes two plans at least.
            "aot_inductor.check_lowerbound": False,
        },
    )


def reduced(package, target):
    """The same package with what is loaded alone."""
    with zipfile.ZipFile(package) as source, zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as sink:
        for name in sorted(source.namelist()):
            content = source.read(name)
            if name.endswith((".kernel.cpp", ".kernel_metadata.json")):
                continue
            if name.endswith(".wrapper.cpp"):
                # The loader takes the name of what describes the library from this one's.
                content = b"// left out\n"
            if name.endswith(".so"):
                with tempfile.NamedTemporaryFile(suffix=".so") as library:
                    pathlib.Path(library.name).write_bytes(content)
                    subprocess.run(["strip", "--strip-all", library.name], check=True)
                    content = pathlib.Path(library.name).read_bytes()
            entry = zipfile.ZipInfo(name)
            entry.compress_type = zipfile.ZIP_DEFLATED
            sink.writestr(entry, content)


def main(folder):
    folder = pathlib.Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    use_baseline(platform.machine())
    module = Denoiser().eval()
    with tempfile.TemporaryDirectory() as scratch, torch.no_grad():
        package = pathlib.Path(scratch) / "model.pt2"
        compiled(module, package)
        reduced(package, folder / "model.pt2")
        sample, timesteps, condition = inputs(3)
        output = module(sample, timesteps, condition)
        loaded = torch._inductor.aoti_load_package(str(folder / "model.pt2"))
        for rows in (1, 3):
            found = loaded(sample[:rows], timesteps[:rows], condition[:rows])
            assert torch.allclose(found, output[:rows], atol=1e-6), rows
    tensors = {"sample": sample, "timesteps": timesteps, "condition": condition, "output": output}
    save_file(tensors, folder / "expected.safetensors")
    for file in sorted(folder.iterdir()):
        print(file, file.stat().st_size, "bytes")


if __name__ == "__main__":
    main(sys.argv[1])
