#!/usr/bin/env python3
"""Makes the checkpoints that the tests of importing read. Nothing of kinestream needs Python to run.

    make_ckpt.py fixtures CHECKOUT FOLDER NAME...
        Tiny random policies, made and saved by the code of a checkout of diffusion_policy or
        Streaming Diffusion Policy itself, each with a rollout: observations, every random number
        that was drawn, and the actions. They lie in policy/tests/fixtures. NAMEs are those of
        FIXTURES below. Needs hydra-core, diffusers 0.11.1, zarr 2 and numba besides.

    make_ckpt.py images CHECKOUT FOLDER NAME...
        The same for policies with cameras, those of IMAGES below. Their image encoders are the real
        ones, so that a file has 100 MB and none is kept. Needs torchvision, and for those
        whose names say hybrid robomimic 0.2 besides.

    make_ckpt.py golden GOLDEN FOLDER
        A checkpoint for every recorded rollout of GOLDEN (shared/golden/sdp_dp), in the layout of
        that code, from its weights. Needs the packages of requirements.txt alone.
"""

import copy
import json
import pathlib
import sys

import dill
import torch
from omegaconf import OmegaConf
from safetensors.torch import load_file, save_file

# Name: configuration of the checkout, and what is changed to make it tiny.
TINY_UNET = [
    "policy.model.down_dims=[8,8]",
    "policy.model.diffusion_step_embed_dim=4",
    "policy.model.kernel_size=3",
]
FIXTURES = {
    "sdp_ddim": ("train_tedi_unet_ddim_lowdim_workspace", TINY_UNET),
    "dp_unet_ddpm": (
        "train_diffusion_unet_lowdim_workspace",
        [*TINY_UNET, "policy.noise_scheduler.num_train_timesteps=20", "policy.num_inference_steps=20"],
    ),
    "dp_unet_ddim": (
        "train_diffusion_unet_ddim_lowdim_workspace",
        [
            *TINY_UNET,
            "obs_as_global_cond=True",
            "policy.model.cond_predict_scale=False",
            "policy.pred_action_steps_only=True",
        ],
    ),
    "dp_unet_local": (
        "train_diffusion_unet_lowdim_workspace",
        [
            *TINY_UNET,
            "obs_as_local_cond=True",
            "obs_as_global_cond=False",
            "policy.noise_scheduler.num_train_timesteps=20",
            "policy.num_inference_steps=20",
        ],
    ),
    # As the released code has it: 500 MB, to measure with.
    "dp_unet_default": ("train_diffusion_unet_lowdim_workspace", ["obs_as_global_cond=True"]),
    "dp_transformer": (
        "train_diffusion_transformer_lowdim_workspace",
        [
            "policy.model.n_layer=2",
            "policy.model.n_emb=8",
            "policy.model.n_head=2",
            "policy.noise_scheduler.num_train_timesteps=20",
            "policy.num_inference_steps=20",
        ],
    ),
}
CAMERAS = {
    "obs": {
        "front": {"shape": [3, 96, 80], "type": "rgb"},
        "arm": {"shape": [3], "type": "low_dim"},
        "above": {"shape": [3, 96, 80], "type": "rgb"},
        "agent_pos": {"shape": [2], "type": "low_dim"},
    },
    "action": {"shape": [2]},
}
TINY_HYBRID = [
    "task=pusht_image",
    "policy.down_dims=[8,8]",
    "policy.diffusion_step_embed_dim=4",
    "policy.kernel_size=3",
    "policy.noise_scheduler.num_train_timesteps=20",
    "policy.num_inference_steps=20",
]
IMAGES = {
    "hybrid_ddpm": ("train_diffusion_unet_hybrid_workspace", TINY_HYBRID),
    "hybrid_batch_norm": (
        "train_diffusion_unet_hybrid_workspace",
        [*TINY_HYBRID, "policy.obs_encoder_group_norm=False", "policy.crop_shape=null"],
    ),
    "hybrid_two_cameras": ("train_diffusion_unet_hybrid_workspace", [*TINY_HYBRID, CAMERAS]),
    "image_two_cameras": ("train_diffusion_unet_image_workspace", [*TINY_HYBRID, CAMERAS]),
    "image_shared": (
        "train_diffusion_unet_image_workspace",
        [*TINY_HYBRID, "policy.obs_encoder.share_rgb_model=True", "policy.obs_encoder.random_crop=False", CAMERAS],
    ),
    "hybrid_transformer": (
        "train_diffusion_transformer_hybrid_workspace",
        [
            "task=pusht_image",
            "policy.n_layer=2",
            "policy.n_emb=8",
            "policy.n_head=2",
            "policy.noise_scheduler.num_train_timesteps=20",
            "policy.num_inference_steps=20",
        ],
    ),
    "sdp_hybrid": ("train_tedi_unet_hybrid_workspace", TINY_HYBRID),
}
CALLS = 3


