//! The page of `kinestream run`: what it shows, what it does, and who may not reach it.

use std::cell::RefCell;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

use serde_json::Value;

use crate::support::child::Running;
use crate::support::project::{CONFIG, Project};
use crate::support::{assert_keys, get, post};

/// A limit that a robot of the test meets, and a place to go to.
const CONTROL: &str = "[control]\nhome = [256.0, 256.0]\n";
const SESSION: &str = "[control.limits]\nlower = 0\nupper = 512\nvelocity = 400\n\n[session]";

fn json(address: &str, path: &str) -> Value {
    let answer = get(address, path);
    let body = answer.split_once("\r\n\r\n").map_or("", |(_, body)| body);
    serde_json::from_str(body).unwrap_or_default()
}

fn address_of(said: &str) -> String {
    let rest = said.split("open http://").nth(1).unwrap();
    rest.split_whitespace().next().unwrap().to_owned()
}

/// The status line of an answer to a request with these headers.
fn status(address: &str, request: &str, headers: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    let limit = Some(Duration::from_secs(60));
    stream.set_read_timeout(limit).unwrap();
    let request = format!("{request} HTTP/1.1\r\n{headers}Connection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer.lines().next().unwrap_or_default().to_owned()
}

#[test]
fn the_page_of_a_robot_shows_how_it_is_and_stops_it() {
    let project = Project::trained();
    project.variant(CONFIG, "[control]\n", CONTROL);
    project.variant(CONFIG, "[session]", SESSION);
    let folder = project.folder();
    let mut runtime = Running::start(folder, &["run", CONFIG, "--page", "0"]);
    let address = address_of(&runtime.wait_for("ready: "));
    let page = get(&address, "/");
    assert!(
        page.starts_with("HTTP/1.1 200") && page.contains("<html"),
        "{page}"
    );
    let introduction = json(&address, "/introduction.json");
    let robot = &introduction["robots"][0];
    assert_eq!(robot["prefix"], "test/pusht", "{introduction}");
    assert_eq!(robot["upper"], serde_json::json!([512.0, 512.0]));
    assert_eq!(
        (&robot["has_home"], &robot["action_size"]),
        (&true.into(), &2.into())
    );

    let newest = RefCell::new(Value::Null);
    let is = |condition: &dyn Fn(&Value) -> bool| {
        let robot = json(&address, "/frame.json")["robots"][0].take();
        let holds = condition(&robot);
        *newest.borrow_mut() = robot;
        holds
    };
    let in_state = |rung: &'static str| move |robot: &Value| robot["safety"]["rung"] == rung;
    runtime.wait_until("a frame", || is(&in_state("waiting")));
    assert_eq!(newest.borrow()["plan"], Value::Null);

    let simulator = Running::start(folder, &["sim", CONFIG]);
    runtime.wait_until("a robot that runs", || {
        is(&|robot| {
            in_state("running")(robot) && robot["health"]["policy"]["plans"].as_u64() > Some(3)
        })
    });
    let robot = newest.take();
    assert_keys(
        &robot,
        &[
            "safety", "plan", "command", "limiting", "health", "pictures", "nodes", "answer",
        ],
    );
    assert_eq!(
        robot["plan"]["actions"].as_array().unwrap().len(),
        8,
        "{robot}"
    );
    assert_eq!(
        robot["plan"]["noise"].as_array().unwrap().len(),
        8,
        "{robot}"
    );
    assert_eq!(
        robot["command"]["values"].as_array().unwrap().len(),
        2,
        "{robot}"
    );
    assert_eq!(robot["safety"]["stopped_by"], Value::Null, "{robot}");

    // What comes from elsewhere does nothing.
    let own = format!("Host: {address}\r\n");
    let foreign = [
        (
            "POST /stop",
            format!("{own}Origin: http://evil.example\r\n"),
            "403",
        ),
        ("POST /rearm", format!("{own}Origin: null\r\n"), "403"),
        ("POST /stop", "Host: evil.example\r\n".to_owned(), "421"),
        (
            "GET /frame.json",
            "Host: evil.example\r\n".to_owned(),
            "421",
        ),
        ("GET /stop", own.clone(), "405"),
    ];
    for (request, headers, expected) in foreign {
        let found = status(&address, request, &headers);
        assert!(found.contains(expected), "{request} {headers}: {found}");
    }
    assert!(is(&|robot| robot["safety"]["rung"] != "emergency_stop"));

    assert!(post(&address, "/stop").starts_with("HTTP/1.1 202"));
    runtime.wait_until("the page's stop", || is(&in_state("emergency_stop")));
    assert_eq!(newest.borrow()["safety"]["stopped_by"], "the page");
    assert!(post(&address, "/rearm").starts_with("HTTP/1.1 202"));
    runtime.wait_until("the page's re-arming", || is(&in_state("running")));
    assert_eq!(newest.borrow()["safety"]["stopped_by"], Value::Null);

    // Another way is told by its name.
    let stop = project.run(&["stop", CONFIG]).succeeds();
    assert!(stop.stderr.len() < 1000, "{}", stop.stderr);
    runtime.wait_until("a stop by the command", || {
        is(&|robot| {
            robot["safety"]["stopped_by"]
                .as_str()
                .is_some_and(|way| way != "the page")
        })
    });

    runtime.interrupt();
    runtime.finish().succeeds();
    assert!(
        TcpStream::connect(&address).is_err(),
        "the port is still open"
    );
    drop(simulator);
}

#[test]
fn a_page_that_cannot_be_opened_names_its_key() {
    let project = Project::trained();
    let other = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = other.local_addr().unwrap().port().to_string();
    let run = project.run(&["run", CONFIG, "--page", &port]);
    assert_eq!(run.status, Some(1), "{}", run.stderr);
    assert!(
        run.stderr.contains("runtime.page_port") && run.stderr.contains(&port),
        "{}",
        run.stderr
    );
    let open = "[runtime]\npage_port = 0\npage_host = \"0.0.0.0\"\n";
    let open = project.variant("open.toml", "[runtime]\n", open);
    let run = project.run(&["run", open]);
    assert_eq!(run.status, Some(1), "{}", run.stderr);
    assert!(
        run.stderr.contains("runtime.page_token_file"),
        "{}",
        run.stderr
    );
}
