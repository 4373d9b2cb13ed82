//! Whatever is wrong with the input: exit status 1, one clear line, no panic.

use std::net::TcpListener;

use crate::support::project::{CONFIG, DATA, OUT, Project, ROWS, free_port};

fn train_with(project: &Project, config: &str) -> crate::support::child::Finished {
    project.run(&["train", config, "--data", DATA, "--out", "new"])
}

#[test]
fn configurations() {
    let project = Project::new();
    for command in ["run", "sim", "eval"] {
        project
            .run(&[command, "absent.toml"])
            .fails(&["absent.toml", "cannot read"]);
    }
    train_with(&project, "absent.toml").fails(&["absent.toml"]);

    // The line of the unknown key, counted in the file as it stands.
    for (key, table) in [
        ("horizn", "[plan]"),
        ("chanels", "[network]"),
        ("learning_rat", "[training]"),
        ("ladders", "[training.noise]"),
        ("robt", "[runtime]"),
        ("rate", "[control]"),
        ("listn", "[session]"),
    ] {
        let wrong = project.variant("wrong.toml", table, &format!("{table}\n{key} = 1"));
        let text = std::fs::read_to_string(project.path(wrong)).unwrap();
        let line = 1 + text
            .lines()
            .position(|line| line == format!("{key} = 1"))
            .unwrap();
        let told = format!("line {line}");
        train_with(&project, wrong).fails(&[wrong, key, &told, "unknown field"]);
    }
    let wrong = project.variant("kind.toml", "horizon = 8", "horizon = \"long\"");
    train_with(&project, wrong).fails(&[wrong, "line 10", "long", "expected"]);
    let wrong = project.variant("syntax.toml", "[network]", "[network");
    train_with(&project, wrong).fails(&[wrong, "line"]);
    let wrong = project.variant("missing.toml", "horizon = 8\n", "");
    train_with(&project, wrong).fails(&[wrong, "horizon"]);
    std::fs::write(project.path("binary.toml"), [0xff, 0xfe, 0]).unwrap();
    train_with(&project, "binary.toml").fails(&["binary.toml"]);
    project
        .run(&["train", ".", "--data", DATA, "--out", "new"])
        .fails(&["cannot read"]);
    assert!(
        !project.path("new").exists(),
        "a refused training left a folder"
    );
}

#[test]
fn values_out_of_their_range() {
    let project = Project::new();
    let wrong: [(&str, &str, &[&str]); 12] = [
        ("steps = 12", "steps = 0", &["training.steps"]),
        ("batch = 8", "batch = 0", &["training.batch"]),
        (
            "checkpoint_every = 4",
            "checkpoint_every = 0",
            &["training.checkpoint_every"],
        ),
        (
            "learning_rate = 1e-3",
            "learning_rate = nan",
            &["training.learning_rate"],
        ),
        (
            "validation = 0.1",
            "validation = 1.0",
            &["training.validation"],
        ),
        ("levels = 8", "levels = 7", &["plan.levels", "8", "100"]),
        (
            "action_steps = 1",
            "action_steps = 9",
            &["plan.action_steps", "9"],
        ),
        (
            "observation_steps = 2",
            "observation_steps = 0",
            &["plan.observation_steps"],
        ),
        (
            "groups = 8",
            "groups = 5",
            &["network.channels", "network.groups"],
        ),
        (
            "kernel_size = 3",
            "kernel_size = 4",
            &["network.kernel_size", "odd"],
        ),
        (
            "train_timesteps = 100",
            "train_timesteps = 0",
            &["train_timesteps"],
        ),
        ("rate_hz = 10.0", "rate_hz = 0.0", &["task.rate_hz"]),
    ];
    for (from, to, words) in wrong {
        train_with(&project, project.variant("wrong.toml", from, to)).fails(words);
    }

    // Three stages halve the horizon twice; 15 has no whole half.
    let text = std::fs::read_to_string(project.path(CONFIG)).unwrap();
    let text = text
        .replace("horizon = 8", "horizon = 15")
        .replace("levels = 8", "levels = 15")
        .replace("[16, 32]", "[16, 32, 64]");
    std::fs::write(project.path("stages.toml"), text).unwrap();
    train_with(&project, "stages.toml").fails(&["horizon 15", "3 stages", "12", "16"]);
}