def perturb(module, generator):
    """Gives every parameter a value of its own, so that one that is lost or swapped shows."""
    with torch.no_grad():
        for parameter in module.parameters():
            noise = torch.empty_like(parameter).normal_(generator=generator)
            parameter.add_(0.2 * noise)


def optimised(parameters, settings):
    """An optimiser in whose state there are moments of every parameter."""
    optimiser = torch.optim.AdamW(parameters, lr=1e-4, betas=settings.betas)
    for group in optimiser.param_groups:
        for parameter in group["params"]:
            parameter.grad = torch.ones_like(parameter)
    optimiser.step()
    return optimiser


# ---- by the code of a checkout ----


def stand_in(*names):
    """Modules that the checkout imports and low-dimensional policies never use."""
    from unittest.mock import MagicMock

    for name in names:
        sys.modules[name] = MagicMock(__path__=[], __spec__=None)


def compose(checkout, config, changes):
    import hydra

    OmegaConf.register_new_resolver("eval", eval, replace=True)
    OmegaConf.register_new_resolver("now", lambda pattern: "now", replace=True)
    folder = str(checkout / "diffusion_policy" / "config")
    with hydra.initialize_config_dir(version_base=None, config_dir=folder):
        cfg = hydra.compose(config, [change for change in changes if isinstance(change, str)])
    for shapes in changes:
        if not isinstance(shapes, str):
            cfg.task.shape_meta = shapes
    # As train.py does before anything else.
    OmegaConf.resolve(cfg)
    return cfg


class Recorder:
    """Keeps what torch.randn returns."""

    def __init__(self):
        self.draws = []
        self.original = torch.randn

    def __call__(self, *size, **options):
        drawn = self.original(*size, **options)
        self.draws.append(drawn.detach().clone())
        return drawn

    def __enter__(self):
        torch.randn = self
        return self

    def __exit__(self, *_):
        torch.randn = self.original


def rollout(policy, observations):
    """Actions of consecutive calls, and the random numbers of all."""
    tensors, steps = {name: rows for name, rows in observations.items()}, policy.n_obs_steps
    actions = []
    with torch.no_grad(), Recorder() as recorder:
        for call in range(CALLS):
            seen = {name: rows[call : call + steps].unsqueeze(0) for name, rows in observations.items()}
            actions.append(policy.predict_action(seen)["action"][0].clone())
    tensors["action"] = torch.stack(actions)
    tensors.update({f"noise.{at:04}": draw for at, draw in enumerate(recorder.draws)})
    return tensors


def saved(cfg, policy, change, folder, name):
    """The policy in a checkpoint of its own workspace; `change` makes the averaged one another."""
    from diffusion_policy.workspace.base_workspace import BaseWorkspace

    class Workspace(BaseWorkspace):
        include_keys = ["global_step", "epoch"]

    policy.eval()
    workspace = Workspace(cfg, output_dir="outputs")
    workspace.global_step, workspace.epoch = 3, 1
    workspace.model = policy
    workspace.ema_model = copy.deepcopy(policy)
    change(workspace.ema_model)
    # Of some parameters only: the moments of all would double the file.
    workspace.optimizer = optimised(list(policy.model.parameters())[:4], cfg.optimizer)
    path = workspace.save_checkpoint(folder / f"{name}.ckpt", use_thread=False)
    print(f"{path}: {pathlib.Path(path).stat().st_size} bytes")
    return workspace.ema_model


