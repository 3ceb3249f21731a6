//! Alternatives to the defaults: the settings of the manifests with one change each.

use crate::{
    autoscaler::{Metric, Policy, Rules, Target},
    day::{Outcome, simulate},
    load::{Arrivals, DAY, Load},
    manifests::{Manifests, Setting},
    signals::Signal,
    world::World,
};
use serde::Serialize;
use std::{collections::BTreeMap, thread};

/// One change, and its outcome under each load.
#[derive(Debug, Serialize)]
pub struct Alternative {
    pub autoscaler: &'static str,
    pub change: String,
    pub outcomes: Vec<(Load, Outcome)>,
}

type Case = (&'static str, String, Setting, World);

/// The outcomes of both autoscalers: first with the settings of the manifests, then with each change.
pub fn alternatives(manifests: &Manifests, world: World) -> Vec<Alternative> {
    let mut cases = by_cpu(&manifests.base, world);
    cases.extend(by_wait(&manifests.keda, world));
    run(&cases)
}

fn changed(setting: &Setting, change: impl FnOnce(&mut Setting)) -> Setting {
    let mut setting = setting.clone();
    change(&mut setting);
    setting
}

/// Changes that apply to both autoscalers: scaling behaviour, partitions, start of a node.
fn shared(name: &'static str, shipped: &Setting, world: World) -> Vec<Case> {
    let mut cases = Vec::new();
    let mut add =
        |change: &str, setting, world| cases.push((name, change.to_owned(), setting, world));
    let with = |change: &dyn Fn(&mut Setting)| changed(shipped, change);
    for window in [0, 60, 600] {
        let setting = with(&|setting| setting.spec.behavior.down.window = window);
        add(&format!("scale-down window {window} s"), setting, world);
    }
    add(
        "down at once to what is asked for",
        with(&|setting| setting.spec.behavior.down.policies = Rules::default_down().policies),
        world,
    );
    add(
        "down one a minute",
        with(&|setting| setting.spec.behavior.down.policies = vec![Policy::pods(1, 60)]),
        world,
    );
    add(
        "up as Kubernetes' default, per 15 s",
        with(&|setting| setting.spec.behavior.up.policies = Rules::default_up().policies),
        world,
    );
    add(
        "up two a minute",
        with(&|setting| setting.spec.behavior.up.policies = vec![Policy::pods(2, 60)]),
        world,
    );
    add(
        "scale-up window 60 s",
        with(&|setting| setting.spec.behavior.up.window = 60),
        world,
    );
    for partitions in [12, 24, 48]
        .into_iter()
        .filter(|&partitions| partitions != world.partitions)
    {
        add(
            &format!("{partitions} partitions"),
            shipped.clone(),
            World {
                partitions,
                ..world
            },
        );
    }
    let scheduling = 90;
    add(
        "a pod's node starts first: 90 s",
        shipped.clone(),
        World {
            scheduling,
            ..world
        },
    );
    cases
}

fn by_cpu(shipped: &Setting, world: World) -> Vec<Case> {
    let mut cases = vec![("CPU", "as shipped".to_owned(), shipped.clone(), world)];
    for percent in [50, 60, 80] {
        let setting = changed(shipped, |setting| {
            setting.spec.metrics = vec![Metric::ContainerCpu {
                target_percent: percent,
            }];
        });
        cases.push(("CPU", format!("target {percent} %"), setting, world));
    }
    cases.extend(shared("CPU", shipped, world));
    cases
}

fn by_wait(shipped: &Setting, world: World) -> Vec<Case> {
    let mut cases = vec![("KEDA", "as shipped".to_owned(), shipped.clone(), world)];
    let mut add = |change: String, setting| cases.push(("KEDA", change, setting, world));
    let signal = |wanted: fn(&Signal) -> bool| shipped.signals.iter().position(wanted);
    let drain = signal(|signal| matches!(signal, Signal::DrainSum { .. } | Signal::DrainMax));
    let busy = signal(|signal| matches!(signal, Signal::Busy { .. }));
    let lag = signal(|signal| matches!(signal, Signal::Lag { .. }));
    let target = |index: usize, target: f64| {
        changed(shipped, |setting| {
            if let Metric::External { target: kept, .. } = &mut setting.spec.metrics[index] {
                *kept = Target::AverageValue((target * 1000.0) as i64);
            }
            if let Signal::Lag { threshold } = &mut setting.signals[index] {
                *threshold = target;
            }
        })
    };
    let without = |index: usize| {
        changed(shipped, |setting| {
            setting.spec.metrics.remove(index);
            setting.signals.remove(index);
        })
    };
    if let Some(index) = drain {
        for seconds in [5.0, 30.0] {
            add(format!("drain {seconds} s"), target(index, seconds));
        }
        add("without drain".to_owned(), without(index));
        let value = changed(shipped, |setting| {
            setting.signals = vec![Signal::DrainMax];
            let name = "drain".to_owned();
            let target = Target::Value(10_000);
            setting.spec.metrics = vec![Metric::External { name, target }];
        });
        add("the longest drain alone, as Value".to_owned(), value);
    }
    if let Some(index) = busy {
        for share in [0.65, 0.85] {
            add(format!("busy {share}"), target(index, share));
        }
        add("without busy".to_owned(), without(index));
    }
    if let Some(index) = lag {
        for images in [200.0, 2000.0] {
            add(format!("lag {images}"), target(index, images));
        }
        add("without lag".to_owned(), without(index));
    }
    cases.extend(shared("KEDA", shipped, world));
    cases
}

fn run(cases: &[Case]) -> Vec<Alternative> {
    // The arrivals are drawn once for each number of partitions.
    let mut days: BTreeMap<usize, [Arrivals; 4]> = BTreeMap::new();
    for (_, _, _, world) in cases {
        let draw = |load| Arrivals::draw(load, world.rate, world.partitions, DAY);
        days.entry(world.partitions)
            .or_insert_with(|| Load::ALL.map(draw));
    }
    let days = &days;
    let threads = thread::available_parallelism().map_or(1, usize::from);
    let part = cases.len().div_ceil(threads);
    thread::scope(|scope| {
        let running: Vec<_> = cases
            .chunks(part)
            .map(|cases| {
                scope.spawn(move || cases.iter().map(|case| one(case, days)).collect::<Vec<_>>())
            })
            .collect();
        let results = running
            .into_iter()
            .map(|thread| thread.join().unwrap_or_default());
        results.flatten().collect()
    })
}

fn one(
    (autoscaler, change, setting, world): &Case,
    days: &BTreeMap<usize, [Arrivals; 4]>,
) -> Alternative {
    let outcome = |arrivals: &Arrivals| (arrivals.load, simulate(setting, *world, arrivals));
    Alternative {
        autoscaler,
        change: change.clone(),
        outcomes: days[&world.partitions].iter().map(outcome).collect(),
    }
}