#[test]
fn checkpoints() {
    let project = Project::trained();
    let eval = |folder: &str| {
        project.run(&[
            "eval",
            CONFIG,
            "--checkpoint",
            folder,
            "--seeds",
            "1..2",
            "--json",
        ])
    };

    for command in [
        &["eval", CONFIG, "--checkpoint", "absent"][..],
        &["inspect", "absent"],
        &["bench", "policy", "--checkpoint", "absent"],
        &["run", CONFIG, "--checkpoint", "absent"],
        &["demo", "--headless", "--checkpoint", "absent"],
    ] {
        project
            .run(command)
            .fails(&["absent", "config.json is missing", "kinestream train"]);
    }
    project
        .run(&["inspect", CONFIG])
        .fails(&[CONFIG, "neither a checkpoint nor a recording"]);

    let folder = project.copy_checkpoint("weightless");
    std::fs::remove_file(folder.join("model.safetensors")).unwrap();
    eval("weightless").fails(&["weightless", "model.safetensors is missing"]);

    let folder = project.copy_checkpoint("truncated");
    let bytes = std::fs::read(folder.join("model.safetensors")).unwrap();
    for length in [0, 4, 100, bytes.len() - 1] {
        std::fs::write(folder.join("model.safetensors"), &bytes[..length]).unwrap();
        eval("truncated").fails(&["truncated/model.safetensors", "not a complete", "again"]);
    }

    let replace = |name: &str, from: &str, to: &str| {
        let path = project.copy_checkpoint(name).join("config.json");
        let text = std::fs::read_to_string(&path).unwrap();
        // Written over several lines; compared without spaces.
        let dense = serde_json::from_str::<serde_json::Value>(&text)
            .unwrap()
            .to_string();
        assert!(dense.contains(from), "no `{from}` in {dense}");
        std::fs::write(&path, dense.replace(from, to)).unwrap();
    };
    replace("wider", "[16,32]", "[16,64]");
    eval("wider").fails(&["wider/model.safetensors", "tensor", "shape", "expects"]);
    replace("deeper", "[16,32]", "[16,32,32]");
    eval("deeper").fails(&[
        "deeper/model.safetensors",
        "tensor",
        "missing",
        "configuration",
    ]);
    replace("contradiction", "\"condition\":40", "\"condition\":41");
    eval("contradiction").fails(&["contradiction/config.json", "dimensions", "41"]);
    replace("resized", "\"condition\":40", "\"condition\":60");
    eval("resized").fails(&["resized/config.json", "normalisers.observation", "20", "30"]);
    replace("future", "\"format\":1", "\"format\":99");
    eval("future").fails(&["future/config.json", "99", "format 1"]);
    replace("surplus", "\"format\":1", "\"format\":1,\"colour\":2");
    eval("surplus").fails(&["surplus/config.json", "colour"]);
    replace("foreign", "\"name\":\"pusht\"", "\"name\":\"chess\"");
    eval("foreign").fails(&["foreign", "chess", "pusht"]);
    let folder = project.copy_checkpoint("garbage");
    std::fs::write(folder.join("config.json"), "not JSON").unwrap();
    eval("garbage").fails(&["garbage/config.json", "line 1"]);

    let folder = project.copy_checkpoint("diverged");
    let mut bytes = bytes;
    let header = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    bytes[8 + header..12 + header].copy_from_slice(&f32::NAN.to_le_bytes());
    std::fs::write(folder.join("model.safetensors"), bytes).unwrap();
    for command in [
        &["eval", CONFIG, "--checkpoint", "diverged"][..],
        &["inspect", "diverged"],
        &["run", CONFIG, "--checkpoint", "diverged"],
        &["demo", "--headless", "--checkpoint", "diverged"],
    ] {
        project
            .run(command)
            .fails(&["diverged/model.safetensors", "tensor", "1 values", "NaN"]);
    }
}

