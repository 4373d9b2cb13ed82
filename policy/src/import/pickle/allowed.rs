//! The classes and functions that a pickle may name. None of them is ever called: a call becomes a
//! node of the tree, and whoever reads the tree gives meaning to the few that it knows.

/// What a name may be used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::import) enum Role {
    /// Named only, as the type of something.
    Name,
    /// Called with arguments.
    Function,
    /// Made empty, then given its state.
    Class,
}

/// A class or function of Python.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::import) struct Global {
    /// Its module.
    pub(in crate::import) module: &'static str,
    /// Its name there.
    pub(in crate::import) name: &'static str,
    /// What it may be used for.
    pub(in crate::import) role: Role,
}

/// The entry for a name, if it is allowed.
pub(super) fn find(module: &str, name: &str) -> Option<&'static Global> {
    ALLOWED
        .iter()
        .find(|global| global.module == module && global.name == name)
}

const fn global(role: Role, module: &'static str, name: &'static str) -> Global {
    Global { module, name, role }
}

use Role::{Class, Function, Name};

/// What checkpoints of diffusion_policy and SDP are made of: tensors, configurations of OmegaConf,
/// and the types that these name.
static ALLOWED: &[Global] = &[
    global(Function, "torch._utils", "_rebuild_tensor_v2"),
    global(Function, "torch._utils", "_rebuild_parameter"),
    global(Function, "torch", "Size"),
    global(Function, "torch", "device"),
    global(Name, "torch", "FloatStorage"),
    global(Name, "torch", "DoubleStorage"),
    global(Name, "torch", "HalfStorage"),
    global(Name, "torch", "BFloat16Storage"),
    global(Name, "torch", "LongStorage"),
    global(Name, "torch", "IntStorage"),
    global(Name, "torch", "ShortStorage"),
    global(Name, "torch", "CharStorage"),
    global(Name, "torch", "ByteStorage"),
    global(Name, "torch", "BoolStorage"),
    global(Function, "collections", "OrderedDict"),
    global(Function, "collections", "defaultdict"),
    global(Class, "omegaconf.dictconfig", "DictConfig"),
    global(Class, "omegaconf.listconfig", "ListConfig"),
    global(Class, "omegaconf.base", "Metadata"),
    global(Class, "omegaconf.base", "ContainerMetadata"),
    global(Class, "omegaconf.base", "UnionNode"),
    global(Class, "omegaconf.nodes", "AnyNode"),
    global(Class, "omegaconf.nodes", "BooleanNode"),
    global(Class, "omegaconf.nodes", "BytesNode"),
    global(Class, "omegaconf.nodes", "FloatNode"),
    global(Class, "omegaconf.nodes", "IntegerNode"),
    global(Class, "omegaconf.nodes", "InterpolationResultNode"),
    global(Class, "omegaconf.nodes", "PathNode"),
    global(Class, "omegaconf.nodes", "StringNode"),
    global(Name, "typing", "Any"),
    global(Function, "pathlib", "PosixPath"),
    global(Function, "pathlib", "PurePosixPath"),
    global(Function, "pathlib", "WindowsPath"),
    global(Function, "pathlib", "PureWindowsPath"),
    global(Function, "pathlib._local", "PosixPath"),
    global(Function, "pathlib._local", "PurePosixPath"),
    // Bytes and sets, as protocol 2 writes them.
    global(Function, "_codecs", "encode"),
    global(Function, "__builtin__", "bytes"),
    global(Function, "__builtin__", "set"),
    global(Function, "__builtin__", "frozenset"),
    global(Function, "builtins", "bytes"),
    global(Function, "builtins", "set"),
    global(Function, "builtins", "frozenset"),
    // Built-in types by name, as dill and as pickle write them.
    global(Function, "dill._dill", "_load_type"),
    global(Name, "__builtin__", "bool"),
    global(Name, "__builtin__", "dict"),
    global(Name, "__builtin__", "float"),
    global(Name, "__builtin__", "int"),
    global(Name, "__builtin__", "list"),
    global(Name, "__builtin__", "str"),
    global(Name, "__builtin__", "unicode"),
    global(Name, "__builtin__", "tuple"),
    global(Name, "builtins", "bool"),
    global(Name, "builtins", "dict"),
    global(Name, "builtins", "float"),
    global(Name, "builtins", "int"),
    global(Name, "builtins", "list"),
    global(Name, "builtins", "str"),
    global(Name, "builtins", "tuple"),
];