def fixture(checkout, folder, name):
    import hydra
    from diffusion_policy.model.common.normalizer import LinearNormalizer

    config, changes = FIXTURES[name]
    cfg = compose(checkout, config, [*changes, "task.obs_dim=5", "task.action_dim=2"])
    torch.manual_seed(1)
    generator = torch.Generator().manual_seed(2)
    policy = hydra.utils.instantiate(cfg.policy)
    normaliser = LinearNormalizer()
    data = {
        "obs": torch.rand(200, 5, generator=generator) * torch.tensor([512, 512, 1, 10, 2]),
        "action": torch.rand(200, 2, generator=generator) * 512,
    }
    normaliser.fit(data)
    policy.set_normalizer(normaliser)
    average = saved(cfg, policy, lambda policy: perturb(policy.model, generator), folder, name)

    observations = torch.rand(CALLS + cfg.n_obs_steps, 5, generator=generator) * 400 + 50
    tensors = rollout(average, {"obs": observations})
    for key, value in average.model.state_dict().items():
        if value.numel() > 0:
            tensors[f"weights.{key}"] = value.clone()
    save_file(tensors, folder / f"{name}.safetensors")


def perturb_encoder(module, generator):
    """As `perturb`, by so little that activations stay within bounds without normalisation."""
    with torch.no_grad():
        for parameter in module.parameters():
            noise = torch.empty_like(parameter).normal_(generator=generator)
            size = 0.2 if parameter.dim() < 2 else 0.2 * parameter.std()
            parameter.add_(size * noise)
        for name, buffer in module.named_buffers():
            noise = torch.empty_like(buffer, dtype=torch.float32).uniform_(generator=generator)
            if name.endswith("running_mean"):
                buffer.copy_(0.2 * noise)
            if name.endswith("running_var"):
                buffer.copy_(0.5 + noise)


def images(checkout, folder, name):
    import hydra
    from diffusion_policy.common.normalize_util import get_image_range_normalizer
    from diffusion_policy.model.common.normalizer import LinearNormalizer, SingleFieldLinearNormalizer

    config, changes = IMAGES[name]
    cfg = compose(checkout, config, changes)
    torch.manual_seed(1)
    generator = torch.Generator().manual_seed(2)
    policy = hydra.utils.instantiate(cfg.policy)
    normaliser, observations = LinearNormalizer(), {}
    rows = CALLS + cfg.n_obs_steps
    for key, told in cfg.task.shape_meta.obs.items():
        if told.get("type", "low_dim") == "rgb":
            normaliser[key] = get_image_range_normalizer()
            observations[key] = torch.rand(rows, *told.shape, generator=generator)
        else:
            data = torch.rand(200, *told.shape, generator=generator) * 512
            normaliser[key] = SingleFieldLinearNormalizer.create_fit(data)
            observations[key] = torch.rand(rows, *told.shape, generator=generator) * 400 + 50
    data = torch.rand(200, 2, generator=generator) * 512
    normaliser["action"] = SingleFieldLinearNormalizer.create_fit(data)
    policy.set_normalizer(normaliser)

    def change(policy):
        perturb(policy.model, generator)
        perturb_encoder(policy.obs_encoder, generator)

    average = saved(cfg, policy, change, folder, name)
    tensors = rollout(average, observations)
    tensors = {f"obs.{key}" if key in observations else key: value for key, value in tensors.items()}
    save_file(tensors, folder / f"{name}.safetensors")


# ---- from recorded weights ----


