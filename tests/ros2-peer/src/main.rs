//! A ROS 2 node on hiroz, as a command: hears a topic, speaks on one, or shows what is on the network. Lines of JSON on
//! stdin and stdout, one message each.
//!
//! Fields of messages have hiroz's own names, which are those of the `.msg` files.

use std::io::{BufRead, Write};
use std::num::NonZeroUsize;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use clap::{Parser, Subcommand};
use hiroz::msg::{ZDeserializer, ZMessage};
use hiroz::prelude::*;
use hiroz_msgs::{geometry_msgs, sensor_msgs, std_msgs, tf2_msgs, trajectory_msgs};

/// Speaks ROS 2 over zenoh, with hiroz.
#[derive(Debug, Parser)]
struct Arguments {
    /// Where to connect, such as tcp/127.0.0.1:7447.
    #[arg(long)]
    connect: String,
    /// ROS_DOMAIN_ID.
    #[arg(long, default_value_t = 0)]
    domain: usize,
    /// Messages are not sent again.
    #[arg(long)]
    best_effort: bool,
    /// Late subscribers get the last messages.
    #[arg(long)]
    transient_local: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Prints messages of a topic until there are enough.
    Hear {
        /// Such as sensor_msgs/JointState.
        message: String,
        /// Such as /joint_states.
        topic: String,
        /// How many.
        #[arg(long, default_value_t = 1)]
        count: usize,
        /// Seconds to wait for each.
        #[arg(long, default_value_t = 60)]
        wait: u64,
    },
    /// Sends what stdin says, line by line, once somebody listens; stays until stdin ends.
    Say {
        /// Such as sensor_msgs/JointState.
        message: String,
        /// Such as /joint_states.
        topic: String,
        /// Does not wait for listeners.
        #[arg(long)]
        at_once: bool,
    },
    /// Prints nodes and topics once these topics are there.
    Graph {
        /// Topics to wait for.
        topics: Vec<String>,
    },
}

/// Calls a function for the type that a name names.
macro_rules! with_type {
    ($name:expr, $function:ident($($argument:expr),*)) => {
        match $name {
            "std_msgs/String" => $function::<std_msgs::String>($($argument),*),
            "std_msgs/Float64MultiArray" => $function::<std_msgs::Float64MultiArray>($($argument),*),
            "sensor_msgs/JointState" => $function::<sensor_msgs::JointState>($($argument),*),
            "sensor_msgs/Image" => $function::<sensor_msgs::Image>($($argument),*),
            "sensor_msgs/CompressedImage" => $function::<sensor_msgs::CompressedImage>($($argument),*),
            "trajectory_msgs/JointTrajectory" => $function::<trajectory_msgs::JointTrajectory>($($argument),*),
            "geometry_msgs/Twist" => $function::<geometry_msgs::Twist>($($argument),*),
            "geometry_msgs/PoseStamped" => $function::<geometry_msgs::PoseStamped>($($argument),*),
            "tf2_msgs/TFMessage" => $function::<tf2_msgs::TFMessage>($($argument),*),
            other => bail!("unknown message {other}"),
        }
    };
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let runtime = tokio::runtime::Runtime::new()?;
    let _entered = runtime.enter();
    let context = ZContextBuilder::default()
        .with_domain_id(arguments.domain)
        .with_mode("client")
        .disable_multicast_scouting()
        .with_connect_endpoints([arguments.connect.clone()])
        .build()
        .map_err(|error| anyhow!("no session: {error}"))?;
    let node = context
        .create_node("peer")
        .build()
        .map_err(|error| anyhow!("no node: {error}"))?;
    let qos = QosProfile {
        reliability: if arguments.best_effort {
            QosReliability::BestEffort
        } else {
            QosReliability::Reliable
        },
        durability: if arguments.transient_local {
            QosDurability::TransientLocal
        } else {
            QosDurability::Volatile
        },
        history: QosHistory::KeepLast(NonZeroUsize::new(10).context("ten is not zero")?),
        ..QosProfile::default()
    };
    match &arguments.command {
        Command::Hear {
            message,
            topic,
            count,
            wait,
        } => with_type!(
            message.as_str(),
            hear(&node, topic, qos, *count, Duration::from_secs(*wait))
        ),
        Command::Say {
            message,
            topic,
            at_once,
        } => with_type!(message.as_str(), say(&runtime, &node, topic, qos, *at_once)),
        Command::Graph { topics } => graph(&context, topics),
    }
}

fn hear<M>(node: &ZNode, topic: &str, qos: QosProfile, count: usize, wait: Duration) -> Result<()>
where
    M: ZMessage + WithTypeInfo + serde::Serialize,
    M::Serdes: for<'a> ZDeserializer<Input<'a> = &'a [u8], Output = M>,
{
    let subscriber = node
        .create_sub::<M>(topic)
        .with_qos(qos)
        .build()
        .map_err(|error| anyhow!("no subscription: {error}"))?;
    for _ in 0..count {
        let message = subscriber
            .recv_timeout(wait)
            .map_err(|error| anyhow!("nothing on {topic}: {error}"))?;
        let mut out = std::io::stdout().lock();
        serde_json::to_writer(&mut out, &message)?;
        writeln!(out)?;
    }
    Ok(())
}

fn say<M>(
    runtime: &tokio::runtime::Runtime,
    node: &ZNode,
    topic: &str,
    qos: QosProfile,
    at_once: bool,
) -> Result<()>
where
    M: ZMessage + WithTypeInfo + serde::de::DeserializeOwned,
{
    let publisher = node
        .create_pub::<M>(topic)
        .with_qos(qos)
        .build()
        .map_err(|error| anyhow!("no publisher: {error}"))?;
    let limit = Duration::from_secs(60);
    if !at_once && !runtime.block_on(publisher.wait_for_subscription(1, limit)) {
        bail!("nobody listens to {topic}");
    }
    for line in std::io::stdin().lock().lines() {
        let message: M = serde_json::from_str(&line?).context("no such message")?;
        publisher
            .publish(&message)
            .map_err(|error| anyhow!("not sent: {error}"))?;
    }
    Ok(())
}

fn graph(context: &ZContext, topics: &[String]) -> Result<()> {
    let graph = context.graph();
    let begun = std::time::Instant::now();
    loop {
        let found = graph.get_topic_names_and_types();
        let has = |topic: &String| found.iter().any(|(name, _)| name == topic);
        if topics.iter().all(has) {
            let shown = serde_json::json!({ "nodes": graph.get_node_names(), "topics": found });
            println!("{shown}");
            return Ok(());
        }
        if begun.elapsed() > Duration::from_secs(60) {
            bail!("found only {found:?}");
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}
