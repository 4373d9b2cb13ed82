use kinestream_diffusion::Execution;

use nalgebra::Vector2;

use super::*;
use crate::model::testing::tiny;

/// Crowds by LibTorch and by the fused kernels.
fn crowds(count: usize) -> [CharacterBatch; 2] {
    [Execution::LIBTORCH, Execution::auto(1)].map(|execution| {
        let mut model = tiny();
        model.execute_by(&execution).unwrap();
        let first = model.starts().narrow(0, 0, 1).repeat([count as i64, 1]);
        let seeds: Vec<u64> = (0..count as u64).collect();
        CharacterBatch::new(model, &first, &seeds).unwrap()
    })
}

fn wishes(count: usize) -> Vec<SteeringTarget> {
    let wish = |character: usize| SteeringTarget {
        ahead: (character.is_multiple_of(2)).then(|| {
            [1.0, 2.0, 3.0].map(|ahead| Root {
                position: Vector2::new(0.1, ahead),
                heading: 0.1,
            })
        }),
        motion: (character.is_multiple_of(3)).then(|| (Vector2::new(0.0, 1.0), 0.1)),
        strength: (0.5, 0.3),
    };
    (0..count).map(wish).collect()
}

#[test]
fn both_executors_move_a_crowd_alike() {
    let [mut libtorch, mut fused] = crowds(4);
    assert_eq!(libtorch.executor(), Executor::LibTorch);
    assert_eq!(fused.executor(), Executor::Fused);
    for crowd in [&mut libtorch, &mut fused] {
        crowd.set_diversity(0.5);
        for _ in 0..20 {
            crowd.advance(&wishes(4)).unwrap();
        }
    }
    for character in 0..4 {
        let [expected, found] = [&libtorch, &fused].map(|crowd| crowd.root(character));
        assert!((found.position - expected.position).norm() < 1e-4);
        assert!((found.heading - expected.heading).abs() < 1e-4);
        let [expected, found] = [&libtorch, &fused].map(|crowd| crowd.pose(character));
        assert!((found.root - expected.root).norm() < 1e-3);
    }
    let difference = (libtorch.embedded() - fused.embedded()).abs().max();
    assert!(f64::try_from(difference).unwrap() < 1e-3);
}

#[test]
fn a_characters_motion_is_its_own_to_the_bit() {
    let [_, mut together] = crowds(7);
    let [_, mut alone] = crowds(1);
    for _ in 0..10 {
        together.advance(&wishes(7)).unwrap();
        alone.advance(&wishes(1)).unwrap();
    }
    let of = |crowd: &CharacterBatch| Vec::<f32>::try_from(crowd.state().get(0)).unwrap();
    assert_eq!(of(&together), of(&alone));
    assert_eq!(together.root(0).position, alone.root(0).position);
}

#[test]
fn what_is_not_finite_is_refused_and_counted() {
    for mut crowd in crowds(2) {
        let before = crowd.state();
        let broken = before.copy();
        let _ = broken.get(1).fill_(f64::NAN);
        crowd.resume(&broken, Root::default()).unwrap();
        crowd.advance(&wishes(2)).unwrap();
        assert_eq!([0, 1].map(|at| crowd.refused(at)), [0, 1]);
        assert_eq!(crowd.root(1).position, Vector2::zeros());
        crowd.resume(&before, Root::default()).unwrap();
        crowd.advance(&wishes(2)).unwrap();
        assert_eq!(crowd.refused(1), 1);
    }
}

#[test]
fn large_crowds_stay_with_libtorch() {
    let [_, crowd] = crowds(MOST_FUSED + 1);
    assert_eq!(crowd.executor(), Executor::LibTorch);
}
