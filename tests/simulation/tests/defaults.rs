//! The autoscalers as k8s/ has them keep what README promises of them, with each model whose rates were measured.

#![allow(clippy::unwrap_used)]

use sightline_simulation::{
    autoscaler::{Metric, Target},
    day::{Outcome, simulate},
    home,
    load::{Arrivals, DAY, Load},
    manifests::{Manifests, Setting},
    rates::Rates,
    report::{Comparison, compare, page},
    signals::Signal,
    world::World,
};
use std::{fs, process::Command};

fn manifests() -> Manifests {
    Manifests::read(&home().join("../../k8s")).unwrap()
}

fn rates() -> Rates {
    Rates::read(&home().join("rates.json")).unwrap()
}

fn under(load: Load) -> Vec<Comparison> {
    let rates = rates();
    let models: Vec<_> = rates.models.iter().map(|model| &*model.name).collect();
    compare(&manifests(), &rates, &models, &[load]).unwrap()
}

fn world() -> World {
    rates().world("f32", &manifests()).unwrap()
}

fn day(load: Load, setting: &Setting, world: World) -> Outcome {
    let arrivals = Arrivals::draw(load, world.rate, world.partitions, DAY);
    simulate(setting, world, &arrivals)
}

#[test]
fn a_steady_load_is_left_alone() {
    for Comparison {
        model, cpu, keda, ..
    } in under(Load::Steady)
    {
        for (name, outcome) in [("CPU", cpu), ("KEDA", keda)] {
            assert!(
                outcome.changes <= 2 && outcome.turns == 0,
                "{model} {name}: {} changes, {} turns",
                outcome.changes,
                outcome.turns
            );
            assert!(
                outcome.wait_max <= 5,
                "{model} {name}: {} s",
                outcome.wait_max
            );
            assert!(outcome.cost <= 1.7, "{model} {name}: {}", outcome.cost);
        }
    }
}

/// Up in the morning and down in the evening are one turn, and one more at midnight.
#[test]
fn a_daily_wave_is_followed_without_a_wait() {
    for Comparison {
        model, cpu, keda, ..
    } in under(Load::Wave)
    {
        for (name, outcome) in [("CPU", cpu), ("KEDA", keda)] {
            assert!(
                outcome.wait_max <= 15,
                "{model} {name}: {} s",
                outcome.wait_max
            );
            assert!(
                outcome.turns <= 6,
                "{model} {name}: {} turns",
                outcome.turns
            );
            assert!(outcome.cost <= 1.5, "{model} {name}: {}", outcome.cost);
        }
    }
}

#[test]
fn a_tenfold_burst_waits_a_minute_at_most_by_keda_and_two_by_processor_time() {
    for Comparison {
        model, cpu, keda, ..
    } in under(Load::Burst)
    {
        assert!(keda.wait_max <= 60, "{model}: {} s", keda.wait_max);
        assert!(
            cpu.wait_max <= 120 && cpu.late <= 0.025,
            "{model}: {} s, {}",
            cpu.wait_max,
            cpu.late
        );
        for (name, outcome) in [("CPU", cpu), ("KEDA", keda)] {
            assert_eq!(outcome.turns, 1, "{model} {name}");
            assert!(
                outcome.changes <= 15,
                "{model} {name}: {} changes",
                outcome.changes
            );
            assert!(outcome.cost <= 1.1, "{model} {name}: {}", outcome.cost);
        }
    }
}

/// There are 112 of them; each turns the number up and down at most.
#[test]
fn gusts_are_followed_without_flutter() {
    for Comparison {
        model, cpu, keda, ..
    } in under(Load::Gusts)
    {
        assert!(keda.wait_max <= 45, "{model}: {} s", keda.wait_max);
        assert!(cpu.wait_max <= 75, "{model}: {} s", cpu.wait_max);
        for (name, outcome) in [("CPU", cpu), ("KEDA", keda)] {
            assert!(
                outcome.turns <= 224,
                "{model} {name}: {} turns",
                outcome.turns
            );
            assert!(outcome.cost <= 1.8, "{model} {name}: {}", outcome.cost);
        }
    }
}

