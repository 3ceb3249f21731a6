//! The cases of Kubernetes' own tests (`horizontal_test.go` and `replica_calculator_test.go` of 1.34.2), and properties.

use super::{behavior::History, calculator::*, *};
use proptest::prelude::*;

const EXACT: Tolerances = Tolerances { up: 0.1, down: 0.1 };
const NOW: Seconds = 100_000;

const fn pod(used: Option<i64>, request: i64) -> PodView {
    let used = match used {
        Some(value) => Some(Sample {
            value,
            at: NOW,
            window: 60,
        }),
        None => None,
    };
    PodView {
        deleting: false,
        pending: false,
        started: NOW - 3600,
        ready: true,
        ready_since: NOW - 3600,
        cpu: Cpu { request, used },
    }
}

/// A pod that started an hour ago and was never ready.
const fn unready(used: i64) -> PodView {
    let mut pod = pod(Some(used), 1000);
    pod.ready = false;
    pod
}

/// A pod that has just become ready.
const fn hot(used: i64) -> PodView {
    let mut pod = pod(Some(used), 1000);
    pod.started = NOW;
    pod.ready_since = NOW;
    pod
}

const fn cool(used: i64) -> PodView {
    pod(Some(used), 1000)
}

const MISSING: PodView = pod(None, 1000);

const fn pending() -> PodView {
    let mut pod = MISSING;
    pod.pending = true;
    pod.ready = false;
    pod
}

const fn deleting(used: i64) -> PodView {
    let mut pod = cool(used);
    pod.deleting = true;
    pod
}

#[test]
fn processor_time_as_in_replica_calculator_test() {
    let cases: &[(&str, i32, i64, &[PodView], i32)] = &[
        ("ScaleUp", 3, 30, &[cool(300), cool(500), cool(700)], 5),
        (
            "ScaleUpUnreadyLessScale",
            3,
            30,
            &[unready(300), cool(500), cool(700)],
            4,
        ),
        (
            "ScaleUpHotCpuLessScale",
            3,
            30,
            &[hot(300), cool(500), cool(700)],
            4,
        ),
        (
            "ScaleUpUnreadyNoScale",
            3,
            30,
            &[cool(400), unready(500), unready(700)],
            3,
        ),
        (
            "ScaleUpIgnoresDeletionPods",
            4,
            30,
            &[cool(500), cool(700), deleting(0), deleting(0)],
            4,
        ),
        (
            "ScaleDown",
            5,
            50,
            &[cool(100), cool(300), cool(500), cool(250), cool(250)],
            3,
        ),
        (
            "ScaleDownExcludeUnreadyPods",
            5,
            50,
            &[cool(100), cool(300), cool(500), unready(250), unready(250)],
            2,
        ),
        (
            "ScaleDownExcludeUnscheduledPods",
            5,
            50,
            &[cool(100), pending(), pending(), pending(), pending()],
            1,
        ),
        (
            "ScaleDownIgnoreHotCpuPods",
            5,
            50,
            &[cool(100), cool(300), cool(500), hot(250), hot(250)],
            2,
        ),
        (
            "MissingMetricsNoChangeEq",
            2,
            100,
            &[cool(1000), MISSING],
            2,
        ),
        (
            "MissingMetricsNoChangeGt",
            2,
            100,
            &[cool(1900), MISSING],
            2,
        ),
        ("MissingMetricsNoChangeLt", 2, 100, &[cool(600), MISSING], 2),
        (
            "MissingMetricsUnreadyChange",
            3,
            50,
            &[unready(100), cool(450), MISSING],
            3,
        ),
        (
            "MissingMetricsHotCpuNoChange",
            3,
            50,
            &[hot(100), cool(450), MISSING],
            3,
        ),
        (
            "MissingMetricsUnreadyScaleUp",
            3,
            50,
            &[unready(100), cool(2000), MISSING],
            4,
        ),
        (
            "MissingMetricsUnreadyScaleDown",
            4,
            50,
            &[unready(100), cool(100), cool(100), MISSING],
            3,
        ),
        (
            "MissingMetricsScaleDownTargetOver100",
            4,
            300,
            &[
                unready(200),
                pod(Some(100), 1000),
                pod(Some(100), 2000),
                pod(None, 2000),
            ],
            2,
        ),
        (
            "DuringRollingUpdateWithMaxSurge",
            2,
            50,
            &[cool(100), cool(100), MISSING],
            2,
        ),
    ];
    for &(name, current, target, pods, expected) in cases {
        let replicas = cpu_replicas(NOW, current, target, EXACT, pods);
        assert_eq!(replicas, Some(expected), "{name}");
    }
    assert_eq!(
        cpu_replicas(NOW, 1, 100, EXACT, &[MISSING]),
        None,
        "EmptyMetrics"
    );
}