def golden(recordings, folder, rollout_file):
    told = json.loads(rollout_file.read_text())
    recorded = load_file(rollout_file.with_suffix(".safetensors"))
    weights = load_file(recordings / told["unet"])
    horizon, steps = told["horizon"], told["n_obs_steps"]
    condition = steps * told["obs_dim"]
    scheduler = {key: value for key, value in told["scheduler_config"].items() if not key.startswith("_")}
    cfg = OmegaConf.create(
        {
            "name": "train_tedi_unet_lowdim",
            "task": {
                "name": "pusht_lowdim",
                "obs_dim": told["obs_dim"],
                "action_dim": told["action_dim"],
                "env_runner": {"fps": 10},
                "dataset": {"_target_": "diffusion_policy.dataset.pusht_dataset.PushTLowdimDataset"},
            },
            "policy": {
                "_target_": "diffusion_policy.policy.tedi_unet_lowdim_policy.TEDiUnetLowdimPolicy",
                "model": {
                    "_target_": "diffusion_policy.model.diffusion.conditional_unet1d_tedi.ConditionalUnet1D",
                    "input_dim": told["action_dim"],
                    "local_cond_dim": None,
                    "global_cond_dim": condition,
                    "diffusion_step_embed_dim": 256,
                    "down_dims": told["down_dims"],
                    "kernel_size": 5,
                    "n_groups": 8,
                    "cond_predict_scale": True,
                    "horizon": horizon,
                },
                "noise_scheduler": {
                    "_target_": f"diffusion_policy.policy.schedulers.{told['scheduler']}",
                    **scheduler,
                },
                "horizon": horizon,
                "obs_dim": told["obs_dim"],
                "action_dim": told["action_dim"],
                "n_action_steps": told["n_action_steps"],
                "n_obs_steps": steps,
                "num_inference_steps": told["num_inference_steps"],
                "obs_as_local_cond": False,
                "obs_as_global_cond": told["obs_as_global_cond"],
                "pred_action_steps_only": False,
                "oa_step_convention": told["oa_step_convention"],
                "buffer_init": told["buffer_init"],
            },
            "optimizer": {"betas": [0.95, 0.999]},
            "training": {"use_ema": True},
        }
    )

    def state(weights):
        named = {"_dummy_variable": torch.zeros(0)}
        named.update({f"model.{key}": value for key, value in weights.items()})
        named["mask_generator._dummy_variable"] = torch.zeros(0)
        for part in ("action", "obs"):
            scale, offset = (recorded[f"normalizer.{part}.{what}"] for what in ("scale", "offset"))
            stem = f"normalizer.params_dict.{part}"
            limits = {"max": (1 - offset) / scale, "min": (-1 - offset) / scale}
            limits |= {"mean": (limits["max"] + limits["min"]) / 2, "std": 1 / scale}
            named |= {f"{stem}.input_stats.{key}": value for key, value in limits.items()}
            named |= {f"{stem}.offset": offset, f"{stem}.scale": scale}
        return named

    model = {key: torch.zeros_like(value) for key, value in weights.items()}
    first = torch.nn.Parameter(next(iter(model.values())))
    payload = {
        "cfg": cfg,
        "state_dicts": {
            "model": state(model),
            "ema_model": state(weights),
            "optimizer": optimised([first], cfg.optimizer).state_dict(),
        },
        "pickles": {key: dill.dumps(value) for key, value in {"global_step": 3, "epoch": 1}.items()},
    }
    path = folder / f"{told['name']}.ckpt"
    with path.open("wb") as file:
        torch.save(payload, file, pickle_module=dill)
    print(path)


def main():
    if len(sys.argv) < 4:
        sys.exit(__doc__)
    command, source, folder = sys.argv[1], *map(pathlib.Path, sys.argv[2:4])
    folder.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    if command == "fixtures":
        stand_in(
            "robomimic",
            "robomimic.algo",
            "robomimic.algo.algo",
            "robomimic.config",
            "robomimic.models",
            "robomimic.models.base_nets",
            "robomimic.scripts",
            "robomimic.scripts.generate_paper_configs",
            "robomimic.utils",
            "robomimic.utils.obs_utils",
            "torchvision",
            "torchvision.transforms",
            "torchvision.transforms.functional",
        )
        sys.path.insert(0, str(source.resolve()))
        for name in sys.argv[4:]:
            fixture(source.resolve(), folder, name)
    elif command == "images":
        sys.path.insert(0, str(source.resolve()))
        for name in sys.argv[4:]:
            images(source.resolve(), folder, name)
    elif command == "golden":
        for rollout_file in sorted(source.glob("sdp_rollout_*.json")):
            golden(source, folder, rollout_file)
    else:
        sys.exit(__doc__)


if __name__ == "__main__":
    main()
