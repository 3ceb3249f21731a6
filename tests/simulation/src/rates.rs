//! Reads the measured service rates from rates.json, which also has the commands that measured them.

use crate::{manifests::Manifests, world::World};
use anyhow::Context;
use serde::Deserialize;
use std::{fs, path::Path};

#[derive(Debug, Clone, Deserialize)]
pub struct Rates {
    pub machine: String,
    pub models: Vec<Model>,
    /// Cores that a process uses while its model computes without pause.
    pub cores_busy: Figure<f64>,
    /// Time from the process's start to its first partition, in seconds.
    pub start_s: Figure<i64>,
}

#[derive(Debug, Clone, Deserialize)]
pub struct Figure<T> {
    pub value: T,
    /// How the value was obtained.
    pub from: String,
}

#[derive(Debug, Clone, Deserialize)]
pub struct Model {
    pub name: String,
    pub command: String,
    pub images_per_s_batch_1: f64,
    pub images_per_s_batch_8: f64,
}

impl Rates {
    pub fn read(path: &Path) -> anyhow::Result<Self> {
        let text =
            fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
        serde_json::from_str(&text).with_context(|| format!("cannot read {}", path.display()))
    }

    pub fn world(&self, model: &str, manifests: &Manifests) -> anyhow::Result<World> {
        let names = || {
            self.models
                .iter()
                .map(|model| &*model.name)
                .collect::<Vec<_>>()
                .join(", ")
        };
        let model = self.models.iter().find(|known| known.name == model);
        let model = model.with_context(|| format!("rates are known of {}", names()))?;
        Ok(World {
            partitions: manifests.partitions,
            rate: model.images_per_s_batch_8,
            alone: model.images_per_s_batch_1,
            busy_cpu: self.cores_busy.value * 1000.0,
            cpu_request: manifests.cpu_request,
            in_flight: IN_FLIGHT,
            scheduling: SCHEDULING,
            start: self.start_s.value + JOIN,
            readiness_period: manifests.readiness_period,
            drain_timeout: manifests.drain_timeout,
            rebalance: REBALANCE,
            scrape: manifests.scrape,
            markers: MARKERS,
        })
    }
}

/// The default of `--max-in-flight-bytes`, 64 MiB, in tensors of 224 × 224 pixels.
const IN_FLIGHT: f64 = (64 << 20) as f64 / (224.0 * 224.0 * 3.0);
/// Assumed, not measured: on a node with free capacity, the image (10 MB compressed) is pulled and the container started in
/// 8 s.
const SCHEDULING: i64 = 8;
/// Assumed: members learn of a rebalance with their next heartbeat, within a second, and commit what they have in flight. The
/// first rebalance revokes the partitions that move, and the second assigns them. They pause in between.
const JOIN: i64 = 2;
const REBALANCE: i64 = 2;
/// Assumed, as the worst case: each image is the only one of its partition in a transaction of preprocess.
const MARKERS: f64 = 1.0;
