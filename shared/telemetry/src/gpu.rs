//! Metrics of the NVIDIA GPUs that the process can use, read at each scrape by NVML, which is part of the driver.

use nvml_wrapper::Nvml;
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric},
    metrics::{MetricType, gauge::ConstGauge},
    registry::{Registry, Unit},
};
use std::fmt;

/// Registers the metrics if there is a driver; logs why not otherwise.
pub(crate) fn register(registry: &mut Registry) {
    match Nvml::init() {
        Ok(nvml) => registry.register_collector(Box::new(Gpus(nvml))),
        Err(error) => tracing::warn!(%error, "no GPU is measured"),
    }
}

#[derive(Debug)]
struct Gpus(Nvml);

/// The current values of one GPU.
struct Reading {
    gpu: u32,
    /// Share of the last sample period in which a kernel ran, 0 to 1.
    utilization: f64,
    used: u64,
    memory: u64,
}

impl Gpus {
    fn readings(&self) -> Vec<Reading> {
        let read = |gpu| {
            let device = self.0.device_by_index(gpu).ok()?;
            let memory = device.memory_info().ok()?;
            Some(Reading {
                gpu,
                utilization: f64::from(device.utilization_rates().ok()?.gpu) / 100.0,
                used: memory.used,
                memory: memory.total,
            })
        };
        (0..self.0.device_count().unwrap_or(0))
            .filter_map(read)
            .collect()
    }
}

impl Collector for Gpus {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let readings = self.readings();
        let mut show = |name: &str, help: &str, unit: Unit, value: fn(&Reading) -> f64| {
            let mut family =
                encoder.encode_descriptor(name, help, Some(&unit), MetricType::Gauge)?;
            for reading in &readings {
                let labels = [("gpu", reading.gpu.to_string())];
                ConstGauge::new(value(reading)).encode(family.encode_family(&labels)?)?;
            }
            Ok(())
        };
        let (ratio, bytes) = (Unit::Other("ratio".to_owned()), Unit::Bytes);
        show(
            "sightline_gpu_utilization",
            "Share of time in which a kernel ran",
            ratio,
            |r| r.utilization,
        )?;
        show(
            "sightline_gpu_memory_used",
            "GPU memory in use, by all processes",
            bytes.clone(),
            |r| r.used as f64,
        )?;
        show("sightline_gpu_memory", "GPU memory there is", bytes, |r| {
            r.memory as f64
        })
    }
}