#[test]
fn external_metrics_as_in_replica_calculator_test() {
    let per_pod = |pods, usage, target| per_pod_replicas(pods, usage, target, EXACT);
    assert_eq!(per_pod(3, 8600, 2150), 4, "ScaleUpPerPodCMExternal");
    assert_eq!(per_pod(5, 8600, 2867), 3, "ScaleDownPerPodCMExternal");
    assert_eq!(per_pod(3, 8600, 2900), 3, "TolerancePerPodCMExternal");

    let value = |current, usage, target, ready: &[bool]| {
        let pods: Vec<_> = ready
            .iter()
            .map(|&ready| PodView { ready, ..MISSING })
            .collect();
        value_replicas(current, usage, target, EXACT, &pods)
    };
    assert_eq!(value(1, 8600, 4400, &[true]), 2, "ScaleUpCMExternal");
    assert_eq!(
        value(3, 8600, 4400, &[false, true, false]),
        2,
        "ScaleUpCMExternalIgnoresUnreadyPods"
    );
    assert_eq!(value(5, 8600, 14334, &[true; 5]), 3, "ScaleDownCMExternal");
    assert_eq!(value(3, 8600, 8888, &[true; 3]), 3, "ToleranceCMExternal");
}

/// The documentation's example: with a target of 100m, 200m doubles the replicas and 50m halves them.
#[test]
fn the_ratio_of_the_documentation() {
    let replicas = |used| cpu_replicas(NOW, 2, 10, EXACT, &[cool(used), cool(used)]);
    assert_eq!((replicas(200), replicas(50)), (Some(4), Some(1)));
    assert_eq!((replicas(110), replicas(90)), (Some(2), Some(2)));
}

/// `generateScalingRules`: a policy of pods and a policy of percent, each with its period; the largest change is chosen.
fn rules(pods: i32, pods_period: Seconds, percent: i32, percent_period: Seconds) -> Rules {
    let mut policies = Vec::new();
    if pods != 0 {
        policies.push(Policy::pods(pods, pods_period));
    }
    if percent != 0 {
        policies.push(Policy::percent(percent, percent_period));
    }
    Rules {
        policies,
        ..Rules::default_up()
    }
}

/// `generateEventsUniformDistribution`.
fn events(changes: &[i32], period: Seconds) -> Vec<(Seconds, i32)> {
    let segment = period as f64 / changes.len() as f64;
    let ago = |index: usize| period as f64 - segment * (index + 1) as f64 + segment / 2.0;
    let all = changes.iter().enumerate();
    all.map(|(index, &change)| (NOW - ago(index) as Seconds, change))
        .collect()
}

#[derive(Default)]
struct Limited<'a> {
    ups: &'a [i32],
    downs: &'a [i32],
    up: Option<Rules>,
    down: Option<Rules>,
}

impl Limited<'_> {
    fn to(self, limits: (i32, i32), current: i32, desired: i32) -> i32 {
        let history = History {
            ups: events(self.ups, 120),
            downs: events(self.downs, 120),
            ..History::default()
        };
        let behavior = Behavior {
            up: self.up.unwrap_or_else(Rules::default_up),
            down: self.down.unwrap_or_else(Rules::default_down),
        };
        history.limit(NOW, &behavior, limits, current, desired)
    }
}