/// Pods with one partition more than others are full first. Unless that is close to when all are, an autoscaler that looks
/// at the average does nothing while some partitions fall behind.
#[test]
fn no_number_of_replicas_leaves_partitions_behind_unseen() {
    let manifests = manifests();
    let busiest = |setting: &Setting| {
        let of = |(metric, signal): (&Metric, Option<&Signal>)| match (metric, signal) {
            (Metric::ContainerCpu { target_percent }, _) => Some(*target_percent as f64 / 100.0),
            (
                Metric::External {
                    target: Target::AverageValue(share),
                    ..
                },
                Some(Signal::Busy { .. }),
            ) => Some(*share as f64 / 1000.0),
            _ => None,
        };
        let signals = setting
            .signals
            .iter()
            .map(Some)
            .chain(std::iter::repeat(None));
        setting
            .spec
            .metrics
            .iter()
            .zip(signals)
            .find_map(of)
            .unwrap()
    };
    for setting in [&manifests.base, &manifests.keda] {
        // What the controller's tolerance still allows.
        let band = busiest(setting) * 1.1;
        for replicas in setting.spec.min_replicas..setting.spec.max_replicas {
            let most = manifests.partitions.div_ceil(replicas as usize);
            let average = manifests.partitions as f64 / (most as f64 * f64::from(replicas));
            assert!(
                average > band,
                "{} partitions over {replicas} replicas: the fullest has no room at {average:.2}, more are asked for from {band:.2} on",
                manifests.partitions
            );
        }
    }
    assert!(manifests.partitions >= manifests.keda.spec.max_replicas as usize);
}

/// What the tests above are there to catch.
#[test]
fn twelve_partitions_would_leave_some_behind() {
    let few = World {
        partitions: 12,
        ..world()
    };
    let outcome = day(Load::Wave, &manifests().base, few);
    assert!(
        outcome.late > 0.1 && outcome.max_replicas < 12 + 1,
        "{}",
        outcome.late
    );
}

#[test]
fn without_the_busy_trigger_a_steady_load_would_oscillate() {
    let mut setting = manifests().keda;
    let busy = setting
        .signals
        .iter()
        .position(|signal| matches!(signal, Signal::Busy { .. }))
        .unwrap();
    setting.signals.remove(busy);
    setting.spec.metrics.remove(busy);
    let outcome = day(Load::Steady, &setting, world());
    assert!(outcome.turns > 100, "{} turns", outcome.turns);
}

#[test]
fn readme_and_plots_are_what_the_simulation_says() {
    let readme = fs::read_to_string(home().join("README.md")).unwrap();
    let page = page(&readme, &manifests(), &rates()).unwrap();
    let stale = "stale: cargo run --release -p sightline-simulation -- --write";
    assert!(page.readme == readme, "README.md is {stale}");
    for (name, svg) in page.plots {
        let kept = fs::read_to_string(home().join("plots").join(&name)).unwrap_or_default();
        assert!(kept == svg, "plots/{name} is {stale}");
    }
}

#[test]
fn the_program_prints_a_line_a_day_and_draws_it() {
    let folder = std::env::temp_dir().join(format!("sightline-simulation-{}", std::process::id()));
    let run = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_simulate-autoscaling"));
        command
            .args(arguments)
            .arg("--svg")
            .arg(&folder)
            .output()
            .unwrap()
    };
    let output = run(&["--model", "int8", "--json"]);
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let text = String::from_utf8(output.stdout).unwrap();
    let days: Vec<serde_json::Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let loads: Vec<_> = days
        .iter()
        .map(|day| day["load"].as_str().unwrap())
        .collect();
    assert_eq!(loads, Load::ALL.map(Load::name));
    assert!(
        days.iter()
            .all(|day| day["keda"]["replica_hours"].as_f64() > Some(24.0))
    );
    for load in loads {
        let svg = fs::read_to_string(folder.join(format!("{load}.svg"))).unwrap();
        assert!(
            svg.starts_with("<svg ") && svg.ends_with("</svg>\n"),
            "{load}"
        );
    }
    fs::remove_dir_all(&folder).unwrap();
    let unknown = run(&["--model", "int4"]);
    assert!(!unknown.status.success());
    assert!(String::from_utf8_lossy(&unknown.stderr).contains("f32, bf16, int8"));
}
