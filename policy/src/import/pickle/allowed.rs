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
    /// Made in any way; what comes of it is of no concern to whoever reads weights.
    Left,
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

use Role::{Class, Function, Left, Name};

/// What checkpoints of diffusion_policy and SDP are made of: tensors, configurations of OmegaConf, the types that these
/// name, and what programs keep beside them.
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
    // What stands beside configuration and weights: scores and dates of a run, states of schedulers.
    global(Name, "torch", "ComplexFloatStorage"),
    global(Name, "torch", "ComplexDoubleStorage"),
    global(Name, "torch", "float16"),
    global(Name, "torch", "bfloat16"),
    global(Name, "torch", "float32"),
    global(Name, "torch", "float64"),
    global(Name, "torch", "int32"),
    global(Name, "torch", "int64"),
    global(Name, "torch", "bool"),
    global(Name, "torch", "complex64"),
    global(Name, "torch", "complex128"),
    global(Left, "torch.serialization", "_get_layout"),
    global(Left, "torch.storage", "UntypedStorage"),
    global(Left, "torch.storage", "TypedStorage"),
    global(Left, "numpy", "dtype"),
    global(Left, "numpy", "ndarray"),
    global(Left, "numpy", "float64"),
    global(Left, "numpy", "float32"),
    global(Left, "numpy", "int64"),
    global(Left, "numpy", "int32"),
    global(Left, "numpy", "bool_"),
    global(Left, "numpy.core.multiarray", "scalar"),
    global(Left, "numpy.core.multiarray", "_reconstruct"),
    global(Left, "numpy.core.numeric", "_frombuffer"),
    global(Left, "numpy._core.multiarray", "scalar"),
    global(Left, "numpy._core.multiarray", "_reconstruct"),
    global(Left, "numpy._core.numeric", "_frombuffer"),
    global(Left, "numpy.random", "__RandomState_ctor"),
    global(Left, "numpy.random._pickle", "__randomstate_ctor"),
    global(Left, "numpy.random._pickle", "__generator_ctor"),
    global(Left, "numpy.random._pickle", "__bit_generator_ctor"),
    global(Left, "numpy.random._mt19937", "MT19937"),
    global(Left, "numpy.random._pcg64", "PCG64"),
    global(Left, "datetime", "datetime"),
    global(Left, "datetime", "date"),
    global(Left, "datetime", "time"),
    global(Left, "datetime", "timedelta"),
    global(Left, "datetime", "timezone"),
    global(Left, "collections", "Counter"),
    global(Left, "collections", "deque"),
    global(Left, "decimal", "Decimal"),
    global(Left, "fractions", "Fraction"),
    global(Left, "uuid", "UUID"),
    global(Left, "argparse", "Namespace"),
    global(Left, "types", "SimpleNamespace"),
    global(Left, "builtins", "complex"),
    global(Left, "builtins", "bytearray"),
    global(Left, "builtins", "range"),
    global(Left, "builtins", "slice"),
    global(Left, "__builtin__", "complex"),
    global(Left, "__builtin__", "bytearray"),
    global(Left, "__builtin__", "slice"),
    global(Left, "__builtin__", "range"),
    global(Left, "__builtin__", "xrange"),
];
