//! What `rmw_zenoh_cpp` calls things: keys of topics, liveliness tokens of nodes and endpoints, and the attachment that every
//! sample carries. A peer that spells them so is seen by `ros2 topic list` and heard by any node.
//!
//! Spelled after `rmw_zenoh_cpp`'s design document and its sources (Jazzy since 0.2.4, Rolling since 0.6.0).

use std::fmt;

use super::messages::Message;

/// Bytes of an attachment.
pub const ATTACHMENT_BYTES: usize = 33;
/// Bytes of an endpoint's identity.
const GID_BYTES: u8 = 16;

/// A topic of a ROS domain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Topic {
    domain: u32,
    name: String,
    type_name: String,
    type_hash: &'static str,
}

/// Why a text is no name of ROS 2.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{what} `{found}`: expected letters, digits and '_' in parts with '/' between, none of which begins with a digit"
)]
pub struct NameError {
    /// What it was to name.
    pub what: &'static str,
    /// The text.
    pub found: String,
}

impl Topic {
    /// A topic for messages of a type; its name with or without the leading `/`.
    ///
    /// # Errors
    /// A name that ROS 2 does not allow.
    pub fn new<M: Message>(domain: u32, name: &str) -> Result<Self, NameError> {
        Ok(Self {
            domain,
            name: check_topic(name)?.to_owned(),
            type_name: mangled(M::NAME),
            type_hash: M::HASH,
        })
    }

    /// The key that its samples travel on.
    #[must_use]
    pub fn key(&self) -> String {
        let Self {
            domain,
            name,
            type_name,
            type_hash,
        } = self;
        format!("{domain}/{name}/{type_name}/{type_hash}")
    }
}

/// A topic's name without its leading `/`.
pub(super) fn check_topic(name: &str) -> Result<&str, NameError> {
    let trimmed = name.strip_prefix('/').unwrap_or(name);
    match trimmed.split('/').all(is_token) {
        true => Ok(trimmed),
        false => Err(NameError {
            what: "topic",
            found: name.to_owned(),
        }),
    }
}

/// `sensor_msgs/msg/JointState` as DDS spells it: `sensor_msgs::msg::dds_::JointState_`.
fn mangled(name: &str) -> String {
    match name.rsplit_once('/') {
        Some((package, kind)) => format!("{}::dds_::{kind}_", package.replace('/', "::")),
        None => name.to_owned(),
    }
}

/// A part of a name: letters, digits and `_`, no digit first.
fn is_token(text: &str) -> bool {
    let letters = |letter: char| letter.is_ascii_alphanumeric() || letter == '_';
    text.chars().all(letters)
        && text
            .chars()
            .next()
            .is_some_and(|first| !first.is_ascii_digit())
}

/// How samples are delivered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Qos {
    /// Whether lost samples are sent again; else best effort.
    pub reliable: bool,
    /// Whether late subscribers get the last samples (transient local); else volatile.
    pub transient_local: bool,
    /// Samples that are kept, at least 1.
    pub depth: u32,
}

impl Default for Qos {
    /// ROS 2's own: reliable, volatile, the last ten.
    fn default() -> Self {
        Self {
            reliable: true,
            transient_local: false,
            depth: 10,
        }
    }
}

impl fmt::Display for Qos {
    /// As tokens carry it: fields that are as usual stay empty.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let reliability = if self.reliable { "" } else { "2" };
        let durability = if self.transient_local { "1" } else { "" };
        write!(f, "{reliability}:{durability}:,{}:,:,:,,", self.depth)
    }
}

/// A node of ROS 2 on a zenoh session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeName {
    domain: u32,
    session: String,
    namespace: String,
    name: String,
}

/// Which end of a topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Endpoint {
    /// It sends.
    Publisher,
    /// It hears.
    Subscriber,
}

