//! What `top` knows of a robot in some trouble, for tests.

use std::time::Duration;

use kinestream_bridge::Health;

use super::watch::{Link, Watch};

/// After a minute of it, the last message at 60 s; the simulator went at 48 s.
pub fn watch(last: Health) -> Watch {
    let mut watch = Watch::new("kinestream/arm/health".into(), "tcp/127.0.0.1:7447".into());
    watch.link = Link::Open;
    let names = ["runtime".to_owned(), "simulator".to_owned()];
    watch.see(&names, true, Duration::ZERO);
    watch.see(&names[..1], false, Duration::from_secs(48));
    let mut before = last.clone();
    before.limits.velocity = last.limits.velocity.saturating_sub(1);
    for second in 0..57_u32 {
        before.policy.plans_per_second = f64::from(second % 10);
        watch.hear(before.clone(), Duration::from_secs(second.into()));
    }
    for second in 57..=60 {
        watch.hear(last.clone(), Duration::from_secs(second));
    }
    watch
}
