//! Two sessions in one process over loopback TCP. Time limits only end a test that has failed; nothing is judged by them.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};
use zenoh::Wait;

use super::*;
use crate::health::{Health, SafetyState};
use crate::wire::{
    Action, ActionFlags, Command, Contacts, Control, ControlMode, DecodeError, Image,
    ImageEncoding, Kind, Message, Name, Observation, ObservationView, Plan, Pose, PoseFlags,
    Request, Stamp, Status, Values,
};

const LIMIT: Duration = Duration::from_secs(30);

fn pair() -> (Node, Node) {
    let (listener, connector) = loopback_pair("test").unwrap();
    let policy = Node::open(&listener, "arm", "policy").unwrap();
    let simulator = Node::open(&connector, "arm", "simulator").unwrap();
    (policy, simulator)
}

fn observation(sequence: u64) -> Observation<Vec<f64>> {
    let stamp = Stamp {
        sequence,
        ..Stamp::default()
    };
    Observation {
        stamp,
        name: Name::new("state").unwrap(),
        values: vec![sequence as f64; 20],
    }
}

fn plan(observation_sequence: u64) -> Plan {
    Plan {
        stamp: Stamp {
            sequence: observation_sequence,
            ..Stamp::default()
        },
        chunk: observation_sequence,
        observation_sequence,
        first_action_ns: 1,
        period_ns: 100_000_000,
        dims: 2,
        committed: 1,
        levels: 16,
        noise: (0..16).map(|position| position as f32 / 16.0).collect(),
        level: (0..16).collect(),
        actions: vec![observation_sequence as f32; 32],
    }
}

fn action(sequence: u64) -> Action {
    let stamp = Stamp {
        sequence,
        ..Stamp::default()
    };
    Action {
        stamp,
        chunk: sequence,
        position: 0.5,
        noise: 0.0,
        flags: ActionFlags::NONE,
        values: vec![sequence as f32; 2],
    }
}

#[test]
fn two_nodes_work_in_lock_step_and_lose_nothing() {
    const ROUNDS: u64 = 200;
    let (policy, simulator) = pair();
    let observations = policy
        .inbox::<Observation>(&policy.keys().observation("state").unwrap(), 8)
        .unwrap();
    let plans = simulator
        .inbox::<Plan>(&simulator.keys().plan(), 8)
        .unwrap();
    let actions = simulator
        .inbox::<Action>(&simulator.keys().action(), ROUNDS as usize)
        .unwrap();
    let mut observe = simulator.publisher(Channel::Observation("state")).unwrap();
    let mut publish_plan = policy.publisher(Channel::Plan).unwrap();
    let mut act = policy.publisher(Channel::Action).unwrap();
    for publisher in [&observe, &publish_plan, &act] {
        assert!(publisher.wait_until_matched(LIMIT), "{}", publisher.key());
    }
    for sequence in 1..=ROUNDS {
        assert!(observe.publish(&observation(sequence)).unwrap());
        let seen = observations.next(LIMIT).unwrap();
        assert_eq!(seen.stamp.sequence, sequence);
        assert!(publish_plan.publish(&plan(seen.stamp.sequence)).unwrap());
        assert!(act.publish(&action(sequence)).unwrap());
        assert_eq!(plans.next(LIMIT).unwrap(), plan(sequence));
        assert_eq!(actions.next(LIMIT).unwrap(), action(sequence));
    }
    let all = InboxCounts {
        received: ROUNDS,
        dropped: 0,
        malformed: 0,
    };
    assert_eq!(
        (observations.counts(), plans.counts(), actions.counts()),
        (all, all, all)
    );
    assert_eq!((act.published(), act.skipped()), (ROUNDS, 0));
}