#[test]
fn data_sets() {
    let project = Project::new();
    let train = || train_with(&project, CONFIG);
    let data = project.path(DATA);

    project
        .run(&["train", CONFIG, "--data", "absent.zarr", "--out", "new"])
        .fails(&["absent.zarr", "--data"]);
    project
        .run(&["train", CONFIG, "--data", ".", "--out", "new"])
        .fails(&["replay buffer in it", DATA]);
    let lerobot = project.path("lerobot");
    std::fs::create_dir_all(lerobot.join("meta")).unwrap();
    for command in [
        &["train", CONFIG, "--data", "lerobot", "--out", "new"][..],
        &["inspect", "lerobot"],
    ] {
        std::fs::write(
            lerobot.join("meta/info.json"),
            r#"{"codebase_version":"v3.0"}"#,
        )
        .unwrap();
        project.run(command).fails(&[
            "lerobot",
            "a LeRobotDataset (v3.0)",
            "zarr replay buffers; convert it",
        ]);
    }

    let chunk = data.join("data/keypoint/2.0.0");
    let bytes = std::fs::read(&chunk).unwrap();
    std::fs::write(&chunk, &bytes[..bytes.len() - 4]).unwrap();
    train().fails(&["keypoint/2.0.0", &bytes.len().to_string()]);
    std::fs::write(&chunk, &bytes).unwrap();

    // Chunks of 100 rows: the one that is cut off leaves the file layout as it was.
    let states = vec![100.0; (ROWS - 1) * 5];
    project.write_floats("state", &[5], &states);
    train().fails(&["data/state", &(ROWS - 1).to_string(), &ROWS.to_string()]);
    project.write_floats("state", &[1], &vec![100.0; ROWS]);
    train().fails(&["data/state", "column 1", "there are 1"]);
    let mut states = vec![100.0; ROWS * 5];
    states[7 * 5 + 3] = f32::NAN;
    project.write_floats("state", &[5], &states);
    train().fails(&["data/state", "row 7"]);
    states[7 * 5 + 3] = 100.0;
    project.write_floats("state", &[5], &states);

    let description = data.join("data/action/.zarray");
    let text = std::fs::read_to_string(&description).unwrap();
    for (from, to, word) in [
        ("\"<f4\"", "\"<c8\"", "<c8"),
        ("\"zarr_format\":2", "\"zarr_format\":3", "format 3"),
        (
            "\"compressor\":null",
            "\"compressor\":{\"id\":\"imagecodecs_jpegxl\"}",
            "Blosc zstd",
        ),
        ("\"order\":\"C\"", "\"order\":\"K\"", "`K`"),
        ("[100,2]", "[100,1]", "400 bytes"),
        ("[100,2]", "[0,2]", "chunks"),
        ("\"order\"", "\"disorder\"", "order"),
        ("[360,2]", "[4611686018427387904,2]", ""),
    ] {
        assert!(text.contains(from), "no `{from}` in {text}");
        std::fs::write(&description, text.replace(from, to)).unwrap();
        train().fails(&["data/action", word]);
    }
    std::fs::remove_file(&description).unwrap();
    train().fails(&["data/action", ".zarray"]);
    for entry in std::fs::read_dir(data.join("data/keypoint")).unwrap() {
        let path = entry.unwrap().path();
        if path.file_name().unwrap() != ".zarray" {
            std::fs::remove_file(path).unwrap();
        }
    }
    train().fails(&["data/keypoint", "none of its 4 chunks"]);
    assert!(
        !project.path("new").exists(),
        "a refused training left a folder"
    );
}

#[test]
fn episode_ends_that_do_not_rise_from_above_0() {
    let project = Project::new();
    let end = ROWS as i64;
    for ends in [&[100, 50, end][..], &[100, 100, end], &[], &[0, 100, end]] {
        project.write_ends(ends);
        train_with(&project, CONFIG).fails(&["meta/episode_ends", "above 0"]);
    }
    project.write_ends(&[-1, end]);
    train_with(&project, CONFIG).fails(&["meta/episode_ends", "-1", "from 0 on"]);
    project.write_ends(&[100, end + 1]);
    train_with(&project, CONFIG).fails(&["data/keypoint", &(end + 1).to_string()]);
}

#[test]
fn a_data_set_of_one_episode_holds_none_out() {
    let project = Project::new();
    project.write_ends(&[ROWS as i64]);
    let trained = train_with(&project, CONFIG).succeeds();
    assert!(
        trained.stderr.contains("of 1 episodes"),
        "{}",
        trained.stderr
    );
}

