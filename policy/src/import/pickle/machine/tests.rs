//! Pickles written by hand, as CPython 3.11 and torch 2.11 write them, and hostile ones.

use proptest::prelude::*;

use super::*;
use crate::import::pickle::Value;

fn read(bytes: &[u8]) -> Result<Pickle> {
    Pickle::read(bytes)
}

fn refused(bytes: &[u8]) -> String {
    read(bytes).unwrap_err().to_string()
}

fn texts(value: Value<'_>) -> Vec<&str> {
    value.sequence().unwrap().filter_map(Value::text).collect()
}

/// `{"a": [1, -2, 300, 2**40, True, None, 0.5], "b": ("x", b"\x01")}` in protocol 2.
const PROTOCOL_2: &[u8] =
    b"\x80\x02}q\x00(X\x01\x00\x00\x00aq\x01]q\x02(K\x01J\xfe\xff\xff\xffM,\x01\
    \x8a\x06\x00\x00\x00\x00\x00\x01\x88NG?\xe0\x00\x00\x00\x00\x00\x00eX\x01\x00\x00\x00bq\x03\
    X\x01\x00\x00\x00xq\x04c_codecs\nencode\nq\x05X\x01\x00\x00\x00\x01X\x06\x00\x00\x00latin1\
    \x86q\x06Rq\x07\x86q\x08u.";

/// The same in protocol 4, with a frame.
const PROTOCOL_4: &[u8] = b"\x80\x04\x95\x2b\x00\x00\x00\x00\x00\x00\x00}\x94(\x8c\x01a\x94]\x94(K\
    \x01J\xfe\xff\xff\xffM,\x01\x8a\x06\x00\x00\x00\x00\x00\x01\x88NG?\xe0\x00\x00\x00\x00\x00\x00e\
    \x8c\x01b\x94\x8c\x01x\x94C\x01\x01\x94\x86\x94u.";

#[test]
fn numbers_strings_and_containers() {
    for bytes in [PROTOCOL_2, PROTOCOL_4] {
        let pickle = read(bytes).unwrap();
        let list = pickle.root().get("a").unwrap();
        let items: Vec<_> = list.sequence().unwrap().collect();
        let integers: Vec<_> = items.iter().filter_map(|item| item.integer()).collect();
        assert_eq!(integers, [1, -2, 300, 1 << 40]);
        assert_eq!(items[4].boolean(), Some(true));
        assert!(items[5].is_none());
        assert_eq!(items[6].float(), Some(0.5));
        let pair = pickle.root().get("b").unwrap();
        assert_eq!(texts(pair), ["x"]);
        assert_eq!(pair.sequence().unwrap().len(), 2);
    }
}

#[test]
fn objects_keep_class_arguments_and_state() {
    // An ordered dictionary with an entry and an attribute, as a state_dict is written.
    let pickle = read(
        b"\x80\x02ccollections\nOrderedDict\nq\x00)Rq\x01X\x01\x00\x00\x00wq\x02K\x05s}q\x03X\x09\
          \x00\x00\x00_metadataq\x04Nsb.",
    )
    .unwrap();
    let root = pickle.root();
    assert_eq!(root.get("w").and_then(Value::integer), Some(5));
    assert_eq!(root.made_by().unwrap().0.name, "OrderedDict");
    assert!(root.state().unwrap().get("_metadata").unwrap().is_none());
    // A node of OmegaConf whose parent is itself.
    let pickle = read(
        b"\x80\x02comegaconf.nodes\nAnyNode\nq\x00)\x81q\x01}q\x02(X\x04\x00\x00\x00_valK\x07X\x07\
          \x00\x00\x00_parenth\x01ub.",
    )
    .unwrap();
    let state = pickle.root().state().unwrap();
    assert_eq!(state.get("_val").and_then(Value::integer), Some(7));
    let parent = state.get("_parent").unwrap();
    assert_eq!(parent.describe(), "a `omegaconf.nodes.AnyNode`");
}

#[test]
fn storages_are_described() {
    let pickle = read(
        b"\x80\x02(X\x07\x00\x00\x00storagectorch\nFloatStorage\nX\x01\x00\x00\x000X\x03\x00\x00\x00\
          cpuK\x06tQ.",
    )
    .unwrap();
    let description = pickle.root().external().unwrap();
    let kind = description.sequence().unwrap().nth(1).unwrap();
    assert_eq!(kind.global().unwrap().name, "FloatStorage");
    assert_eq!(texts(description), ["storage", "0", "cpu"]);
}

