//! Workers that misbehave: each fails its own request only, and the next worker is available at once.
//!
//! No harness: the program that is tested is started again as the worker.
#![allow(clippy::unwrap_used)]

use sightline_sandbox::{Failure, Limits, Program, Spawner, serve_if_asked};
use std::{
    hint::black_box,
    net::TcpStream,
    process::{Command, ExitCode},
    thread,
    time::{Duration, Instant},
};

const MIB: u64 = 1 << 20;

const LIMITS: Limits = Limits {
    allowance: 16 * MIB,
    work: Duration::from_secs(2),
    answer: MIB,
};

fn main() -> ExitCode {
    if let Some(status) = serve_if_asked(job) {
        return status;
    }
    let only = std::env::args()
        .nth(1)
        .filter(|argument| !argument.starts_with('-'));
    let wanted = |name: &str| only.as_deref().is_none_or(|only| name.contains(only));
    let mut passed = 0;
    for (name, test) in TESTS.iter().filter(|(name, _)| wanted(name)) {
        let started = Instant::now();
        test();
        println!("test {name} ... ok ({:.0?})", started.elapsed());
        passed += 1;
    }
    println!("\ntest result: ok. {passed} passed; 0 failed");
    ExitCode::SUCCESS
}

type Test = (&'static str, fn());

const TESTS: &[Test] = &[
    ("requests_are_answered", requests_are_answered),
    (
        "a_worker_that_dies_fails_one_request",
        a_worker_that_dies_fails_one_request,
    ),
    (
        "memory_beyond_the_allowance_must_be_granted",
        memory_beyond_the_allowance_must_be_granted,
    ),
    (
        "memory_is_free_again_for_the_next_request",
        memory_is_free_again_for_the_next_request,
    ),
    (
        "a_worker_that_loops_is_killed_after_its_time",
        a_worker_that_loops_is_killed_after_its_time,
    ),
    (
        "waiting_does_not_count_as_work",
        waiting_does_not_count_as_work,
    ),
    (
        "files_network_and_programs_are_denied",
        files_network_and_programs_are_denied,
    ),
    (
        "signals_of_a_terminal_are_ignored",
        signals_of_a_terminal_are_ignored,
    ),
    (
        "an_answer_above_the_limit_is_refused",
        an_answer_above_the_limit_is_refused,
    ),
    (
        "a_worker_killed_from_outside_is_not_the_request_s_fault",
        a_worker_killed_from_outside_is_not_the_request_s_fault,
    ),
    (
        "workers_die_with_their_service",
        workers_die_with_their_service,
    ),
    (
        "a_program_that_is_no_worker_is_an_error",
        a_program_that_is_no_worker_is_an_error,
    ),
];

/// What the requests of these tests ask for.
fn job(head: &[u8], body: &[u8], ask: &mut dyn FnMut(u64) -> bool) -> Vec<Vec<u8>> {
    let (what, number) = std::str::from_utf8(head).unwrap().split_once(' ').unwrap();
    let number: u64 = number.parse().unwrap();
    let text = match what {
        "echo" => return vec![head.to_vec(), body.to_vec()],
        "abort" => std::process::abort(),
        "exit" => std::process::exit(3),
        "panic" => panic!("on purpose"),
        // A stack that is used up ends in SIGSEGV, as an access outside does.
        "overflow" => overflow(number).to_string(),
        "take" => take(number).to_string(),
        "ask" if ask(number) => take(number).to_string(),
        "ask" => "refused".to_owned(),
        "spin" => loop {
            black_box(number);
        },
        "work" => {
            let start = Instant::now();
            while start.elapsed() < Duration::from_millis(number) {
                black_box(number);
            }
            "worked".to_owned()
        }
        "open" => {
            std::fs::read_to_string("/etc/hostname").unwrap_or_else(|error| error.to_string())
        }
        "connect" => TcpStream::connect(("127.0.0.1", 9))
            .map_or_else(|e| e.to_string(), |_| "connected".into()),
        "run" => Command::new("/bin/true")
            .status()
            .map_or_else(|e| e.to_string(), |s| s.to_string()),
        "environment" => std::env::vars_os().count().to_string(),
        other => panic!("{other}"),
    };
    vec![text.into_bytes()]
}

fn take(bytes: u64) -> usize {
    black_box(vec![1u8; bytes as usize]).len()
}

#[allow(unconditional_recursion)]
fn overflow(depth: u64) -> u64 {
    black_box(overflow(depth + 1)) + black_box([depth; 100])[7]
}

fn spawner() -> Spawner {
    Spawner::start(Program::running(), LIMITS).unwrap()
}

fn call(spawner: &Spawner, head: &str) -> Result<String, Failure> {
    let mut worker = spawner.take().unwrap();
    worker
        .call(head.as_bytes(), b"", &mut |_| true)
        .map(|answer| String::from_utf8(answer).unwrap())
}

fn requests_are_answered() {
    let spawner = spawner();
    let mut worker = spawner.take().unwrap();
    assert_eq!(
        worker.lacks(),
        &[] as &[String],
        "this kernel has all of it"
    );
    for size in [0, 1, 150_000, 900_000] {
        let body: Vec<u8> = (0..size).map(|n| n as u8).collect();
        let answer = worker.call(b"echo 0", &body, &mut |_| true).unwrap();
        assert_eq!(answer, [b"echo 0", &body[..]].concat());
    }
    let panicked = worker.call(b"panic 0", b"", &mut |_| true).unwrap_err();
    assert!(panicked.worker_lives() && panicked.to_string().contains("on purpose"));
    assert_eq!(
        worker.call(b"echo 1", b"", &mut |_| true).unwrap(),
        b"echo 1"
    );
    assert_eq!(
        worker.call(b"environment 0", b"", &mut |_| true).unwrap(),
        b"0"
    );
    // A body that is larger than what the worker may take of its own.
    let body = vec![7; 64 << 20];
    assert_eq!(
        worker.call(b"work 1", &body, &mut |_| true).unwrap(),
        b"worked"
    );
}

fn a_worker_that_dies_fails_one_request() {
    let spawner = spawner();
    for (head, signal) in [
        ("abort 0", "SIGABRT"),
        ("overflow 0", "SIGSEGV"),
        ("exit 0", "exit status: 3"),
    ] {
        let mut worker = spawner.take().unwrap();
        let died = worker
            .call(head.as_bytes(), b"", &mut |_| true)
            .unwrap_err();
        assert!(!died.worker_lives());
        // SIGSEGV on a used-up stack becomes an abort by the runtime's own handler, where it is installed.
        let text = died.to_string();
        assert!(
            text.contains(signal) || head.starts_with("overflow") && text.contains("SIGABRT"),
            "{head}: {text}"
        );
        // The next one has been started ahead.
        let started = Instant::now();
        assert_eq!(call(&spawner, "echo 2").unwrap(), "echo 2");
        let after = started.elapsed();
        println!("  next worker's answer {after:.1?} after {text}");
        assert!(after < Duration::from_millis(50), "{after:?}");
        thread::sleep(Duration::from_millis(50));
    }
}

fn memory_beyond_the_allowance_must_be_granted() {
    let spawner = spawner();
    assert_eq!(
        call(&spawner, &format!("take {}", 8 * MIB)).unwrap(),
        (8 * MIB).to_string()
    );
    let died = call(&spawner, &format!("take {}", 200 * MIB)).unwrap_err();
    assert!(
        matches!(died, Failure::Memory { granted } if granted == 16 * MIB),
        "{died:?}"
    );
    let mut worker = spawner.take().unwrap();
    let mut asked = Vec::new();
    let head = format!("ask {}", 200 * MIB);
    let answer = worker.call(head.as_bytes(), b"", &mut |bytes| {
        asked.push(bytes);
        true
    });
    assert_eq!(answer.unwrap(), (200 * MIB).to_string().as_bytes());
    assert_eq!(asked, [200 * MIB]);
    let refused = worker.call(head.as_bytes(), b"", &mut |_| false).unwrap();
    assert_eq!(refused, b"refused");
    // What fits the allowance is nobody's business.
    let head = format!("ask {}", 4 * MIB);
    worker
        .call(head.as_bytes(), b"", &mut |_| panic!("asked"))
        .unwrap();
    // What was granted once is not granted for ever.
    let died = worker.call(format!("take {}", 200 * MIB).as_bytes(), b"", &mut |_| true);
    assert!(matches!(died, Err(Failure::Memory { .. })));
}

fn memory_is_free_again_for_the_next_request() {
    let spawner = spawner();
    let mut worker = spawner.take().unwrap();
    for round in 0..40 {
        let megabytes = 3 + (round * 7) % 60;
        let head = format!("ask {}", megabytes * MIB);
        let body = vec![0; ((round * 5) % 30) as usize * MIB as usize];
        let answer = worker.call(head.as_bytes(), &body, &mut |_| true);
        assert_eq!(answer.unwrap(), (megabytes * MIB).to_string().as_bytes());
        worker
            .call(format!("take {}", 15 * MIB).as_bytes(), b"", &mut |_| true)
            .unwrap();
    }
}

fn a_worker_that_loops_is_killed_after_its_time() {
    let spawner = spawner();
    let started = Instant::now();
    let ended = call(&spawner, "spin 0").unwrap_err();
    assert!(
        matches!(ended, Failure::Time(work) if work == LIMITS.work),
        "{ended:?}"
    );
    let after = started.elapsed();
    assert!((LIMITS.work..LIMITS.work * 4).contains(&after), "{after:?}");
    // Many short requests may take longer than one may.
    let mut worker = spawner.take().unwrap();
    for _ in 0..8 {
        worker.call(b"work 600", b"", &mut |_| true).unwrap();
    }
}

fn waiting_does_not_count_as_work() {
    let spawner = spawner();
    let mut worker = spawner.take().unwrap();
    let head = format!("ask {}", 20 * MIB);
    let answer = worker.call(head.as_bytes(), b"", &mut |_| {
        thread::sleep(LIMITS.work + Duration::from_millis(500));
        true
    });
    assert!(answer.is_ok());
}

fn files_network_and_programs_are_denied() {
    let spawner = spawner();
    for head in ["open 0", "connect 0", "run 0"] {
        let died = call(&spawner, head).unwrap_err();
        assert!(died.to_string().contains("SIGSYS"), "{head}: {died}");
    }
    let worker = spawner.take().unwrap();
    let open = std::fs::read_dir(format!("/proc/{}/fd", worker.id()))
        .unwrap()
        .count();
    assert_eq!(
        open, 4,
        "standard input, output, error, and a copy of the first"
    );
    let status = std::fs::read_to_string(format!("/proc/{}/status", worker.id())).unwrap();
    assert!(
        status.contains("NoNewPrivs:\t1") && status.contains("Seccomp:\t2"),
        "{status}"
    );
}

fn signals_of_a_terminal_are_ignored() {
    let spawner = spawner();
    let mut worker = spawner.take().unwrap();
    for signal in ["INT", "TERM", "HUP", "QUIT"] {
        let id = worker.id().to_string();
        assert!(
            Command::new("kill")
                .args(["-s", signal, &id])
                .status()
                .unwrap()
                .success()
        );
    }
    assert_eq!(
        worker.call(b"echo 3", b"", &mut |_| true).unwrap(),
        b"echo 3"
    );
}

fn an_answer_above_the_limit_is_refused() {
    let spawner = spawner();
    let mut worker = spawner.take().unwrap();
    let body = vec![0; 2 << 20];
    let died = worker.call(b"echo 0", &body, &mut |_| true).unwrap_err();
    assert!(died.to_string().contains("protocol"), "{died}");
}

fn a_worker_killed_from_outside_is_not_the_request_s_fault() {
    let spawner = spawner();
    let mut worker = spawner.take().unwrap();
    let id = worker.id().to_string();
    let killer = thread::spawn(move || {
        thread::sleep(Duration::from_millis(200));
        Command::new("kill")
            .args(["-s", "KILL", &id])
            .status()
            .unwrap()
    });
    let died = worker.call(b"work 1500", b"", &mut |_| true).unwrap_err();
    assert!(matches!(died, Failure::Killed(_)), "{died:?}");
    killer.join().unwrap();
}

fn workers_die_with_their_service() {
    let alive = |id: u32| std::fs::exists(format!("/proc/{id}/exe")).unwrap();
    let spawner = spawner();
    let worker = spawner.take().unwrap();
    let id = worker.id();
    assert!(alive(id));
    drop(spawner);
    // The thread that started it has ended, and the kernel ends its children with it.
    let deadline = Instant::now() + Duration::from_secs(5);
    let mut worker = worker;
    while worker.call(b"echo 4", b"", &mut |_| true).is_ok() {
        assert!(Instant::now() < deadline);
        thread::sleep(Duration::from_millis(10));
    }
}

fn a_program_that_is_no_worker_is_an_error() {
    let spawner = Spawner::start(Program::at("/bin/true"), LIMITS).unwrap();
    let error = spawner.take().unwrap_err().to_string();
    assert!(error.contains("did not become one"), "{error}");
    let spawner = Spawner::start(Program::at("/no/such/program"), LIMITS).unwrap();
    assert!(spawner.take().is_err());
}