#[test]
fn policies_as_in_test_scaling_with_rules() {
    let none = Limited::default;
    assert_eq!(none().to((3, 8), 5, 7), 7);
    assert_eq!(none().to((2, 8), 3, 1), 2);
    assert_eq!(none().to((1, 10), 20, 1000), 10);
    assert_eq!(none().to((100, 150), 100, 1000), 150);
    assert_eq!(none().to((1, 1000), 10, 50), 20);
    let up = |pods, pods_period, percent, percent_period| Limited {
        up: Some(rules(pods, pods_period, percent, percent_period)),
        ..none()
    };
    assert_eq!(up(0, 0, 1, 60).to((1, 2000), 3, 1000), 4);
    assert_eq!(up(100, 60, 100, 60).to((1, 1000), 10, 500), 110);
    assert_eq!(up(2, 60, 100, 60).to((1, 1000), 10, 500), 20);
    assert_eq!(up(100, 60, 0, 0).to((1, 1000), 10, 50), 50);
    assert_eq!(up(0, 0, 10_000, 60).to((1, 1000), 10, 50), 50);
    assert_eq!(up(30, 60, 0, 0).to((1, 1000), 10, 50), 40);
    assert_eq!(up(0, 0, 200, 60).to((1, 1000), 10, 50), 30);
    let down = |pods, pods_period, percent, percent_period| Limited {
        down: Some(rules(pods, pods_period, percent, percent_period)),
        ..none()
    };
    assert_eq!(down(20, 60, 0, 0).to((3, 2000), 1000, 3), 980);
    assert_eq!(down(20, 60, 1, 60).to((1, 1000), 100, 2), 80);
    assert_eq!(down(2, 60, 1, 60).to((1, 1000), 100, 2), 98);
    assert_eq!(down(100, 60, 0, 0).to((1, 1000), 10, 0), 1);
    assert_eq!(down(0, 0, 100, 60).to((5, 1000), 10, 2), 5);
    assert_eq!(down(5, 60, 0, 0).to((1, 1000), 10, 2), 5);
    assert_eq!(down(0, 0, 50, 60).to((1, 1000), 10, 5), 5);
}

#[test]
fn earlier_changes_count_as_in_test_scaling_with_rules() {
    let after_ups = |ups, pods, pods_period, percent, percent_period| Limited {
        ups,
        up: Some(rules(pods, pods_period, percent, percent_period)),
        ..Limited::default()
    };
    assert_eq!(
        after_ups(&[1, 5, 9], 300, 60, 0, 0).to((1, 200), 100, 500),
        200
    );
    assert_eq!(
        after_ups(&[1, 5, 9], 0, 0, 10_000, 60).to((1, 200), 100, 500),
        200
    );
    assert_eq!(
        after_ups(&[1, 5, 9], 5, 120, 0, 0).to((1, 1000), 100, 500),
        100
    );
    assert_eq!(
        after_ups(&[1, 5, 9], 150, 120, 0, 0).to((1, 1000), 100, 500),
        235
    );
    assert_eq!(
        after_ups(&[1, 5, 9], 0, 0, 200, 120).to((1, 1000), 100, 500),
        255
    );
    assert_eq!(
        after_ups(&[8, 12, 9, 11], 1000, 60, 0, 0).to((1, 1000), 100, 200),
        200
    );
    let both = Limited {
        ups: &[4],
        downs: &[2],
        up: Some(rules(0, 0, 300, 300)),
        down: None,
    };
    assert_eq!(both.to((1, 1000), 6, 24), 16);
    let after_downs = |downs, pods, pods_period, percent, percent_period| Limited {
        downs,
        down: Some(rules(pods, pods_period, percent, percent_period)),
        ..Limited::default()
    };
    assert_eq!(
        after_downs(&[1, 5, 9], 0, 0, 100, 15).to((1, 1000), 10, 5),
        5
    );
    assert_eq!(
        after_downs(&[1, 5, 9], 115, 120, 0, 0).to((1, 1000), 100, 0),
        1
    );
    assert_eq!(
        after_downs(&[1, 5, 9], 0, 0, 100, 120).to((5, 1000), 100, 2),
        5
    );
    assert_eq!(
        after_downs(&[1, 5, 9], 5, 120, 0, 0).to((1, 1000), 100, 2),
        100
    );
    assert_eq!(
        after_downs(&[2, 4, 6], 0, 0, 50, 120).to((1, 1000), 100, 0),
        56
    );
    assert_eq!(
        after_downs(&[10, 10, 10], 0, 0, 10, 120).to((1, 1000), 100, 0),
        100
    );
    assert_eq!(
        after_downs(&[10, 10, 10], 0, 0, 1000, 120).to((1, 1000), 10, 5),
        5
    );
    let both = Limited {
        ups: &[2],
        downs: &[4],
        up: None,
        down: Some(rules(0, 0, 50, 180)),
    };
    assert_eq!(both.to((1, 1000), 10, 1), 6);
}