#[test]
fn a_reset_arrives_before_the_observations_sent_after_it() {
    let (runtime, simulator) = pair();
    let order = Arc::new(Mutex::new(Vec::new()));
    let last = Arc::new(AtomicU64::new(0));
    let (seen, count) = (Arc::clone(&order), Arc::clone(&last));
    let _observations = runtime
        .subscribe::<Observation, _>(
            &runtime.keys().observation("state").unwrap(),
            move |view: ObservationView<'_>| {
                seen.lock()
                    .unwrap()
                    .push((view.stamp.stream, "observation"));
                count.store(view.stamp.sequence, Ordering::Release);
            },
        )
        .unwrap();
    let seen = Arc::clone(&order);
    let _commands = runtime
        .subscribe::<Command, _>(&runtime.keys().commands(), move |command| {
            seen.lock()
                .unwrap()
                .push((command.stamp.stream, command.request.name()));
        })
        .unwrap();
    let mut observe = simulator
        .lossless_publisher(Channel::Observation("state"))
        .unwrap();
    let mut reset = simulator.publisher(Channel::Command("reset")).unwrap();
    assert!(observe.wait_until_matched(LIMIT) && reset.wait_until_matched(LIMIT));
    let mut expected = Vec::new();
    for stream in 1..=50_u32 {
        let stamp = Stamp {
            stream,
            ..Stamp::default()
        };
        assert!(
            reset
                .publish(&Command {
                    stamp,
                    request: Request::Reset {
                        seed: u64::from(stream)
                    }
                })
                .unwrap()
        );
        expected.push((stream, "reset"));
        let mut message = observation(u64::from(stream));
        message.stamp.stream = stream;
        assert!(observe.publish(&message).unwrap());
        expected.push((stream, "observation"));
    }
    wait(|| last.load(Ordering::Acquire) == 50);
    assert_eq!(*order.lock().unwrap(), expected);
}

#[test]
fn malformed_payloads_are_counted_and_skipped() {
    let (policy, simulator) = pair();
    let key = simulator.keys().action();
    let actions = simulator.inbox::<Action>(&key, 8).unwrap();
    let mut act = policy.publisher(Channel::Action).unwrap();
    assert!(act.wait_until_matched(LIMIT));
    let mut good = Vec::new();
    crate::wire::Encode::encode_into(&action(1), &mut good).unwrap();
    let mut other_kind = Vec::new();
    crate::wire::Encode::encode_into(&plan(1), &mut other_kind).unwrap();
    let huge = vec![0_u8; Kind::Observation.most_bytes() + 1];
    for payload in [
        &b""[..],
        b"KNST",
        &good[..good.len() - 1],
        &other_kind,
        &huge,
    ] {
        policy
            .session()
            .put(key.as_str(), payload)
            .congestion_control(zenoh::qos::CongestionControl::Block)
            .wait()
            .unwrap();
    }
    policy.session().delete(key.as_str()).wait().unwrap();
    wait(|| actions.counts().malformed == 5);
    assert!(act.publish(&action(7)).unwrap());
    assert_eq!(actions.next(LIMIT).unwrap(), action(7));
    assert_eq!(
        actions.counts(),
        InboxCounts {
            received: 1,
            dropped: 0,
            malformed: 5
        }
    );
}

#[test]
fn nodes_appear_and_disappear() {
    let (policy, simulator) = pair();
    let presence = policy.presence().unwrap();
    assert!(presence.wait_for("policy", true, LIMIT));
    assert!(presence.wait_for("simulator", true, LIMIT));
    let second = simulator
        .for_robot(Keys::new("test", "other").unwrap())
        .unwrap();
    let others = second.presence().unwrap();
    assert!(others.wait_for("simulator", true, LIMIT));
    assert_eq!(others.alive(), ["simulator"]);
    drop(simulator);
    assert!(presence.wait_for("simulator", false, LIMIT));
    assert_eq!(presence.alive(), ["policy"]);
    policy.close().unwrap();
    assert!(others.is_alive("simulator"));
}

#[test]
fn nothing_is_encoded_without_a_subscriber() {
    let (policy, simulator) = pair();
    let mut status = policy.publisher(Channel::Status).unwrap();
    assert!(!status.publish(&Status::default()).unwrap());
    assert_eq!((status.published(), status.skipped()), (0, 1));
    let inbox = simulator
        .inbox::<Status>(&simulator.keys().status(), 1)
        .unwrap();
    assert!(status.wait_until_matched(LIMIT));
    assert!(status.publish(&Status::default()).unwrap());
    assert_eq!(inbox.next(LIMIT), Some(Status::default()));
    drop(inbox);
    wait(|| !status.is_matched());
    assert!(!status.publish(&Status::default()).unwrap());
    let error = status.publish(&action(1)).unwrap_err();
    assert!(
        matches!(
            error,
            PublishError::Kind {
                expected: Kind::Status,
                found: Kind::Action
            }
        ),
        "{error}"
    );
}

