//! The viewer page with a frame that stands still and a runtime in some trouble: to look at the
//! page, and for pictures of it.
//!
//!     cargo run -p kinestream-sim --example page
//!     chromium --headless --screenshot=page.png --window-size=1280,1150 http://127.0.0.1:8741

use kinestream_sim::pusht::GOAL_POSE;
use kinestream_viewer::pusht::{Frame, Latency, Plan, Rates, RunState, Viewer};
use serde_json::{Value, json};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let viewer = Viewer::bind(([127, 0, 0, 1], 8741).into())?;
    viewer.handle().publish(frame());
    println!("http://{}", viewer.address());
    let stopped = async {
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
    };
    Ok(viewer.serve(stopped).await?)
}

fn frame() -> Frame {
    let noise: Vec<f32> = (0..16).map(|position| position as f32 / 15.0).collect();
    Frame {
        time: 12.3,
        episode: 4,
        seed: 100_003,
        step: 123,
        agent: [236.0, 378.0],
        block: [280.0, 240.0, 0.4],
        goal: GOAL_POSE,
        target: [244.0, 366.0],
        coverage: 0.612,
        reward: 0.644,
        best_reward: 0.71,
        plan: Plan {
            chunk: 31,
            actions: (0..16)
                .map(|position| [236.0 + 4.0 * position as f32, 378.0 - 8.0 * position as f32])
                .collect(),
            noise,
            committed: 4,
            current: 0,
        },
        rates: Rates {
            plans_per_second: 10.0,
            commands_per_second: 100.0,
        },
        latency: Latency {
            last_ms: 5.01,
            p50_ms: 4.85,
            p99_ms: 8.51,
            evaluations_per_action: 0.25,
        },
        missed: 3,
        history: vec![0.9, 1.0, 0.4],
        state: RunState::Running,
        health: Some(health()),
        nodes: vec!["runtime".into(), "simulator".into()],
        ..Frame::default()
    }
}

fn health() -> Value {
    let counts = [
        0, 0, 0, 3120, 24_410, 9870, 4210, 1630, 212, 31, 9, 3, 1, 0, 0, 0, 0, 0, 0,
    ];
    let buckets: Vec<[f64; 2]> = counts
        .iter()
        .enumerate()
        .map(|(index, count)| {
            let bound = 10_f64.powi(index as i32 / 3) * [1.0, 2.0, 5.0][index % 3];
            [bound, f64::from(*count)]
        })
        .collect();
    json!({
        "rung": "holding",
        "reason": "no observation for 0.4 s",
        "rung_since_s": 2.5,
        "rung_counts": {"waiting": 1, "running": 4, "continuing": 7, "holding": 3, "safe_stop": 0, "emergency_stop": 0},
        "longest_without_command_ms": 412.0,
        "control": {
            "rate_hz": 100.0, "measured_hz": 99.9, "ticks": 43_496, "missed": 3,
            "lateness_us": {"p50": 18.2, "p99": 180.5, "p999": 480.0, "max": 8_410.0},
            "lateness_buckets": buckets,
            "scheduling": {"policy": "SCHED_FIFO", "priority": 50, "cpus": [1], "memory_locked": true},
            "allocations": 0, "dropped": 0, "published": 43_496,
        },
        "limits": {
            "not_finite": 0, "position": 0, "velocity": 12, "acceleration": 3, "jerk": 0,
            "limited": 14, "largest_deviation": 0.0213,
        },
    })
}