#[test]
fn select_min_and_disabled_are_followed() {
    let select = |select| Rules {
        select,
        ..rules(2, 60, 50, 60)
    };
    let up = |rules| Limited {
        up: Some(rules),
        ..Limited::default()
    };
    let down = |rules| Limited {
        down: Some(rules),
        ..Limited::default()
    };
    assert_eq!(up(select(Select::Min)).to((1, 100), 1, 50), 2);
    assert_eq!(down(select(Select::Min)).to((1, 100), 5, 1), 3);
    assert_eq!(up(select(Select::Disabled)).to((1, 100), 5, 50), 5);
    assert_eq!(down(select(Select::Disabled)).to((1, 100), 5, 1), 5);
}

#[test]
fn windows_as_in_test_normalize_desired_replicas_with_behavior() {
    // Recommendations by minutes ago; current and proposed replicas; windows up and down; the expected result.
    type Case = (&'static [(i64, i32)], i32, i32, Seconds, Seconds, i32);
    let cases: &[Case] = &[
        (&[], 100, 5, 0, 0, 5),
        (&[(2, 4), (1, 5)], 100, 3, 0, 180, 5),
        (&[(2, 4), (1, 5)], 1, 7, 300, 0, 4),
        (&[(2, 1), (1, 2)], 100, 3, 300, 0, 3),
        (&[(2, 4), (1, 5)], 1, 3, 0, 300, 3),
        (&[(10, 10), (9, 9)], 100, 3, 0, 0, 3),
        (&[(10, 10), (9, 9)], 1, 100, 0, 0, 100),
        (&[(10, 10), (1, 4), (2, 5), (9, 9)], 100, 3, 0, 180, 5),
        (&[(100, 10), (1, 6), (2, 5), (3, 9)], 1, 100, 300, 0, 5),
        (&[(100, 2), (3, 3)], 2, 1, 300, 300, 2),
        (&[(100, 2), (3, 1)], 2, 3, 300, 300, 2),
    ];
    for (earlier, current, proposed, up, down, expected) in cases {
        let mut history = History {
            recommendations: earlier
                .iter()
                .map(|&(ago, replicas)| (NOW - 60 * ago, replicas))
                .collect(),
            ..History::default()
        };
        let window = |window| Rules {
            window,
            ..Rules::default_up()
        };
        let behavior = Behavior {
            up: window(*up),
            down: window(*down),
        };
        let stable = history.stabilize(NOW, &behavior, *current, *proposed);
        assert_eq!(stable, *expected, "{earlier:?} {current} {proposed}");
        assert_eq!(history.recommendations.last(), Some(&(NOW, *proposed)));
    }
}

fn external(
    min_replicas: i32,
    max_replicas: i32,
    metrics: usize,
    behavior: Behavior,
) -> Autoscaler {
    let metric = Metric::External {
        name: "lag".to_owned(),
        target: Target::AverageValue(1000),
    };
    Autoscaler::new(Spec {
        min_replicas,
        max_replicas,
        metrics: vec![metric; metrics],
        behavior,
    })
}

fn seen<'a>(replicas: i32, external: &'a [Option<i64>]) -> Seen<'a> {
    Seen {
        spec_replicas: replicas,
        status_replicas: replicas,
        pods: &[],
        external,
    }
}

fn default_behavior() -> Behavior {
    Behavior {
        up: Rules::default_up(),
        down: Rules::default_down(),
    }
}