#[test]
fn a_full_inbox_keeps_the_newest() {
    let (policy, simulator) = pair();
    let latest = simulator
        .inbox::<Action>(&simulator.keys().action(), 3)
        .unwrap();
    let mut act = policy.publisher(Channel::Action).unwrap();
    assert!(act.wait_until_matched(LIMIT));
    for sequence in 1..=10 {
        assert!(act.publish(&action(sequence)).unwrap());
        // One at a time: a burst may be thinned out by zenoh itself, as the channel's quality of service says.
        wait(|| latest.counts().received == sequence);
    }
    wait(|| latest.counts().dropped == 7);
    assert_eq!(latest.try_next(), Some(action(8)));
    assert_eq!(latest.latest(), Some(action(10)));
    assert_eq!(latest.try_next(), None);
}

#[test]
fn questions_are_answered_in_json() {
    let (policy, simulator) = pair();
    let presence = simulator.presence().unwrap();
    assert!(presence.wait_for("policy", true, LIMIT));
    let model = json!({ "parameters": 4_400_000, "horizon": 16 });
    let answer = model.clone();
    let _service = policy.serve("model", move || answer.clone()).unwrap();
    wait(|| simulator.ask("model", LIMIT).unwrap() == Some(model.clone()));
    assert_eq!(simulator.ask("nothing", LIMIT).unwrap(), None);
    assert!(matches!(
        simulator.ask("a/b", LIMIT),
        Err(NodeError::Key(_))
    ));
}

#[test]
fn a_node_that_connects_first_is_found_later() {
    let (listener, connector) = loopback_pair("test").unwrap();
    let simulator = Node::open(&connector, "arm", "simulator").unwrap();
    let presence = simulator.presence().unwrap();
    let _policy = Node::open(&listener, "arm", "policy").unwrap();
    assert!(presence.wait_for("policy", true, LIMIT));
}

#[test]
fn every_channel_has_its_quality_of_service() {
    use zenoh::qos::CongestionControl::{Block, Drop};
    use zenoh::qos::Priority::{Background, InteractiveHigh, RealTime};
    let (policy, simulator) = pair();
    let samples = policy
        .session()
        .declare_subscriber("test/arm/**")
        .wait()
        .unwrap();
    let check = |channel: Channel<'_>, message: Message, expected| {
        let mut publisher = simulator.publisher(channel).unwrap();
        assert!(publisher.wait_until_matched(LIMIT));
        let sent = match message {
            Message::Observation(message) => publisher.publish(&message),
            Message::Action(message) => publisher.publish(&message),
            Message::Plan(message) => publisher.publish(&message),
            Message::Status(message) => publisher.publish(&message),
            Message::Command(message) => publisher.publish(&message),
            Message::Pose(message) => publisher.publish(&message),
            Message::Control(message) => publisher.publish(&message),
            Message::Image(message) => publisher.publish(&message),
        };
        assert!(sent.unwrap());
        let sample = samples.recv_timeout(LIMIT).unwrap().unwrap();
        assert_eq!(sample.key_expr().as_str(), publisher.key());
        let schema = format!("application/octet-stream;kinestream/{}/1", channel.kind());
        assert_eq!(sample.encoding().to_string(), schema);
        assert_eq!(
            (
                sample.priority(),
                sample.congestion_control(),
                sample.express()
            ),
            expected
        );
    };
    let values = Values::F32(vec![1.0]);
    let seen = Observation {
        stamp: Stamp::default(),
        name: Name::new("state").unwrap(),
        values,
    };
    let picture = Image {
        stamp: Stamp::default(),
        name: Name::new("top").unwrap(),
        width: 1,
        height: 1,
        encoding: ImageEncoding::Rgb8,
        data: vec![1, 2, 3],
    };
    check(
        Channel::Image("top"),
        Message::Image(picture),
        (RealTime, Drop, true),
    );
    let stop = Command {
        stamp: Stamp::default(),
        request: Request::Stop,
    };
    check(
        Channel::Observation("state"),
        Message::Observation(seen),
        (RealTime, Drop, true),
    );
    check(
        Channel::Action,
        Message::Action(action(1)),
        (RealTime, Drop, true),
    );
    check(
        Channel::Plan,
        Message::Plan(plan(1)),
        (InteractiveHigh, Drop, true),
    );
    check(
        Channel::Status,
        Message::Status(Status::default()),
        (Background, Drop, false),
    );
    check(
        Channel::Command("stop"),
        Message::Command(stop),
        (RealTime, Block, true),
    );
    let pose = Pose {
        stamp: Stamp::default(),
        frame: 1,
        frame_ns: 0,
        period_ns: 16_666_667,
        contacts: Contacts::NONE,
        flags: PoseFlags::NONE,
        phase: 0.0,
        root_position: [0.0; 3],
        root_velocity: [0.0; 3],
        yaw_rate: 0.0,
        rotations: vec![[0.0, 0.0, 0.0, 1.0]],
    };
    check(Channel::Pose, Message::Pose(pose), (RealTime, Drop, true));
    let control = Control {
        stamp: Stamp::default(),
        mode: ControlMode::Stick,
        velocity: [0.0, 1.0],
        facing: [0.0; 2],
        diversity: 1.0,
        strength: 1.0,
        points: Vec::new(),
    };
    check(
        Channel::Control,
        Message::Control(control),
        (RealTime, Drop, true),
    );
}

