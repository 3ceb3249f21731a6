//! Reads the autoscalers, and the settings that they depend on, from the manifests in k8s/.

use crate::{
    autoscaler::{Behavior, Metric, Policy, PolicyKind, Rules, Seconds, Select, Spec, Target},
    signals::{Signal, seconds},
};
use anyhow::{Context, anyhow, bail, ensure};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::Value;
use std::{fs, path::Path};

/// An autoscaler, and the signals of its external metrics in their order.
#[derive(Debug, Clone, PartialEq)]
pub struct Setting {
    pub spec: Spec,
    pub signals: Vec<Signal>,
}

#[derive(Debug, Clone)]
pub struct Manifests {
    /// The autoscaler by processor time.
    pub base: Setting,
    /// The autoscaler by what is waiting (KEDA).
    pub keda: Setting,
    pub partitions: usize,
    /// Thousandths of a core that a pod of infer requests.
    pub cpu_request: i64,
    pub readiness_period: Seconds,
    pub drain_timeout: Seconds,
    pub scrape: Seconds,
}

impl Manifests {
    /// Reads the manifests in `folder`, which is k8s.
    pub fn read(folder: &Path) -> anyhow::Result<Self> {
        let text = |name: &str| {
            let path = folder.join(name);
            fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))
        };
        let settings = one::<Value>(&text("base/kustomization.yaml")?)?;
        let setting = |name: &str| literal(&settings, name);
        let request = container(&text("base/infer.yaml")?)?;
        let probe = container(&text("base/service.yaml")?)?;
        let monitor = one::<Value>(&text("components/monitoring/service-monitor.yaml")?)?;
        let interval = monitor
            .pointer("/spec/endpoints/0/interval")
            .and_then(Value::as_str);
        let period = probe
            .pointer("/readinessProbe/periodSeconds")
            .and_then(Value::as_i64);
        let cpu = request
            .pointer("/resources/requests/cpu")
            .context("infer asks for no processor")?;
        Ok(Self {
            base: one::<Object<HorizontalPodAutoscaler>>(&text("base/infer-autoscaler.yaml")?)?
                .spec
                .setting()
                .context("base/infer-autoscaler.yaml")?,
            keda: one::<Object<ScaledObject>>(&text("components/keda/scaled-object.yaml")?)?
                .spec
                .setting()
                .context("components/keda/scaled-object.yaml")?,
            partitions: setting("SIGHTLINE_PARTITIONS")?
                .parse()
                .context("SIGHTLINE_PARTITIONS")?,
            cpu_request: millis(cpu)?,
            readiness_period: period.context("no period of the readiness probe")?,
            drain_timeout: seconds(&setting("SIGHTLINE_DRAIN_TIMEOUT")?)?,
            scrape: seconds(interval.context("no interval of scrapes")?)?,
        })
    }
}

fn one<T: DeserializeOwned>(text: &str) -> anyhow::Result<T> {
    serde_saphyr::from_str(text).map_err(|error| anyhow!("{error}"))
}

/// The first container of the file's StatefulSet.
fn container(text: &str) -> anyhow::Result<Value> {
    let documents: Vec<Value> =
        serde_saphyr::from_multiple(text).map_err(|error| anyhow!("{error}"))?;
    let set = documents
        .iter()
        .find(|document| document["kind"] == "StatefulSet");
    let found = set.and_then(|set| set.pointer("/spec/template/spec/containers/0"));
    found.cloned().context("no StatefulSet with a container")
}

/// The value of `NAME=value` in a kustomization's generated ConfigMaps.
fn literal(kustomization: &Value, name: &str) -> anyhow::Result<String> {
    let maps = kustomization["configMapGenerator"]
        .as_array()
        .into_iter()
        .flatten();
    let literals = maps.filter_map(|map| map["literals"].as_array()).flatten();
    let mut pairs = literals.filter_map(|literal| literal.as_str()?.split_once('='));
    let found = pairs.find(|(key, _)| *key == name);
    found
        .map(|(_, value)| value.to_owned())
        .with_context(|| format!("no {name} in the base's settings"))
}

/// A quantity of processor time, in thousandths of a core.
fn millis(quantity: &Value) -> anyhow::Result<i64> {
    let text = quantity
        .as_str()
        .map_or_else(|| quantity.to_string(), str::to_owned);
    let (number, factor) = match text.strip_suffix('m') {
        Some(number) => (number, 1.0),
        None => (&*text, 1000.0),
    };
    let number: f64 = number
        .parse()
        .with_context(|| format!("{text:?} is no quantity"))?;
    Ok((number * factor) as i64)
}