#[test]
fn the_largest_metric_counts_and_one_without_a_value_forbids_scaling_down() {
    let mut behavior = default_behavior();
    behavior.down.window = 0;
    let once = |replicas, metrics: &[Option<i64>]| {
        external(1, 10, metrics.len(), behavior.clone()).sync(NOW, seen(replicas, metrics))
    };
    assert_eq!(once(3, &[Some(2_000), Some(4_000)]), 4);
    assert_eq!(once(3, &[None, Some(4_000)]), 4, "ScaleUpOneMetricInvalid");
    assert_eq!(
        once(3, &[None, Some(1_000)]),
        3,
        "NoScaleDownOneMetricInvalid"
    );
    assert_eq!(once(3, &[None, None]), 3);
    assert_eq!(once(3, &[Some(1_000), Some(500)]), 1);
    assert_eq!(once(0, &[Some(9_000), Some(9_000)]), 0, "ZeroReplicas");
    assert_eq!(once(11, &[Some(0), Some(0)]), 10, "TooManyReplicas");
}

fn any_rules() -> impl Strategy<Value = Rules> {
    let kind = prop_oneof![Just(PolicyKind::Pods), Just(PolicyKind::Percent)];
    let policy = (kind, 1..200, 1_i64..=300).prop_map(|(kind, value, period)| Policy {
        kind,
        value,
        period,
    });
    let select = prop_oneof![Just(Select::Max), Just(Select::Min), Just(Select::Disabled)];
    (0_i64..=600, select, prop::collection::vec(policy, 1..3)).prop_map(
        |(window, select, policies)| Rules {
            window,
            select,
            policies,
            tolerance: None,
        },
    )
}

proptest! {
    #[test]
    fn stays_between_min_and_max(
        up in any_rules(),
        down in any_rules(),
        (min, more) in (1..5, 0..20),
        loads in prop::collection::vec(0_i64..100_000, 1..200),
    ) {
        let max = min + more;
        let mut autoscaler = external(min, max, 1, Behavior { up, down });
        let mut replicas = min;
        for (tick, load) in loads.into_iter().enumerate() {
            let now = NOW + tick as Seconds * SYNC_PERIOD;
            replicas = autoscaler.sync(now, seen(replicas, &[Some(load)]));
            prop_assert!((min..=max).contains(&replicas), "{replicas} of {min} to {max}");
        }
    }

    #[test]
    fn scales_down_only_to_the_largest_recommendation_of_the_window(
        mut down in any_rules(),
        loads in prop::collection::vec(0_i64..20_000, 1..200),
    ) {
        down.select = Select::Max;
        let window = down.window;
        let behavior = Behavior { up: Rules::default_up(), down };
        let mut autoscaler = external(1, 20, 1, behavior);
        let mut replicas = 1;
        let mut asked: Vec<(Seconds, i32)> = Vec::new();
        for (tick, load) in loads.into_iter().enumerate() {
            let now = NOW + tick as Seconds * SYNC_PERIOD;
            asked.push((now, per_pod_replicas(replicas, load, 1000, EXACT)));
            let before = replicas;
            replicas = autoscaler.sync(now, seen(replicas, &[Some(load)]));
            let most = asked.iter().filter(|(at, _)| *at > now - window).map(|(_, most)| *most).max();
            prop_assert!(replicas >= before || Some(replicas) >= most, "{before} to {replicas}, {most:?} asked for");
        }
    }

    /// At most four pods more or one less than a minute ago, whatever the metrics ask for.
    #[test]
    fn no_minute_has_larger_changes_than_the_policies_allow(loads in prop::collection::vec(0_i64..60_000, 1..200)) {
        let behavior = Behavior {
            up: Rules { policies: vec![Policy::pods(4, 60)], ..Rules::default_up() },
            down: Rules { window: 0, policies: vec![Policy::pods(1, 60)], ..Rules::default_down() },
        };
        let mut autoscaler = external(1, 50, 1, behavior);
        let mut sizes = vec![1];
        for (tick, load) in loads.into_iter().enumerate() {
            let replicas = sizes[tick];
            let now = NOW + tick as Seconds * SYNC_PERIOD;
            sizes.push(autoscaler.sync(now, seen(replicas, &[Some(load)])));
        }
        for tick in 0..sizes.len() - 1 {
            let (began, before, now) = (sizes[tick.saturating_sub(3)], sizes[tick], sizes[tick + 1]);
            prop_assert!(now <= before.max(began + 4), "{began}, {before}, {now}");
            prop_assert!(now >= before.min(began - 1), "{began}, {before}, {now}");
        }
    }
}
