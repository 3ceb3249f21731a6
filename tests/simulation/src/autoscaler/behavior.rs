//! The limits of `spec.behavior`: stabilisation windows and policies (`normalizeDesiredReplicasWithBehaviors`).
//!
//! The controller reuses outdated entries of its lists; here they are removed, which has the same effect.

use super::Seconds;

#[derive(Debug, Clone, PartialEq)]
pub struct Behavior {
    pub up: Rules,
    pub down: Rules,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Rules {
    pub window: Seconds,
    pub select: Select,
    pub policies: Vec<Policy>,
    /// A tolerance other than the controller's own (`HPAConfigurableTolerance`).
    pub tolerance: Option<f64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Select {
    Max,
    Min,
    Disabled,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policy {
    pub kind: PolicyKind,
    pub value: i32,
    pub period: Seconds,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PolicyKind {
    Pods,
    Percent,
}

impl Policy {
    pub const fn pods(value: i32, period: Seconds) -> Self {
        let kind = PolicyKind::Pods;
        Self {
            kind,
            value,
            period,
        }
    }

    pub const fn percent(value: i32, period: Seconds) -> Self {
        let kind = PolicyKind::Percent;
        Self {
            kind,
            value,
            period,
        }
    }

    fn raised(self, replicas: i32) -> i32 {
        match self.kind {
            PolicyKind::Pods => replicas + self.value,
            PolicyKind::Percent => {
                (f64::from(replicas) * (1.0 + f64::from(self.value) / 100.0)).ceil() as i32
            }
        }
    }

    fn lowered(self, replicas: i32) -> i32 {
        match self.kind {
            PolicyKind::Pods => replicas - self.value,
            PolicyKind::Percent => {
                (f64::from(replicas) * (1.0 - f64::from(self.value) / 100.0)) as i32
            }
        }
    }
}

impl Rules {
    /// The defaults of `scaleUp` (`GenerateHPAScaleUpRules`).
    pub fn default_up() -> Self {
        Self {
            window: 0,
            select: Select::Max,
            policies: vec![Policy::pods(4, 15), Policy::percent(100, 15)],
            tolerance: None,
        }
    }

    /// The defaults of `scaleDown` (`GenerateHPAScaleDownRules`; the window is a flag of the controller).
    pub fn default_down() -> Self {
        Self {
            window: 300,
            select: Select::Max,
            policies: vec![Policy::percent(100, 15)],
            tolerance: None,
        }
    }

    fn longest_period(&self) -> Seconds {
        self.policies
            .iter()
            .map(|policy| policy.period)
            .max()
            .unwrap_or(0)
    }
}

/// The recommendations and changes that can still limit a change.
#[derive(Debug, Default)]
pub(super) struct History {
    pub recommendations: Vec<(Seconds, i32)>,
    pub ups: Vec<(Seconds, i32)>,
    pub downs: Vec<(Seconds, i32)>,
}

fn within(events: &[(Seconds, i32)], period: Seconds, now: Seconds) -> i32 {
    let recent = events.iter().filter(|(at, _)| *at > now - period);
    recent.map(|(_, change)| change).sum()
}

impl History {
    /// `recordInitialRecommendation`.
    pub fn begin(&mut self, now: Seconds, current: i32) {
        if self.recommendations.is_empty() {
            self.recommendations.push((now, current));
        }
    }

    pub fn normalize(
        &mut self,
        now: Seconds,
        behavior: &Behavior,
        (min, max): (i32, i32),
        current: i32,
        proposed: i32,
    ) -> i32 {
        let stable = self.stabilize(now, behavior, current, proposed);
        self.limit(now, behavior, (min, max), current, stable)
    }

    /// Limits an increase to the smallest and a decrease to the largest recommendation of the window
    /// (`stabilizeRecommendationWithBehaviors`).
    pub fn stabilize(
        &mut self,
        now: Seconds,
        behavior: &Behavior,
        current: i32,
        proposed: i32,
    ) -> i32 {
        let recent = |window: Seconds| {
            let list = self.recommendations.iter();
            list.filter(move |(at, _)| *at > now - window)
                .map(|(_, replicas)| *replicas)
        };
        let up = recent(behavior.up.window).fold(proposed, i32::min);
        let down = recent(behavior.down.window).fold(proposed, i32::max);
        let longest = behavior.up.window.max(behavior.down.window);
        self.recommendations.retain(|(at, _)| *at >= now - longest);
        self.recommendations.push((now, proposed));
        current.max(up).min(down)
    }

    /// `convertDesiredReplicasWithBehaviorRate`.
    pub fn limit(
        &self,
        now: Seconds,
        behavior: &Behavior,
        (min, max): (i32, i32),
        current: i32,
        desired: i32,
    ) -> i32 {
        // The replicas at the start of the policy's period.
        let before = |policy: &Policy| {
            current - within(&self.ups, policy.period, now)
                + within(&self.downs, policy.period, now)
        };
        if desired > current {
            let rules = &behavior.up;
            let allowed = rules
                .policies
                .iter()
                .map(|policy| policy.raised(before(policy)));
            let allowed = match rules.select {
                Select::Disabled => current,
                Select::Min => allowed.min().unwrap_or(i32::MAX),
                Select::Max => allowed.max().unwrap_or(i32::MIN),
            };
            desired.min(allowed.max(current)).min(max)
        } else if desired < current {
            let rules = &behavior.down;
            let allowed = rules
                .policies
                .iter()
                .map(|policy| policy.lowered(before(policy)));
            let allowed = match rules.select {
                Select::Disabled => current,
                // The smallest change leaves the most replicas.
                Select::Min => allowed.max().unwrap_or(i32::MIN),
                Select::Max => allowed.min().unwrap_or(i32::MAX),
            };
            desired.max(allowed.min(current)).max(min)
        } else {
            desired
        }
    }

    /// `storeScaleEvent`.
    pub fn changed(&mut self, now: Seconds, behavior: &Behavior, from: i32, to: i32) {
        let (events, rules) = if to > from {
            (&mut self.ups, &behavior.up)
        } else {
            (&mut self.downs, &behavior.down)
        };
        if to != from {
            events.retain(|(at, _)| *at >= now - rules.longest_period());
            events.push((now, (to - from).abs()));
        }
    }
}
