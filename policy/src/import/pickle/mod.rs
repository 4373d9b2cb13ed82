//! Pickles, read without executing anything.
//!
//! Python's pickle is a program for a stack machine that may call any function. This reader runs
//! the instructions of protocols 2 to 5 that build values, and keeps calls as nodes of a tree: what
//! would have been called, with which arguments. A class or function outside a short list is
//! refused by name. Memory is bounded by the length of the pickle and a limit on values; values
//! that refer to each other in a circle are read like any other.

mod allowed;
mod machine;

pub(super) use allowed::Global;
use allowed::Role;

/// Values of one pickle at most; a checkpoint has some 20 for every tensor.
const MOST_VALUES: usize = 1 << 20;

/// Why a pickle was not read.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub(super) enum PickleError {
    /// A class or function that no checkpoint needs.
    #[error(
        "it refers to `{module}.{name}` at byte {at} of its pickle, which is not among the classes \
         and functions that are known to be harmless; nothing of it was executed. A checkpoint that \
         diffusion_policy or SDP saved has none of that: do not load this file in Python either, \
         unless you know where it comes from"
    )]
    Forbidden {
        module: String,
        name: String,
        at: usize,
    },
    /// A known name in a place where no checkpoint has it.
    #[error(
        "it uses {what} as a function or class at byte {at} of its pickle; nothing was executed"
    )]
    NotCallable { what: String, at: usize },
    /// An instruction of protocols 0 and 1, or none at all.
    #[error(
        "instruction 0x{instruction:02x} at byte {at} of its pickle does not belong to what protocols \
         2 to 5 write"
    )]
    Instruction { instruction: u8, at: usize },
    /// A protocol that is not known.
    #[error("its pickle has protocol {protocol}, expected 2 to 5")]
    Protocol { protocol: u8 },
    /// The pickle ends too early.
    #[error("its pickle is cut off at byte {at}")]
    CutOff { at: usize },
    /// Instructions that do not fit each other.
    #[error("its pickle is damaged at byte {at}: {what}")]
    Damaged { what: &'static str, at: usize },
    /// More values than any checkpoint has.
    #[error("its pickle has more than {MOST_VALUES} values")]
    TooLarge,
}

/// Index of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Id(u32);

/// One value; others that it holds are named by their indices.
#[derive(Debug)]
enum Node {
    None,
    Bool(bool),
    Integer(i64),
    Float(f64),
    Text(String),
    /// Whose content nobody needs.
    Bytes,
    /// A tuple, list or set.
    Sequence(Vec<Id>),
    Dictionary(Vec<(Id, Id)>),
    Global(&'static Global),
    Object(Box<Object>),
    /// What stands for a tensor's storage, by its description.
    External(Id),
}

/// Something that Python would have made by a call.
#[derive(Debug)]
struct Object {
    class: &'static Global,
    arguments: Id,
    state: Option<Id>,
    entries: Vec<(Id, Id)>,
}

/// A pickle as a tree of values.
#[derive(Debug)]
pub(super) struct Pickle {
    nodes: Vec<Node>,
    root: Id,
}

impl Pickle {
    /// Reads a whole pickle.
    ///
    /// # Errors
    /// A name outside the list, an unknown instruction, damage, or too many values.
    pub(super) fn read(bytes: &[u8]) -> Result<Self, PickleError> {
        machine::run(bytes)
    }

    /// The value that was pickled.
    pub(super) fn root(&self) -> Value<'_> {
        Value {
            pickle: self,
            id: self.root,
        }
    }
}

/// A value of a pickle.
#[derive(Debug, Clone, Copy)]
pub(super) struct Value<'a> {
    pickle: &'a Pickle,
    id: Id,
}

impl<'a> Value<'a> {
    fn node(self) -> &'a Node {
        &self.pickle.nodes[self.id.0 as usize]
    }

    fn at(self, id: Id) -> Self {
        Self { id, ..self }
    }

    /// What it is, for messages.
    pub(super) fn describe(self) -> String {
        let kind = match self.node() {
            Node::None => "None",
            Node::Bool(_) => "a boolean",
            Node::Integer(_) => "an integer",
            Node::Float(_) => "a float",
            Node::Text(_) => "a string",
            Node::Bytes => "bytes",
            Node::Sequence(_) => "a sequence",
            Node::Dictionary(_) => "a dictionary",
            Node::Global(global) => return format!("`{}.{}`", global.module, global.name),
            Node::Object(object) => {
                return format!("a `{}.{}`", object.class.module, object.class.name);
            }
            Node::External(_) => "a storage",
        };
        kind.into()
    }

    /// Whether it is None.
    pub(super) fn is_none(self) -> bool {
        matches!(self.node(), Node::None)
    }

    /// A boolean.
    pub(super) fn boolean(self) -> Option<bool> {
        match self.node() {
            Node::Bool(value) => Some(*value),
            _ => None,
        }
    }

    /// An integer.
    pub(super) fn integer(self) -> Option<i64> {
        match self.node() {
            Node::Integer(value) => Some(*value),
            _ => None,
        }
    }

    /// A floating-point number.
    pub(super) fn float(self) -> Option<f64> {
        match self.node() {
            Node::Float(value) => Some(*value),
            _ => None,
        }
    }

    /// A string.
    pub(super) fn text(self) -> Option<&'a str> {
        match self.node() {
            Node::Text(value) => Some(value),
            _ => None,
        }
    }

    /// The members of a tuple, list or set.
    pub(super) fn sequence(self) -> Option<impl ExactSizeIterator<Item = Self> + 'a> {
        match self.node() {
            Node::Sequence(items) => Some(items.iter().map(move |id| self.at(*id))),
            _ => None,
        }
    }

    /// Keys and values of a dictionary, ordered and default ones included.
    pub(super) fn dictionary(self) -> Option<impl ExactSizeIterator<Item = (Self, Self)> + 'a> {
        let entries = match self.node() {
            Node::Dictionary(entries) => entries,
            Node::Object(object) if object.class.module == "collections" => &object.entries,
            _ => return None,
        };
        Some(
            entries
                .iter()
                .map(move |(key, value)| (self.at(*key), self.at(*value))),
        )
    }

    /// The value under a key of a dictionary.
    pub(super) fn get(self, key: &str) -> Option<Self> {
        self.dictionary()?
            .filter(|(name, _)| name.text() == Some(key))
            .last()
            .map(|(_, value)| value)
    }

    /// Class, or function, and arguments of something that Python would have made by a call.
    pub(super) fn made_by(self) -> Option<(&'static Global, Self)> {
        match self.node() {
            Node::Object(object) => Some((object.class, self.at(object.arguments))),
            _ => None,
        }
    }

    /// The state of such a thing.
    pub(super) fn state(self) -> Option<Self> {
        match self.node() {
            Node::Object(object) => object.state.map(|state| self.at(state)),
            _ => None,
        }
    }

    /// A class or function that is only named.
    pub(super) fn global(self) -> Option<&'static Global> {
        match self.node() {
            Node::Global(global) => Some(global),
            _ => None,
        }
    }

    /// The description of a storage that lies outside the pickle.
    pub(super) fn external(self) -> Option<Self> {
        match self.node() {
            Node::External(description) => Some(self.at(*description)),
            _ => None,
        }
    }
}