#[test]
fn flags() {
    let project = Project::trained();
    let eval = |more: &[&str]| project.run(&[&["eval", CONFIG, "--seeds", "1..2"], more].concat());
    eval(&["--device", "cuda:99"]).fails(&["cuda:99", "--device cpu"]);
    eval(&["--device", "abacus"]).fails(&["abacus", "cpu, cuda or cuda:N"]);
    eval(&["--threads", "0"]).fails(&["--threads", "1 to 1024"]);
    eval(&["--batch", "0"]).fails(&["--batch"]);
    eval(&["--steps", "0"]).fails(&["--steps"]);
    eval(&["--steps", "NaN"]).fails(&["--steps"]);
    eval(&["--steps", "0.01"]).fails(&["plan.action_steps", "100", "1 to 8"]);
    eval(&["--steps", "100"]).fails(&["plan.levels", "800", "100"]);
    eval(&["--steps", "1e300"]).fails(&["plan.levels"]);
    let bench =
        |more: &[&str]| project.run(&[&["bench", "policy", "--checkpoint", OUT], more].concat());
    bench(&["--seconds", "0"]).fails(&["--seconds"]);
    bench(&["--seconds", "1", "--rate", "-1"]).reports_wrong_usage(&["-1"]);
    bench(&["--seconds", "1", "--rate", "1e9"]).fails(&["--rate"]);
    project
        .run(&[
            "train", CONFIG, "--data", DATA, "--out", "new", "--device", "cuda:99",
        ])
        .fails(&["cuda:99", "--device cpu"]);
    // A file stands where the folder would be.
    project
        .run(&["train", CONFIG, "--data", DATA, "--out", CONFIG])
        .fails(&[CONFIG]);
}

#[test]
fn nodes() {
    let project = Project::trained();
    // The page's port belongs to somebody else.
    let page = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = page.local_addr().unwrap().port().to_string();
    project
        .run(&["demo", "--checkpoint", OUT, "--port", &port])
        .fails(&[&format!("port {port}"), "in use", "--port"]);

    let text = std::fs::read_to_string(project.path(CONFIG)).unwrap();
    let own = text
        .lines()
        .find(|line| line.starts_with("listen"))
        .unwrap();
    let taken = format!("listen = [\"tcp/127.0.0.1:{port}\"]");
    let config = project.variant("taken.toml", own, &taken);
    project.run(&["run", config]).fails(&[&port, "listen"]);
    let config = project.variant("wrong.toml", own, "listen = [\"somewhere\"]");
    project
        .run(&["run", config])
        .fails(&["listen", "somewhere", "tcp/127.0.0.1:7447"]);
    let config = project.variant("alone.toml", own, "");
    project
        .run(&["run", config])
        .fails(&[config, "[session]", "listen"]);
    project
        .run(&["sim", config, "--episodes", "1"])
        .fails(&[config, "[session]"]);
    let config = project.variant("robot.toml", "robot = \"pusht\"", "robot = \"a/*\"");
    project.run(&["run", config]).fails(&["a/*"]);
    let config = project.variant("rate.toml", "rate_hz = 100.0", "rate_hz = 0.0");
    project.run(&["run", config]).fails(&["control.rate_hz"]);
    let config = project.variant("device.toml", "robot =", "device = \"cuda:99\"\nrobot =");
    project.run(&["run", config]).fails(&["cuda:99"]);
    for (deadlines, words) in [
        ("{ arm = 20.0 }", ["runtime.deadlines_ms", "`arm`", "pusht"]),
        (
            "{ pusht = 0.0 }",
            ["runtime.deadlines_ms.pusht", "0", "60000"],
        ),
    ] {
        let line = format!("deadlines_ms = {deadlines}\nrobot =");
        let config = project.variant("deadlines.toml", "robot =", &line);
        project.run(&["run", config]).fails(&words);
    }
    let config = project.variant("threads.toml", "robot =", "threads = 0\nrobot =");
    project
        .run(&["run", config])
        .fails(&["threads", "1 to 1024"]);
    let config = project.variant("file.toml", own, "config_file = \"absent.json5\"");
    project
        .run(&["run", config])
        .fails(&["config_file", "absent.json5"]);
    drop(page);
    assert_ne!(free_port(), 0);
}