impl NodeName {
    /// A node; `session` is the zenoh session's id in hexadecimal, `namespace` empty or such as `/lab`.
    ///
    /// # Errors
    /// A name that ROS 2 does not allow.
    pub fn new(domain: u32, session: &str, namespace: &str, name: &str) -> Result<Self, NameError> {
        let inner = namespace.trim_matches('/');
        if !inner.is_empty() && !inner.split('/').all(is_token) {
            return Err(NameError {
                what: "namespace",
                found: namespace.to_owned(),
            });
        }
        if !is_token(name) {
            return Err(NameError {
                what: "node",
                found: name.to_owned(),
            });
        }
        Ok(Self {
            domain,
            session: session.to_owned(),
            namespace: if inner.is_empty() {
                String::new()
            } else {
                format!("/{inner}")
            },
            name: name.to_owned(),
        })
    }

    /// Empty, or such as `/lab`.
    #[must_use]
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// The node's liveliness token; `id` tells nodes of one session apart.
    #[must_use]
    pub fn token(&self, id: u32) -> String {
        format!("{}/{id}/{id}/NN/{}", self.begin(), self.end())
    }

    /// An endpoint's token; `id` tells endpoints of one session apart.
    #[must_use]
    pub fn endpoint_token(
        &self,
        node: u32,
        id: u32,
        end: Endpoint,
        topic: &Topic,
        qos: Qos,
    ) -> String {
        let kind = match end {
            Endpoint::Publisher => "MP",
            Endpoint::Subscriber => "MS",
        };
        format!(
            "{}/{node}/{id}/{kind}/{}/{}/{}/{}/{qos}",
            self.begin(),
            self.end(),
            slashes(&format!("/{}", topic.name)),
            topic.type_name,
            topic.type_hash,
        )
    }

    fn begin(&self) -> String {
        format!("@ros2_lv/{}/{}", self.domain, self.session)
    }

    /// Enclave (none), namespace and name.
    fn end(&self) -> String {
        format!("%/{}/{}", slashes(&self.namespace), self.name)
    }
}

/// A field of a token: `/` is spelled `%`, and so is nothing.
fn slashes(text: &str) -> String {
    if text.is_empty() {
        "%".into()
    } else {
        text.replace('/', "%")
    }
}

/// What every sample carries beside its payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attachment {
    /// Number of the sample, from 1.
    pub sequence: i64,
    /// When it was sent, nanoseconds since the epoch.
    pub sent_ns: i64,
    /// Identity of the endpoint.
    pub gid: [u8; GID_BYTES as usize],
}

/// Why bytes are no attachment.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AttachmentError {
    /// The layout with a label before each field.
    #[error(
        "an attachment with labels, as rmw_zenoh_cpp wrote it before Jazzy 0.2.4 and Rolling 0.6.0; update the sender"
    )]
    Labelled,
    /// Anything else.
    #[error(
        "an attachment of {found} bytes; expected {ATTACHMENT_BYTES}: sequence, time, 16 and the endpoint's 16 bytes"
    )]
    Wrong {
        /// How many there are.
        found: usize,
    },
}

impl Attachment {
    /// The bytes.
    #[must_use]
    pub fn encode(&self) -> [u8; ATTACHMENT_BYTES] {
        let mut bytes = [0; ATTACHMENT_BYTES];
        bytes[..8].copy_from_slice(&self.sequence.to_le_bytes());
        bytes[8..16].copy_from_slice(&self.sent_ns.to_le_bytes());
        bytes[16] = GID_BYTES;
        bytes[17..].copy_from_slice(&self.gid);
        bytes
    }

