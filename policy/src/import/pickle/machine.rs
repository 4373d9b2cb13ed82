//! The stack machine of pickles: instructions as CPython's `pickletools` describes them.

use std::collections::HashMap;

use super::{Id, MOST_VALUES, Node, Object, Pickle, PickleError, Role, allowed};

type Result<T> = std::result::Result<T, PickleError>;

/// Runs the instructions up to the first STOP.
pub(super) fn run(bytes: &[u8]) -> Result<Pickle> {
    let mut machine = Machine {
        bytes,
        at: 0,
        begun: 0,
        nodes: Vec::new(),
        stack: Vec::new(),
        marks: Vec::new(),
        memo: HashMap::new(),
    };
    while machine.step()? {}
    let root = machine.pop()?;
    if !machine.stack.is_empty() || !machine.marks.is_empty() {
        return Err(machine.damaged("values are left over at its end"));
    }
    Ok(Pickle {
        nodes: machine.nodes,
        root,
    })
}

struct Machine<'a> {
    bytes: &'a [u8],
    at: usize,
    /// Where the instruction began that is carried out.
    begun: usize,
    nodes: Vec<Node>,
    stack: Vec<Id>,
    /// Heights of the stack at the marks that are open.
    marks: Vec<usize>,
    memo: HashMap<u32, Id>,
}

impl<'a> Machine<'a> {
    /// Carries out one instruction; false after the last.
    fn step(&mut self) -> Result<bool> {
        self.begun = self.at;
        let instruction = self.byte()?;
        match instruction {
            b'.' => return Ok(false),
            0x80 => match self.byte()? {
                2..=5 => {}
                protocol => return Err(PickleError::Protocol { protocol }),
            },
            // A frame says how much may be read at once, which is of no use here.
            0x95 => {
                self.take(8)?;
            }
            b'N' => self.push(Node::None)?,
            0x88 => self.push(Node::Bool(true))?,
            0x89 => self.push(Node::Bool(false))?,
            b'J' | b'K' | b'M' | 0x8a | 0x8b => self.integer(instruction)?,
            b'G' => {
                let value = f64::from_be_bytes(self.array()?);
                self.push(Node::Float(value))?;
            }
            b'X' | 0x8c | 0x8d | b'T' | b'U' => self.text(instruction)?,
            b'B' | b'C' | 0x8e | 0x96 => {
                let width = match instruction {
                    b'B' => 4,
                    b'C' => 1,
                    _ => 8,
                };
                self.sized(width)?;
                self.push(Node::Bytes)?;
            }
            b'(' => self.marks.push(self.stack.len()),
            b'0' => {
                self.pop()?;
            }
            b'1' => {
                self.pop_to_mark()?;
            }
            b'2' => {
                let top = self.top()?;
                self.stack.push(top);
            }
            b')' | b']' | 0x8f => self.push(Node::Sequence(Vec::new()))?,
            b't' | b'l' | 0x91 => {
                let items = self.pop_to_mark()?;
                self.push(Node::Sequence(items))?;
            }
            0x85..=0x87 => {
                let count = usize::from(instruction - 0x84);
                let mut items = vec![Id(0); count];
                for item in items.iter_mut().rev() {
                    *item = self.pop()?;
                }
                self.push(Node::Sequence(items))?;
            }
            b'a' => {
                let item = self.pop()?;
                self.extend(vec![item])?;
            }
            b'e' | 0x90 => {
                let items = self.pop_to_mark()?;
                self.extend(items)?;
            }
            b'}' => self.push(Node::Dictionary(Vec::new()))?,
            b'd' => {
                let items = self.pop_to_mark()?;
                self.push(Node::Dictionary(Vec::new()))?;
                self.insert(items)?;
            }
            b's' => {
                let value = self.pop()?;
                let key = self.pop()?;
                self.insert(vec![key, value])?;
            }
            b'u' => {
                let items = self.pop_to_mark()?;
                self.insert(items)?;
            }
            b'q' | b'r' | 0x94 => {
                let key = match instruction {
                    b'q' => u32::from(self.byte()?),
                    b'r' => u32::from_le_bytes(self.array()?),
                    _ => self.memo.len() as u32,
                };
                let top = self.top()?;
                self.memo.insert(key, top);
            }
            b'h' | b'j' => {
                let key = match instruction {
                    b'h' => u32::from(self.byte()?),
                    _ => u32::from_le_bytes(self.array()?),
                };
                let Some(id) = self.memo.get(&key).copied() else {
                    return Err(self.damaged("a value is recalled that was never kept"));
                };
                self.stack.push(id);
            }
            b'Q' => {
                let description = self.pop()?;
                self.push(Node::External(description))?;
            }
            b'c' => {
                let module = self.line()?;
                let name = self.line()?;
                self.named(&module, &name)?;
            }
            0x93 => {
                let name = self.pop_text()?;
                let module = self.pop_text()?;
                self.named(&module, &name)?;
            }
            b'R' | 0x81 | 0x92 => self.call(instruction)?,
            b'b' => {
                let state = self.pop()?;
                let target = self.top()?;
                match self.node(target) {
                    Node::Object(object) => object.state = Some(state),
                    _ => return Err(self.damaged("state for something that has none")),
                }
            }
            _ => {
                return Err(PickleError::Instruction {
                    instruction,
                    at: self.begun,
                });
            }
        }
        Ok(true)
    }