#[test]
fn handles_can_move_to_other_threads() {
    fn assert_send<T: Send>() {}
    assert_send::<Node>();
    assert_send::<Publisher>();
    assert_send::<Inbox<Plan>>();
    assert_send::<Presence>();
}

#[test]
fn bad_options_are_refused_by_name() {
    let open =
        |options: &SessionOptions| Node::open(options, "arm", "node").unwrap_err().to_string();
    let options = SessionOptions {
        listen: vec!["127.0.0.1:7447".to_owned()],
        ..SessionOptions::default()
    };
    assert!(
        open(&options).starts_with("session: listen: expected addresses like"),
        "{}",
        open(&options)
    );
    let options = SessionOptions {
        mode: Some(Mode::Client),
        ..SessionOptions::default()
    };
    assert!(open(&options).starts_with("session: connect: expected at least one address"));
    let options = SessionOptions {
        namespace: "a*".to_owned(),
        ..SessionOptions::default()
    };
    assert!(open(&options).starts_with("namespace \"a*\""));
    let options = SessionOptions {
        config_file: Some("no/such/file.json5".into()),
        ..SessionOptions::default()
    };
    assert!(open(&options).contains("no/such/file.json5"));
    assert!(serde_json::from_value::<SessionOptions>(json!({ "listn": [] })).is_err());
    let read: SessionOptions =
        serde_json::from_value(json!({ "mode": "router", "multicast": true })).unwrap();
    assert_eq!(
        (read.mode, read.multicast, read.namespace.as_str()),
        (Some(Mode::Router), Some(true), "kinestream")
    );
}

#[test]
fn an_address_in_use_is_an_error_that_names_it() {
    let (listener, _) = loopback_pair("test").unwrap();
    let _first = Node::open(&listener, "arm", "policy").unwrap();
    let error = Node::open(&listener, "arm", "policy")
        .unwrap_err()
        .to_string();
    assert!(error.contains(&listener.listen[0]), "{error}");
}

#[test]
fn errors_carry_what_was_found() {
    let error = <Action as crate::wire::Decode>::decode(b"KNST").unwrap_err();
    assert_eq!(
        error,
        DecodeError::Truncated {
            expected: 6,
            found: 4
        }
    );
}