    /// An attachment from bytes that may be anybody's.
    ///
    /// # Errors
    /// Another layout.
    pub fn decode(bytes: &[u8]) -> Result<Self, AttachmentError> {
        let found = bytes.len();
        let labelled = b"sequence_number";
        if bytes.windows(labelled.len()).any(|part| part == labelled) {
            return Err(AttachmentError::Labelled);
        }
        let Ok(bytes) = <[u8; ATTACHMENT_BYTES]>::try_from(bytes) else {
            return Err(AttachmentError::Wrong { found });
        };
        if bytes[16] != GID_BYTES {
            return Err(AttachmentError::Wrong { found });
        }
        let number = |at: usize| {
            let mut eight = [0; 8];
            eight.copy_from_slice(&bytes[at..at + 8]);
            i64::from_le_bytes(eight)
        };
        let mut gid = [0; GID_BYTES as usize];
        gid.copy_from_slice(&bytes[17..]);
        Ok(Self {
            sequence: number(0),
            sent_ns: number(8),
            gid,
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::messages::{JointState, Text};
    use super::*;

    #[test]
    fn keys_and_tokens_are_those_of_rmw_zenoh() {
        let topic = Topic::new::<Text>(0, "/chatter").unwrap();
        assert_eq!(
            topic.key(),
            "0/chatter/std_msgs::msg::dds_::String_/\
             RIHS01_df668c740482bbd48fb39d76a70dfd4bd59db1288021743503259e948f6b1a18"
        );
        let topic = Topic::new::<JointState>(0, "joint_states").unwrap();
        let node = NodeName::new(0, "aac3178e146ba6f1fc6e6a4085e77f21", "", "node").unwrap();
        assert_eq!(
            node.token(0),
            "@ros2_lv/0/aac3178e146ba6f1fc6e6a4085e77f21/0/0/NN/%/%/node"
        );
        assert_eq!(
            node.endpoint_token(0, 11, Endpoint::Publisher, &topic, Qos::default()),
            format!(
                "@ros2_lv/0/aac3178e146ba6f1fc6e6a4085e77f21/0/11/MP/%/%/node/%joint_states/\
                 sensor_msgs::msg::dds_::JointState_/{}/::,10:,:,:,,",
                JointState::HASH
            )
        );
        let node = NodeName::new(3, "1", "/lab/cell", "arm").unwrap();
        let topic = Topic::new::<JointState>(3, "/lab/cell/joint_states").unwrap();
        let token = node.endpoint_token(1, 2, Endpoint::Subscriber, &topic, Qos::default());
        assert!(
            token.contains("/MS/%/%lab%cell/arm/%lab%cell%joint_states/"),
            "{token}"
        );
    }

    #[test]
    fn qualities_of_service_leave_out_what_is_usual() {
        let qos = |reliable, transient_local, depth| {
            Qos {
                reliable,
                transient_local,
                depth,
            }
            .to_string()
        };
        assert_eq!(qos(true, false, 10), "::,10:,:,:,,");
        assert_eq!(qos(false, false, 5), "2::,5:,:,:,,");
        assert_eq!(qos(true, true, 1), ":1:,1:,:,:,,");
    }

    #[test]
    fn names_that_ros_does_not_allow_are_refused() {
        for wrong in ["", "/", "a//b", "1a", "a b", "a/", "ä", "a*"] {
            let refused = Topic::new::<Text>(0, wrong).unwrap_err();
            assert!(
                refused.to_string().contains(&format!("`{wrong}`")),
                "{refused}"
            );
        }
        assert!(NodeName::new(0, "1", "a b", "n").is_err());
        assert!(NodeName::new(0, "1", "", "a/b").is_err());
    }

    #[test]
    fn attachments_of_other_layouts_are_told_apart() {
        let mut old = vec![15, 0, 0, 0];
        old.extend(b"sequence_number");
        old.extend([0; 20]);
        assert_eq!(Attachment::decode(&old), Err(AttachmentError::Labelled));
        assert_eq!(
            Attachment::decode(&[0; 33]),
            Err(AttachmentError::Wrong { found: 33 })
        );
        assert_eq!(
            Attachment::decode(&[]),
            Err(AttachmentError::Wrong { found: 0 })
        );
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(1_000) })]

        #[test]
        fn attachments_come_back(sequence in any::<i64>(), sent_ns in any::<i64>(), gid in any::<[u8; 16]>()) {
            let attachment = Attachment { sequence, sent_ns, gid };
            prop_assert_eq!(Attachment::decode(&attachment.encode()), Ok(attachment));
        }

        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
            let _ = Attachment::decode(&bytes);
        }
    }
}