    fn integer(&mut self, instruction: u8) -> Result<()> {
        let value = match instruction {
            b'J' => i64::from(i32::from_le_bytes(self.array()?)),
            b'K' => i64::from(self.byte()?),
            b'M' => i64::from(u16::from_le_bytes(self.array()?)),
            _ => {
                let width = if instruction == 0x8a { 1 } else { 4 };
                let bytes = self.sized(width)?;
                let sign = match bytes.last() {
                    Some(last) if last & 0x80 != 0 => 0xff,
                    _ => 0,
                };
                let mut wide = [sign; 8];
                match wide.get_mut(..bytes.len()) {
                    Some(low) => low.copy_from_slice(bytes),
                    None => return Err(self.damaged("an integer of more than 64 bits")),
                }
                i64::from_le_bytes(wide)
            }
        };
        self.push(Node::Integer(value))
    }

    fn text(&mut self, instruction: u8) -> Result<()> {
        let width = match instruction {
            b'X' | b'T' => 4,
            0x8d => 8,
            _ => 1,
        };
        let bytes = self.sized(width)?.to_vec();
        match String::from_utf8(bytes) {
            Ok(text) => self.push(Node::Text(text)),
            Err(_) => Err(self.damaged("a string that is not UTF-8")),
        }
    }

    /// Pushes a class or function, if it is on the list.
    fn named(&mut self, module: &str, name: &str) -> Result<()> {
        let Some(global) = allowed::find(module, name) else {
            return Err(PickleError::Forbidden {
                module: module.into(),
                name: name.into(),
                at: self.begun,
            });
        };
        self.push(Node::Global(global))
    }

    /// Keeps what would have been called.
    fn call(&mut self, instruction: u8) -> Result<()> {
        let (role, keywords) = match instruction {
            b'R' => (Role::Function, None),
            0x81 => (Role::Class, None),
            _ => (Role::Class, Some(self.pop()?)),
        };
        let arguments = self.pop()?;
        let target = self.pop()?;
        let begun = self.begun;
        let class = match self.node(target) {
            Node::Global(global) if global.role == role || global.role == Role::Left => *global,
            Node::Global(global) => {
                let what = format!("`{}.{}`", global.module, global.name);
                return Err(PickleError::NotCallable { what, at: begun });
            }
            _ => {
                return Err(PickleError::NotCallable {
                    what: "a value".into(),
                    at: begun,
                });
            }
        };
        if let Some(keywords) = keywords
            && class.role != Role::Left
            && !matches!(self.node(keywords), Node::Dictionary(entries) if entries.is_empty())
        {
            return Err(self.damaged("keyword arguments"));
        }
        if !matches!(self.node(arguments), Node::Sequence(_)) {
            return Err(self.damaged("arguments that are no tuple"));
        }
        self.push(Node::Object(Box::new(Object {
            class,
            arguments,
            state: None,
            entries: Vec::new(),
        })))
    }

