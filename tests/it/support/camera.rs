//! A policy that observes two numbers and a camera called `top`, of random weights.

use std::path::Path;

use kinestream_diffusion::Network;
use kinestream_diffusion::network::vision::VisionEncoder;
use kinestream_diffusion::weights::{self, Precision};
use kinestream_policy::checkpoint::{Normalisers, WeightsFile};
use kinestream_policy::{Checkpoint, Normaliser, PolicyConfig};
use tch::Device;

use super::project::{NETWORK, free_port};

/// A JPEG file of the camera's 24 x 16 pixels.
pub(crate) const FILE: &[u8] = include_bytes!("../../data/halves.jpg");

const POLICY: &str = r#"
[task]
name = "reach"
rate_hz = 10.0
observation = [{ array = "state", columns = [0, 1] }, { array = "observation.images.top", image = { height = 16, width = 24 } }]
action = "action"

[plan]
mode = "streaming"
horizon = 8
observation_steps = 2
action_steps = 1
levels = 8
alignment = "newest_observation"
primer = "zero"

[vision]
backbone = "resnet18"
norm = "group"
pool = { kind = "average" }
projection = 8
"#;

/// A checkpoint of random weights in a folder, and the configuration `reach.toml` that runs it, with more tables behind;
/// returns where it listens.
pub(crate) fn write(folder: &Path, more: &str) -> String {
    let text = format!("{POLICY}\n{NETWORK}");
    let policy: PolicyConfig = toml::from_str(&text).unwrap();
    let same = |count: usize| Normaliser {
        scale: vec![1.0; count],
        offset: vec![0.0; count],
        centre: vec![],
        minimum: vec![],
        maximum: vec![],
    };
    let normalisers = Normalisers {
        observation: same(2),
        action: same(2),
        images: vec![same(3)],
    };
    let network = Network::new(&policy.network, policy.dimensions(2, 2), Device::Cpu, 1).unwrap();
    let vision = VisionEncoder::new(policy.vision.as_ref().unwrap(), 1, Device::Cpu, 1);
    let mut tensors = weights::snapshot(network.store(), Precision::Fp32);
    tensors.extend(
        weights::snapshot(vision.store(), Precision::Fp32)
            .into_iter()
            .map(|(name, tensor)| (format!("vision.{name}"), tensor)),
    );
    let file = WeightsFile {
        path: folder,
        tensors,
        name_in_file: &str::to_owned,
    };
    Checkpoint::assemble(&policy, &normalisers, 2, &file, Device::Cpu)
        .unwrap()
        .save(&folder.join("out"), Precision::Fp16)
        .unwrap();
    let address = format!("tcp/127.0.0.1:{}", free_port());
    let runtime = format!(
        "[runtime]\ncheckpoint = \"out\"\nrobot = \"arm\"\n\n[control.watchdog]\nrearm = \"automatic\"\n\n\
         [session]\nnamespace = \"test\"\nlisten = [\"{address}\"]\n{more}"
    );
    std::fs::write(folder.join("reach.toml"), format!("{text}\n{runtime}")).unwrap();
    address
}
