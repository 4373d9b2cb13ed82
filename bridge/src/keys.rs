//! Key expressions:
//! `<namespace>/<robot>/{obs/<name>,act,plan,status,health,cmd/<name>,srv/<name>,info/<name>,alive/<node>}`, and for
//! characters `<namespace>/<character>/{pose,control,status,health,cmd/<name>,info/<name>,alive/<node>}`.
//!
//! Every chunk is checked before it reaches zenoh: one or more characters, none of `/ * $ ? # @`, no spaces or control
//! characters. The namespace may have several chunks (`lab/cell_3`).

use std::fmt;

/// Name of a request or service: begin afresh, with a seed and a stream number.
pub const RESET: &str = "reset";
/// Name of a request or service: stop now, and stay stopped until [`REARM`].
pub const ESTOP: &str = "estop";
/// Name of a request or service: leave an emergency stop or a safe stop.
pub const REARM: &str = "rearm";
/// Name of a service: come to rest and stay there until [`RESUME`].
pub const PAUSE: &str = "pause";
/// Name of a service: go on after a pause, or from home.
pub const RESUME: &str = "resume";
/// Name of a service: go to the robot's home and stay there until [`RESUME`].
pub const HOME: &str = "home";
/// Name of a service: perform something, as [`ActRequest`](crate::ActRequest).
pub const ACT: &str = "act";
/// Name of an information: what a character can perform.
pub const ACTIONS: &str = "actions";
/// Name of an information: the joints of a character, as [`SkeletonInfo`](crate::SkeletonInfo).
pub const SKELETON: &str = "skeleton";

/// The keys of one robot, or of one character.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Keys {
    prefix: String,
    robot: String,
}

impl Keys {
    /// Checks and joins namespace and robot.
    ///
    /// # Errors
    /// [`KeyError`] names the chunk that zenoh, or a reader of logs, could not take.
    pub fn new(namespace: &str, robot: &str) -> Result<Self, KeyError> {
        for chunk in namespace.split('/') {
            check_chunk("namespace", namespace, chunk)?;
        }
        check_chunk("robot", robot, robot)?;
        Ok(Self {
            prefix: format!("{namespace}/{robot}"),
            robot: robot.to_owned(),
        })
    }

    /// `<namespace>/<robot>`.
    #[must_use]
    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    /// `<robot>`, the last part of the prefix.
    #[must_use]
    pub fn robot(&self) -> &str {
        &self.robot
    }

    /// `obs/<name>`: observations called `name`.
    ///
    /// # Errors
    /// [`KeyError`] if `name` is not one valid chunk.
    pub fn observation(&self, name: &str) -> Result<String, KeyError> {
        self.named("obs", "observation name", name)
    }

    /// `act`: commands at the control rate.
    #[must_use]
    pub fn action(&self) -> String {
        self.fixed("act")
    }

    /// `plan`: trajectories at the policy's rate.
    #[must_use]
    pub fn plan(&self) -> String {
        self.fixed("plan")
    }

    /// `pose`: frames of a character.
    #[must_use]
    pub fn pose(&self) -> String {
        self.fixed("pose")
    }

    /// `control`: what a character is asked to do.
    #[must_use]
    pub fn control(&self) -> String {
        self.fixed("control")
    }

    /// `status`: counters and state.
    #[must_use]
    pub fn status(&self) -> String {
        self.fixed("status")
    }

    /// `health`: [`Health`](crate::Health) as JSON.
    #[must_use]
    pub fn health(&self) -> String {
        self.fixed("health")
    }

    /// `cmd/<name>`: requests called `name`, as [`Request::name`](crate::wire::Request::name) says.
    ///
    /// # Errors
    /// [`KeyError`] if `name` is not one valid chunk.
    pub fn command(&self, name: &str) -> Result<String, KeyError> {
        self.named("cmd", "command name", name)
    }

    /// `cmd/*`: every request.
    #[must_use]
    pub fn commands(&self) -> String {
        self.fixed("cmd/*")
    }

    /// `srv/<name>`: queryables that do something and reply, such as [`ESTOP`].
    ///
    /// # Errors
    /// [`KeyError`] if `name` is not one valid chunk.
    pub fn service(&self, name: &str) -> Result<String, KeyError> {
        self.named("srv", "service name", name)
    }

    /// `info/<name>`: queryables that answer in JSON.
    ///
    /// # Errors
    /// [`KeyError`] if `name` is not one valid chunk.
    pub fn info(&self, name: &str) -> Result<String, KeyError> {
        self.named("info", "information name", name)
    }

