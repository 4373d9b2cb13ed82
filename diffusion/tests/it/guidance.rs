//! Every family of guidance of the registry: what it moves and what it leaves alone, with every
//! solver, and the configuration as it is written.

use kinestream_diffusion::guidance::GuidanceContext;
use kinestream_diffusion::noise::NoiseStream;
use kinestream_diffusion::{
    DiffusionSampler, Guidance, GuidanceConfig, NoiseSchedule, PredictionType, Sampler,
    SamplerConfig, ScheduleConfig, Solver,
};

const ACTION: usize = 3;
const HORIZON: usize = 6;

/// The guidance on plans that need no units.
struct Plain(GuidanceConfig);

impl Guidance for Plain {
    fn apply(&self, estimate: &mut [f32]) {
        let at = GuidanceContext {
            action: ACTION,
            deviations: &[0.5; HORIZON],
        };
        for plan in estimate.chunks_exact_mut(HORIZON * ACTION) {
            self.0.apply(&at, plan);
        }
    }
}

fn plan(seed: u64, scale: f32) -> Vec<f32> {
    let normals = NoiseStream::new(seed).normals(HORIZON * ACTION);
    normals.into_iter().map(|value| value * scale).collect()
}

#[test]
fn plans_are_moved_where_something_is_wrong_and_nowhere_else() {
    for guidance in GuidanceConfig::examples(ACTION) {
        guidance.check(ACTION).unwrap();
        let refusal = guidance.check(1).unwrap_err().to_string();
        assert!(refusal.contains("plan.guidance."), "{refusal}");
        let (mut moved, mut left) = (0, 0);
        for seed in 0..200 {
            // Some plans lie all outside, as those of large numbers do, or all inside.
            let before = plan(seed, [0.05, 0.5, 5.0][seed as usize % 3]);
            let cost = guidance.cost(ACTION, &before);
            let mut after = before.clone();
            Plain(guidance.clone()).apply(&mut after);
            assert!(after.iter().all(|value| value.is_finite()));
            if cost == 0.0 {
                assert_eq!(after, before, "{guidance:?}");
                left += 1;
            } else {
                let found = guidance.cost(ACTION, &after);
                assert!(found < cost.min(1e-6), "{guidance:?}: {cost} {found}");
                moved += 1;
            }
        }
        assert!(moved > 20 && left > 20, "{guidance:?}: {moved} {left}");
        // NaN stays a plan to be refused, and nothing to stop at.
        let mut broken = plan(1, 1.0);
        broken[ACTION..2 * ACTION].fill(f32::NAN);
        Plain(guidance).apply(&mut broken);
        assert!(
            broken[ACTION..2 * ACTION]
                .iter()
                .any(|value| value.is_nan())
        );
    }
}

#[test]
fn every_solver_ends_where_guidance_wants_it() {
    let schedule = NoiseSchedule::new(&ScheduleConfig::default()).unwrap();
    for (name, solver) in Solver::named_solvers() {
        for guidance in GuidanceConfig::examples(ACTION) {
            let config = SamplerConfig {
                prediction: PredictionType::Sample,
                solver,
                clip_sample: None,
            };
            let sampler = Sampler::new(config, schedule.clone()).unwrap();
            let mut descent = DiffusionSampler::new(sampler, 6, 1, HORIZON).unwrap();
            // A network that wants to go where it may not.
            let wanted = (0..50)
                .map(|seed| plan(seed, 0.4))
                .max_by(|a, b| {
                    guidance
                        .cost(ACTION, a)
                        .total_cmp(&guidance.cost(ACTION, b))
                })
                .unwrap();
            assert!(guidance.cost(ACTION, &wanted) > 0.0);
            let guide = Plain(guidance.clone());
            let mut sample = plan(99, 1.0);
            for level in (1..=6).rev() {
                let noise = plan(level as u64, 1.0);
                let levels = [level; HORIZON];
                descent.step_on_host(&[0], &mut sample, &wanted, &levels, Some(&noise), &[&guide]);
            }
            let cost = guidance.cost(ACTION, &sample);
            assert!(cost < 1e-5, "{name} {guidance:?}: {cost}");
        }
    }
}

#[test]
fn configurations_are_read_as_they_are_written() {
    for guidance in GuidanceConfig::examples(ACTION) {
        let text = serde_json::to_string(&guidance).unwrap();
        let read: GuidanceConfig = serde_json::from_str(&text).unwrap();
        assert_eq!(read, guidance);
        let unknown = text.replacen('{', r#"{"colums": [1], "#, 1);
        let refusal = serde_json::from_str::<GuidanceConfig>(&unknown).unwrap_err();
        assert!(refusal.to_string().contains("colums"), "{refusal}");
    }
    let refusal = serde_json::from_str::<GuidanceConfig>(r#"{"kind": "magnet"}"#).unwrap_err();
    assert!(refusal.to_string().contains("keep_in_box"), "{refusal}");
}