#[test]
fn whatever_could_run_is_refused_by_name() {
    // os.system("...") in the words of every protocol.
    let line: &[u8] = b"\x80\x02cos\nsystem\nX\x02\x00\x00\x00id\x85R.";
    let stack: &[u8] = b"\x80\x04\x8c\x02os\x8c\x06system\x93\x8c\x02id\x85R.";
    for (bytes, name, at) in [
        (line, "os.system", 2),
        (stack, "os.system", 14),
        (b"\x80\x02cposix\nsystem\n.", "posix.system", 2),
        (b"\x80\x02cbuiltins\neval\n.", "builtins.eval", 2),
        (b"\x80\x02c__builtin__\nexec\n.", "__builtin__.exec", 2),
        (b"\x80\x02Ncsubprocess\nPopen\n.", "subprocess.Popen", 3),
        (
            b"\x80\x02cdill._dill\n_create_function\n.",
            "dill._dill._create_function",
            2,
        ),
        (
            b"\x80\x02cdill._dill\n_import_module\n.",
            "dill._dill._import_module",
            2,
        ),
        (b"\x80\x02ctorch\nload\n.", "torch.load", 2),
        (
            b"\x80\x04\x8c\x0bcollections\x8c\x0fOrderedDict.get\x93.",
            "OrderedDict.get",
            32,
        ),
    ] {
        let message = refused(bytes);
        assert!(message.contains(&format!("{name}`")), "{message}");
        assert!(message.contains(&format!("at byte {at} ")), "{message}");
        assert!(message.contains("nothing of it was executed"), "{message}");
    }
}

#[test]
fn known_names_are_called_only_as_checkpoints_call_them() {
    for bytes in [
        // REDUCE on a class, and on a type that is only named.
        &b"\x80\x02comegaconf.nodes\nAnyNode\n)R."[..],
        b"\x80\x02ctorch\nFloatStorage\n)R.",
        // An instance of a function.
        b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n)\x81.",
        // A call of a value, and of what a call returned.
        b"\x80\x02K\x01)R.",
        b"\x80\x02ccollections\nOrderedDict\n)R)R.",
    ] {
        let message = refused(bytes);
        assert!(message.contains("as a function or class"), "{message}");
    }
}

#[test]
fn other_instructions_are_refused() {
    for (bytes, expected) in [
        (&b"(ios\nsystem\n."[..], "instruction 0x69 at byte 1"),
        (b"\x80\x02(cos\n", "cut off at byte 3"),
        (b"\x80\x02\x82\x01.", "instruction 0x82"),
        (b"\x80\x01N.", "protocol 1, expected 2 to 5"),
        (b"\x80\x02h\x05.", "never kept"),
        (b"\x80\x02K\x01K\x02.", "left over"),
        (b"\x80\x02(K\x010.", "stack is empty"),
        (b"\x80\x02K\x01(0.", "stack is empty"),
        (b"\x80\x02}(K\x01u.", "a key without a value"),
        (b"\x80\x02K\x01}b.", "state for something"),
        (b"\x80\x02X\xff\xff\xff\xffabc", "cut off at byte 2"),
        (
            b"\x80\x04\x8e\xff\xff\xff\xff\xff\xff\xff\xffabc",
            "cut off",
        ),
        (b"", "cut off at byte 0"),
    ] {
        let message = refused(bytes);
        assert!(message.contains(expected), "{message}");
    }
}

#[test]
fn every_cut_is_noticed() {
    for length in 0..PROTOCOL_2.len() {
        assert!(read(&PROTOCOL_2[..length]).is_err(), "{length}");
    }
}

#[test]
fn values_are_bounded() {
    let mut many = b"\x80\x02(".to_vec();
    many.resize(MOST_VALUES + 4, b'N');
    many.extend(b"t.");
    assert_eq!(read(&many).unwrap_err(), PickleError::TooLarge);
    // A list that holds itself twice, thirty times over, is thirty values.
    let mut nested = b"\x80\x02N".to_vec();
    for _ in 0..30 {
        nested.extend(b"2\x86");
    }
    nested.push(b'.');
    assert_eq!(read(&nested).unwrap().nodes.len(), 31);
}

/// Every instruction that is carried out, so that arbitrary programs get far.
const INSTRUCTIONS: &[u8] =
    b"NJKMGXTUBC(012)]tlae}dsuqrhjQcRb.\x80\x81\x85\x86\x87\x88\x89\x8a\x8b\
    \x8c\x8d\x8e\x8f\x90\x91\x92\x93\x94\x95\x96";

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(bytes: Vec<u8>) {
        bounded(&bytes)?;
    }

    #[test]
    fn arbitrary_programs_never_panic(
        program in proptest::collection::vec(
            prop_oneof![
                4 => proptest::sample::select(INSTRUCTIONS),
                1 => 0_u8..4,
                1 => any::<u8>(),
            ],
            0..200,
        ),
    ) {
        bounded(&program)?;
        let mut within = PROTOCOL_2[..PROTOCOL_2.len() - 1].to_vec();
        within.extend(&program);
        bounded(&within)?;
    }
}

/// What was read is no larger than a multiple of what there was.
fn bounded(bytes: &[u8]) -> std::result::Result<(), TestCaseError> {
    if let Ok(pickle) = read(bytes) {
        let held: usize = pickle
            .nodes
            .iter()
            .map(|node| match node {
                Node::Text(text) => text.len(),
                Node::Sequence(items) => items.len(),
                Node::Dictionary(entries) => 2 * entries.len(),
                Node::Object(object) => 2 * object.entries.len(),
                _ => 0,
            })
            .sum();
        prop_assert!(pickle.nodes.len() <= bytes.len());
        prop_assert!(held <= 4 * bytes.len());
    }
    Ok(())
}