    /// `alive/<node>`: liveliness token of a node.
    ///
    /// # Errors
    /// [`KeyError`] if `node` is not one valid chunk.
    pub fn alive(&self, node: &str) -> Result<String, KeyError> {
        self.named("alive", "node name", node)
    }

    /// `alive/*`: every node of this robot.
    #[must_use]
    pub fn alive_all(&self) -> String {
        self.fixed("alive/*")
    }

    fn fixed(&self, end: &str) -> String {
        format!("{}/{end}", self.prefix)
    }

    fn named(&self, branch: &str, what: &'static str, name: &str) -> Result<String, KeyError> {
        check_chunk(what, name, name)?;
        Ok(format!("{}/{branch}/{name}", self.prefix))
    }
}

impl fmt::Display for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.prefix)
    }
}

/// Why a text cannot be part of a key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// A chunk without characters: an empty text, or a `/` too many.
    #[error(
        "{what} {text:?}: expected a text without empty parts (no leading, trailing or double '/')"
    )]
    Empty {
        /// Which part of the key.
        what: &'static str,
        /// The text given.
        text: String,
    },
    /// A character with a meaning of its own in zenoh, or one that cannot be seen.
    #[error(
        "{what} {text:?}: the character {found:?} is not allowed; use letters, digits, '_', '-' and '.'"
    )]
    Character {
        /// Which part of the key.
        what: &'static str,
        /// The text given.
        text: String,
        /// The first character refused.
        found: char,
    },
}

fn check_chunk(what: &'static str, text: &str, chunk: &str) -> Result<(), KeyError> {
    if chunk.is_empty() {
        return Err(KeyError::Empty {
            what,
            text: text.to_owned(),
        });
    }
    let refused = |c: &char| {
        matches!(c, '/' | '*' | '$' | '?' | '#' | '@') || c.is_control() || c.is_whitespace()
    };
    match chunk.chars().find(refused) {
        Some(found) => Err(KeyError::Character {
            what,
            text: text.to_owned(),
            found,
        }),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_spelled_as_documented() {
        let keys = Keys::new("lab/cell_3", "arm-1").unwrap();
        assert_eq!(
            keys.observation("state").unwrap(),
            "lab/cell_3/arm-1/obs/state"
        );
        assert_eq!(keys.action(), "lab/cell_3/arm-1/act");
        assert_eq!(keys.plan(), "lab/cell_3/arm-1/plan");
        assert_eq!(keys.pose(), "lab/cell_3/arm-1/pose");
        assert_eq!(keys.control(), "lab/cell_3/arm-1/control");
        assert_eq!(keys.status(), "lab/cell_3/arm-1/status");
        assert_eq!(keys.health(), "lab/cell_3/arm-1/health");
        assert_eq!(keys.command(RESET).unwrap(), "lab/cell_3/arm-1/cmd/reset");
        assert_eq!(keys.service(ESTOP).unwrap(), "lab/cell_3/arm-1/srv/estop");
        assert_eq!(keys.commands(), "lab/cell_3/arm-1/cmd/*");
        assert_eq!(keys.info("model").unwrap(), "lab/cell_3/arm-1/info/model");
        assert_eq!(
            keys.info(SKELETON).unwrap(),
            "lab/cell_3/arm-1/info/skeleton"
        );
        assert_eq!(
            keys.alive("policy").unwrap(),
            "lab/cell_3/arm-1/alive/policy"
        );
        for key in [
            keys.action(),
            keys.commands(),
            keys.observation("ümlaut").unwrap(),
        ] {
            assert!(zenoh::key_expr::KeyExpr::try_from(key).is_ok());
        }
    }

    #[test]
    fn bad_parts_are_refused_by_name() {
        for text in ["", "/", "a//b", "/a", "a/"] {
            assert!(
                matches!(
                    Keys::new(text, "r"),
                    Err(KeyError::Empty {
                        what: "namespace",
                        ..
                    })
                ),
                "{text:?}"
            );
        }
        for found in ['*', '$', '?', '#', '@', ' ', '\n'] {
            let text = format!("a{found}b");
            let expected = KeyError::Character {
                what: "robot",
                text: text.clone(),
                found,
            };
            assert_eq!(Keys::new("ns", &text), Err(expected));
        }
        let keys = Keys::new("ns", "r").unwrap();
        assert!(keys.observation("a/b").is_err());
        let message = keys.command("a*").unwrap_err().to_string();
        assert_eq!(
            message,
            "command name \"a*\": the character '*' is not allowed; use letters, digits, '_', '-' and '.'"
        );
    }
}