#[derive(Deserialize)]
struct Object<T> {
    spec: T,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct HorizontalPodAutoscaler {
    min_replicas: i32,
    max_replicas: i32,
    metrics: Vec<HpaMetric>,
    behavior: HpaBehavior,
}

#[derive(Deserialize)]
#[serde(tag = "type")]
enum HpaMetric {
    ContainerResource {
        #[serde(rename = "containerResource")]
        source: ContainerResource,
    },
}

#[derive(Deserialize)]
struct ContainerResource {
    name: String,
    target: Utilization,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Utilization {
    average_utilization: i64,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct HpaBehavior {
    scale_up: HpaRules,
    scale_down: HpaRules,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct HpaRules {
    stabilization_window_seconds: Option<Seconds>,
    select_policy: Option<HpaSelect>,
    policies: Option<Vec<HpaPolicy>>,
    tolerance: Option<f64>,
}

#[derive(Deserialize)]
enum HpaSelect {
    Max,
    Min,
    Disabled,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct HpaPolicy {
    r#type: HpaPolicyKind,
    value: i32,
    period_seconds: Seconds,
}

#[derive(Deserialize)]
enum HpaPolicyKind {
    Pods,
    Percent,
}

impl HpaBehavior {
    fn behavior(self) -> Behavior {
        Behavior {
            up: self.scale_up.rules(Rules::default_up()),
            down: self.scale_down.rules(Rules::default_down()),
        }
    }
}

impl HpaRules {
    fn rules(self, default: Rules) -> Rules {
        let policy = |policy: HpaPolicy| Policy {
            kind: match policy.r#type {
                HpaPolicyKind::Pods => PolicyKind::Pods,
                HpaPolicyKind::Percent => PolicyKind::Percent,
            },
            value: policy.value,
            period: policy.period_seconds,
        };
        let select = |select| match select {
            HpaSelect::Max => Select::Max,
            HpaSelect::Min => Select::Min,
            HpaSelect::Disabled => Select::Disabled,
        };
        Rules {
            window: self.stabilization_window_seconds.unwrap_or(default.window),
            select: self.select_policy.map_or(default.select, select),
            policies: self.policies.map_or(default.policies, |list| {
                list.into_iter().map(policy).collect()
            }),
            tolerance: self.tolerance,
        }
    }
}

impl HorizontalPodAutoscaler {
    fn setting(self) -> anyhow::Result<Setting> {
        let metric = |HpaMetric::ContainerResource { source }| {
            ensure!(
                source.name == "cpu",
                "the simulation knows no resource {:?}",
                source.name
            );
            Ok(Metric::ContainerCpu {
                target_percent: source.target.average_utilization,
            })
        };
        Ok(Setting {
            spec: Spec {
                min_replicas: self.min_replicas,
                max_replicas: self.max_replicas,
                metrics: self
                    .metrics
                    .into_iter()
                    .map(metric)
                    .collect::<anyhow::Result<_>>()?,
                behavior: self.behavior.behavior(),
            },
            signals: Vec::new(),
        })
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ScaledObject {
    min_replica_count: i32,
    max_replica_count: i32,
    advanced: Advanced,
    triggers: Vec<Trigger>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Advanced {
    horizontal_pod_autoscaler_config: HpaConfig,
}

#[derive(Deserialize)]
struct HpaConfig {
    behavior: HpaBehavior,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Trigger {
    r#type: String,
    name: String,
    #[serde(default = "average_value")]
    metric_type: String,
    metadata: TriggerMetadata,
}

fn average_value() -> String {
    "AverageValue".to_owned()
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct TriggerMetadata {
    query: Option<String>,
    threshold: Option<String>,
    lag_threshold: Option<String>,
}

impl Trigger {
    fn metric(self) -> anyhow::Result<(Metric, Signal)> {
        let metadata = self.metadata;
        let (signal, threshold) = match &*self.r#type {
            "prometheus" => {
                let signal = Signal::of_query(&metadata.query.context("no query")?)?;
                (signal, metadata.threshold.context("no threshold")?.parse()?)
            }
            "kafka" => {
                let threshold: f64 = metadata.lag_threshold.context("no lagThreshold")?.parse()?;
                (Signal::Lag { threshold }, threshold)
            }
            other => bail!("the simulation knows no trigger of type {other:?}"),
        };
        let thousandths = (threshold * 1000.0) as i64;
        let target = match &*self.metric_type {
            "AverageValue" => Target::AverageValue(thousandths),
            "Value" => Target::Value(thousandths),
            other => bail!("the simulation knows no metric type {other:?}"),
        };
        let name = self.name;
        Ok((Metric::External { name, target }, signal))
    }
}

impl ScaledObject {
    fn setting(self) -> anyhow::Result<Setting> {
        let of = |trigger: Trigger| {
            let name = trigger.name.clone();
            trigger.metric().with_context(|| format!("trigger {name}"))
        };
        let triggers: Vec<_> = self
            .triggers
            .into_iter()
            .map(of)
            .collect::<anyhow::Result<_>>()?;
        let (metrics, signals) = triggers.into_iter().unzip();
        Ok(Setting {
            spec: Spec {
                min_replicas: self.min_replica_count,
                max_replicas: self.max_replica_count,
                metrics,
                behavior: self
                    .advanced
                    .horizontal_pod_autoscaler_config
                    .behavior
                    .behavior(),
            },
            signals,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missing_settings_have_the_defaults_of_kubernetes() {
        let text = "spec:\n  minReplicas: 1\n  maxReplicas: 3\n  metrics: []\n  behavior:\n    scaleUp: {stabilizationWindowSeconds: 60}\n    scaleDown: {policies: [{type: Pods, value: 1, periodSeconds: 90}], selectPolicy: Min}\n";
        let setting = one::<Object<HorizontalPodAutoscaler>>(text)
            .unwrap()
            .spec
            .setting()
            .unwrap();
        let behavior = setting.spec.behavior;
        assert_eq!((behavior.up.window, behavior.up.policies.len()), (60, 2));
        assert_eq!(
            (behavior.down.window, behavior.down.select),
            (300, Select::Min)
        );
        assert_eq!(behavior.down.policies, [Policy::pods(1, 90)]);
    }

    #[test]
    fn quantities() {
        assert_eq!(millis(&Value::from("2")).unwrap(), 2000);
        assert_eq!(millis(&Value::from("1500m")).unwrap(), 1500);
        assert_eq!(millis(&Value::from(0.5)).unwrap(), 500);
        assert!(millis(&Value::from("many")).is_err());
    }

    #[test]
    fn unknown_settings_are_errors() {
        let trigger = |kind: &str| {
            let text = format!("type: {kind}\nname: x\nmetadata: {{threshold: \"1\", query: up}}");
            one::<Trigger>(&text).unwrap().metric().is_err()
        };
        assert!(trigger("prometheus") && trigger("kafka") && trigger("cron"));
    }
}