/// Polls until `done`; fails after the limit.
fn wait(done: impl Fn() -> bool) {
    for _ in 0..LIMIT.as_millis() / 5 {
        if done() {
            return;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    panic!("did not come true within {LIMIT:?}");
}

#[test]
fn health_arrives_as_sent_and_what_is_wrong_is_counted_and_skipped() {
    let (runtime, watcher) = pair();
    let mut publisher = runtime.health_publisher().unwrap();
    let mut health = Health {
        robot: "arm".to_owned(),
        rung: SafetyState::Running,
        ..Health::default()
    };
    // Nobody listens: nothing is sent, but what is wrong is still said.
    assert!(!publisher.publish(&health).unwrap());
    health.uptime_s = f64::INFINITY;
    assert!(matches!(
        publisher.publish(&health),
        Err(PublishError::Health(_))
    ));
    let inbox = watcher.health_inbox(4).unwrap();
    assert!(publisher.wait_until_matched(LIMIT));
    let raw = runtime.session();
    for payload in ["", "{", r#"{"uptime_s": -1}"#, &" ".repeat(100_000)] {
        raw.put(publisher.key(), payload).wait().unwrap();
    }
    health.uptime_s = 1.5;
    assert!(publisher.publish(&health).unwrap());
    // Another priority may overtake: the malformed ones are waited for by their count.
    assert_eq!(inbox.next(LIMIT).unwrap(), health);
    let begun = std::time::Instant::now();
    while inbox.counts().malformed < 4 && begun.elapsed() < LIMIT {
        std::thread::sleep(Duration::from_millis(5));
    }
    let expected = InboxCounts {
        received: 1,
        dropped: 0,
        malformed: 4,
    };
    assert_eq!(inbox.counts(), expected);
}

/// Counts what it is asked for.
#[derive(Default)]
struct Requests {
    stops: AtomicU64,
    others: Mutex<Vec<MotionRequest>>,
    keepers: Mutex<KeeperState>,
    twin: AtomicBool,
}

impl RequestHandler for Requests {
    fn stop(&self, _: StopSource) {
        self.stops.fetch_add(1, Ordering::SeqCst);
    }

    fn request(&self, request: MotionRequest) -> Result<(), String> {
        self.others.lock().unwrap().push(request);
        Ok(())
    }

    fn state(&self, request: MotionRequest) -> Value {
        json!({ "asked": request.name() })
    }

    fn watch(&self, keepers: KeeperState, twin: bool) {
        *self.keepers.lock().unwrap() = keepers;
        self.twin.store(twin, Ordering::SeqCst);
    }
}

/// The first answer to a query, or the reason why there is none.
fn query(node: &Node, key: &str, payload: Option<&str>) -> Result<String, String> {
    let query = node.session().get(key).timeout(Duration::from_secs(20));
    let query = match payload {
        Some(payload) => query.payload(payload),
        None => query,
    };
    let text =
        |bytes: &zenoh::bytes::ZBytes| String::from_utf8_lossy(&bytes.to_bytes()).into_owned();
    let reply = query
        .wait()
        .unwrap()
        .recv()
        .map_err(|error| error.to_string())?;
    match reply.result() {
        Ok(sample) => Ok(text(sample.payload())),
        Err(error) => Err(text(error.payload())),
    }
}

#[test]
fn only_what_is_meant_stops_or_moves() {
    let (runtime, other) = pair();
    let requests = Arc::new(Requests::default());
    let identity = runtime.runtime_identity(1);
    let _listener = runtime
        .listen_for_stops(Arc::clone(&requests) as _, identity, &[])
        .unwrap();
    let prefix = runtime.keys().prefix().to_owned();
    // Declared last: the other side knows all of them then.
    wait(|| query(&other, &format!("{prefix}/info/runtime"), None).is_ok());
    // Whoever looks around moves and stops nothing, whatever it carries.
    let rearm = MotionRequest::Rearm.payload().to_string();
    for payload in [None, Some(rearm.as_str())] {
        for selector in [
            "**",
            "*/**",
            &format!("{prefix}/srv/*"),
            &format!("{prefix}/**"),
        ] {
            let all = other
                .session()
                .get(selector)
                .timeout(Duration::from_secs(20));
            let all = match payload {
                Some(payload) => all.payload(payload),
                None => all,
            };
            let refused = all
                .target(zenoh::query::QueryTarget::All)
                .wait()
                .unwrap()
                .into_iter()
                .filter(|reply| reply.result().is_err())
                .count();
            assert!(refused <= MotionRequest::ALL.len(), "{selector}");
        }
    }
    other
        .session()
        .put(format!("{prefix}/cmd/*"), "x")
        .wait()
        .unwrap();
    other
        .session()
        .put(format!("{prefix}/srv/rearm"), "x")
        .wait()
        .unwrap();
    other
        .session()
        .put(format!("{prefix}/srv/estop"), "x")
        .wait()
        .unwrap();
    other
        .session()
        .delete(format!("{prefix}/cmd/estop"))
        .wait()
        .unwrap();
    // A question after it: all before has arrived.
    let state = query(&other, &format!("{prefix}/srv/pause"), None).unwrap();
    assert_eq!(state, r#"{"asked":"pause"}"#);
    assert_eq!(requests.stops.load(Ordering::SeqCst), 0);
    assert_eq!(*requests.others.lock().unwrap(), [MotionRequest::Pause]);
    // What moves has to say so.
    for request in [
        MotionRequest::Rearm,
        MotionRequest::Resume,
        MotionRequest::Home,
    ] {
        let key = format!("{prefix}/srv/{}", request.name());
        for payload in [None, Some(""), Some("{}"), Some("true")] {
            let refused = query(&other, &key, payload).unwrap_err();
            assert!(
                refused.contains(&request.payload().to_string()),
                "{refused}"
            );
        }
        query(&other, &key, Some(&request.payload().to_string())).unwrap();
    }
    assert_eq!(requests.others.lock().unwrap().len(), 4);
    // A stop needs nothing.
    query(&other, &format!("{prefix}/srv/estop"), None).unwrap();
    assert_eq!(requests.stops.load(Ordering::SeqCst), 1);
    other.send_stop().unwrap();
    wait(|| requests.stops.load(Ordering::SeqCst) == 2);
    // All robots at once are meant by that key.
    other.session().put("*/*/cmd/estop", "x").wait().unwrap();
    wait(|| requests.stops.load(Ordering::SeqCst) == 3);
}

#[test]
fn a_kept_stop_holds_whoever_listens_and_no_rearming_leaves_it() {
    let (runtime, other) = pair();
    let requests = Arc::new(Requests::default());
    let identity = runtime.runtime_identity(1);
    let _listener = runtime
        .listen_for_stops(Arc::clone(&requests) as _, identity, &[])
        .unwrap();
    // It comes after the runtime, over the runtime's own listener.
    let key = runtime.keys().command("estop").unwrap();
    let held = Arc::new(AtomicBool::new(true));
    let (is_held, reply_key) = (Arc::clone(&held), key.clone());
    let keeper = other
        .session()
        .declare_queryable(key)
        .callback(move |query| {
            let replied = match is_held.load(Ordering::SeqCst) {
                true => query.reply(reply_key.as_str(), "held").wait(),
                false => query.reply_err("released").wait(),
            };
            replied.unwrap();
        })
        .wait()
        .unwrap();
    let keepers = || *requests.keepers.lock().unwrap();
    wait(|| keepers() == KeeperState::Held);
    assert!(requests.stops.load(Ordering::SeqCst) > 0);
    let rearm = format!("{}/srv/rearm", runtime.keys().prefix());
    let about = format!("{}/info/runtime", runtime.keys().prefix());
    wait(|| query(&other, &about, None).is_ok());
    let payload = MotionRequest::Rearm.payload().to_string();
    let refused = query(&other, &rearm, Some(&payload)).unwrap_err();
    assert!(refused.contains("holds the stop"), "{refused}");
    held.store(false, Ordering::SeqCst);
    query(&other, &rearm, Some(&payload)).unwrap();
    wait(|| keepers() == KeeperState::Released);
    keeper.undeclare().wait().unwrap();
    wait(|| keepers() == KeeperState::Absent);
}

#[test]
fn two_runtimes_of_one_robot_notice_each_other_and_the_first_goes_on() {
    let (first, second) = pair();
    assert_eq!(second.find_runtime().unwrap(), None);
    let (one, other) = (Arc::new(Requests::default()), Arc::new(Requests::default()));
    let _one = first
        .listen_for_stops(Arc::clone(&one) as _, first.runtime_identity(1), &[])
        .unwrap();
    assert_eq!(first.find_runtime().unwrap(), None);
    wait(|| second.find_runtime().unwrap() == Some(first.runtime_identity(1)));
    let _other = second
        .listen_for_stops(Arc::clone(&other) as _, second.runtime_identity(2), &[])
        .unwrap();
    wait(|| other.twin.load(Ordering::SeqCst));
    assert!(!one.twin.load(Ordering::SeqCst));
}

#[test]
fn a_message_that_no_picture_needs_is_not_gathered() {
    let (policy, simulator) = pair();
    let inbox = policy
        .inbox::<Observation<Values>>(&policy.keys().observation("state").unwrap(), 4)
        .unwrap();
    let mut publisher = simulator.publisher(Channel::Observation("state")).unwrap();
    assert!(publisher.wait_until_matched(LIMIT));
    let raw = |bytes: usize| {
        let put = simulator.session().put(publisher.key(), vec![0_u8; bytes]);
        let put = put.congestion_control(zenoh::qos::CongestionControl::Block);
        put.wait().unwrap();
    };
    // What is as long as a picture arrives, and is no observation; what is longer does not arrive.
    raw(Kind::Image.most_bytes());
    raw(Kind::Image.most_bytes() + (1 << 20));
    raw(100);
    wait(|| inbox.counts().malformed >= 2);
    publisher.publish(&observation(1)).unwrap();
    assert!(inbox.next(LIMIT).is_some());
    assert_eq!(inbox.counts().malformed, 2);
}