    /// Appends to the sequence on top of the stack.
    fn extend(&mut self, new: Vec<Id>) -> Result<()> {
        let target = self.top()?;
        match self.node(target) {
            Node::Sequence(items) => items.extend(new),
            Node::Object(object) if object.class.role == Role::Left => {}
            _ => return Err(self.damaged("items for something that is no sequence")),
        }
        Ok(())
    }

    /// Adds alternating keys and values to the dictionary on top of the stack.
    fn insert(&mut self, new: Vec<Id>) -> Result<()> {
        let target = self.top()?;
        if !new.len().is_multiple_of(2) {
            return Err(self.damaged("a key without a value"));
        }
        let pairs = new.chunks_exact(2).map(|pair| (pair[0], pair[1]));
        match self.node(target) {
            Node::Dictionary(entries) => entries.extend(pairs),
            Node::Object(object) => object.entries.extend(pairs),
            _ => return Err(self.damaged("entries for something that is no dictionary")),
        }
        Ok(())
    }

    fn node(&mut self, id: Id) -> &mut Node {
        &mut self.nodes[id.0 as usize]
    }

    fn push(&mut self, node: Node) -> Result<()> {
        if self.nodes.len() >= MOST_VALUES {
            return Err(PickleError::TooLarge);
        }
        self.stack.push(Id(self.nodes.len() as u32));
        self.nodes.push(node);
        Ok(())
    }

    fn floor(&self) -> usize {
        self.marks.last().copied().unwrap_or(0)
    }

    fn top(&self) -> Result<Id> {
        match self.stack.last() {
            Some(id) if self.stack.len() > self.floor() => Ok(*id),
            _ => Err(self.damaged("the stack is empty")),
        }
    }

    fn pop(&mut self) -> Result<Id> {
        let top = self.top()?;
        self.stack.pop();
        Ok(top)
    }

    fn pop_to_mark(&mut self) -> Result<Vec<Id>> {
        match self.marks.pop() {
            Some(height) => Ok(self.stack.split_off(height)),
            None => Err(self.damaged("no mark on the stack")),
        }
    }

    fn pop_text(&mut self) -> Result<String> {
        let id = self.pop()?;
        match self.node(id) {
            Node::Text(text) => Ok(text.clone()),
            _ => Err(self.damaged("a name that is no string")),
        }
    }

    fn damaged(&self, what: &'static str) -> PickleError {
        PickleError::Damaged {
            what,
            at: self.begun,
        }
    }

    fn take(&mut self, count: usize) -> Result<&'a [u8]> {
        let end = self.at.checked_add(count);
        let Some(taken) = end.and_then(|end| self.bytes.get(self.at..end)) else {
            return Err(PickleError::CutOff { at: self.begun });
        };
        self.at += count;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N)?);
        Ok(array)
    }

    fn byte(&mut self) -> Result<u8> {
        Ok(self.array::<1>()?[0])
    }

    /// Bytes after their count, a little-endian number of `width` bytes.
    fn sized(&mut self, width: usize) -> Result<&'a [u8]> {
        let mut wide = [0; 8];
        wide[..width].copy_from_slice(self.take(width)?);
        let cut_off = PickleError::CutOff { at: self.begun };
        match usize::try_from(u64::from_le_bytes(wide)) {
            Ok(count) => self.take(count),
            Err(_) => Err(cut_off),
        }
    }

    /// Text up to the end of its line.
    fn line(&mut self) -> Result<String> {
        let rest = &self.bytes[self.at..];
        let Some(length) = rest.iter().position(|byte| *byte == b'\n') else {
            return Err(PickleError::CutOff { at: self.begun });
        };
        let line = String::from_utf8_lossy(&rest[..length]).into_owned();
        self.at += length + 1;
        Ok(line)
    }
}

#[cfg(test)]
mod tests;
