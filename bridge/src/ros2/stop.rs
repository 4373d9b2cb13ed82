//! A topic of ROS 2 on which a message is an emergency stop.
//!
//! Messages of any type stop: whoever asks for a stop should not fail for a type. A `std_msgs/Bool` that is false is the one
//! exception, since buttons are published as what they are, over and over.

use zenoh::Wait;
use zenoh::sample::{Sample, SampleKind};

use super::names::{NameError, check_topic};

/// Bytes of CDR before the first field.
const CDR_HEADER: usize = 4;

/// A topic of ROS 2 that stops.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StopTopic {
    key: String,
}

impl StopTopic {
    /// The topic of a domain, with or without the leading `/`.
    ///
    /// # Errors
    /// A name that ROS 2 does not allow.
    pub fn new(domain: u32, topic: &str) -> Result<Self, NameError> {
        let name = check_topic(topic)?;
        Ok(Self {
            key: format!("{domain}/{name}/*/*"),
        })
    }

    /// The key expression of its messages, whatever their type.
    #[must_use]
    pub fn key(&self) -> &str {
        &self.key
    }

    /// Calls `stop` at every message that asks for one, on zenoh's receiving thread.
    pub(crate) fn listen(
        &self,
        session: &zenoh::Session,
        stop: impl Fn() + Send + Sync + 'static,
    ) -> Result<zenoh::pubsub::Subscriber<()>, zenoh::Error> {
        session
            .declare_subscriber(self.key.clone())
            .callback(move |sample: Sample| {
                let key = sample.key_expr().as_str();
                let message_type = key.rsplit('/').nth(1).unwrap_or_default();
                if sample.kind() == SampleKind::Put
                    && is_stop(message_type, &sample.payload().to_bytes())
                {
                    stop();
                }
            })
            .wait()
    }
}

/// Whether a message of a type, as DDS spells it, asks for a stop.
fn is_stop(message_type: &str, bytes: &[u8]) -> bool {
    message_type != "std_msgs::msg::dds_::Bool_" || bytes.get(CDR_HEADER) != Some(&0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_message_stops_but_a_false_button() {
        let bool = "std_msgs::msg::dds_::Bool_";
        assert!(!is_stop(bool, &[0, 1, 0, 0, 0]));
        assert!(is_stop(bool, &[0, 1, 0, 0, 1]));
        assert!(is_stop(bool, &[]));
        assert!(is_stop("std_msgs::msg::dds_::Empty_", &[0, 1, 0, 0, 0]));
        assert!(is_stop("", &[]));
    }

    #[test]
    fn a_topic_has_the_key_of_any_type() {
        let topic = StopTopic::new(7, "/cell/estop").unwrap();
        assert_eq!(topic.key(), "7/cell/estop/*/*");
        assert!(StopTopic::new(7, "2cell").is_err());
        assert!(StopTopic::new(7, "**").is_err());
    }
}
