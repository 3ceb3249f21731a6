//! Metrics of the process itself, read at each scrape: those that Prometheus' client libraries have in common
//! (`process_…`, [convention](https://prometheus.io/docs/instrumenting/writing_clientlibs/#process-metrics)), its
//! memory limit, and whether it is ready.

use crate::Health;
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric},
    metrics::{counter::ConstCounter, gauge::ConstGauge},
    registry::{Registry, Unit},
};
use std::{
    fmt,
    time::{SystemTime, UNIX_EPOCH},
};

pub(crate) fn register(registry: &mut Registry, health: Health) {
    registry.register_collector(Box::new(Ready(health)));
    #[cfg(target_os = "linux")]
    registry.register_collector(Box::new(Process {
        started: SystemTime::now(),
    }));
}

struct Ready(Health);

impl fmt::Debug for Ready {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Ready")
    }
}

impl Collector for Ready {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let ready = ConstGauge::new(i64::from(self.0.ready().ok));
        let help = "1 while /readyz says so";
        let metric =
            encoder.encode_descriptor("sightline_ready", help, None, ready.metric_type())?;
        ready.encode(metric)
    }
}

#[derive(Debug)]
#[cfg(target_os = "linux")]
struct Process {
    started: SystemTime,
}

#[cfg(target_os = "linux")]
impl Collector for Process {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        use procfs::{WithCurrentSystemInfo as _, process::Process};
        let Ok(process) = Process::myself() else {
            return Ok(());
        };
        if let Ok(stat) = process.stat() {
            let ticks = procfs::ticks_per_second() as f64;
            let cpu = ConstCounter::new((stat.utime + stat.stime) as f64 / ticks);
            let help = "CPU time, user and system";
            let unit = Some(&Unit::Seconds);
            let name = "process_cpu";
            cpu.encode(encoder.encode_descriptor(name, help, unit, cpu.metric_type())?)?;
            let memory = stat.rss_bytes().get();
            bytes(
                &mut encoder,
                "process_resident_memory",
                "Resident memory",
                memory,
            )?;
        }
        let started = self.started.duration_since(UNIX_EPOCH).unwrap_or_default();
        let started = ConstGauge::new(started.as_secs_f64());
        let help = "When the process began to be measured, since the Unix epoch";
        let (name, unit) = ("process_start_time", Some(&Unit::Seconds));
        started.encode(encoder.encode_descriptor(name, help, unit, started.metric_type())?)?;
        if let Ok(open) = process.fd_count() {
            let open = ConstGauge::new(open as i64);
            let help = "Open file descriptors";
            let metric =
                encoder.encode_descriptor("process_open_fds", help, None, open.metric_type())?;
            open.encode(metric)?;
        }
        let limit = memory_limit();
        let help = "Memory the process may use: its control group's limit, or the machine's memory";
        limit.map_or(Ok(()), |limit| {
            bytes(&mut encoder, "sightline_memory_limit", help, limit)
        })
    }
}

#[cfg(target_os = "linux")]
fn bytes(encoder: &mut DescriptorEncoder<'_>, name: &str, help: &str, value: u64) -> fmt::Result {
    let gauge = ConstGauge::new(i64::try_from(value).unwrap_or(i64::MAX));
    gauge.encode(encoder.encode_descriptor(name, help, Some(&Unit::Bytes), gauge.metric_type())?)
}

/// Bytes of memory that the process may use; not known on this system.
#[cfg(not(target_os = "linux"))]
pub fn memory_limit() -> Option<u64> {
    None
}

/// Bytes of memory that the process may use: the lowest of the control group's limit, by version 2 or 1 as a container
/// sees it, and the machine's memory.
#[cfg(target_os = "linux")]
pub fn memory_limit() -> Option<u64> {
    use procfs::Current as _;
    const LIMITS: [&str; 2] = [
        "/sys/fs/cgroup/memory.max",
        "/sys/fs/cgroup/memory/memory.limit_in_bytes",
    ];
    let read = |path: &str| {
        std::fs::read_to_string(path)
            .ok()?
            .trim()
            .parse::<u64>()
            .ok()
    };
    let machine = procfs::Meminfo::current()
        .ok()
        .map(|memory| memory.mem_total);
    LIMITS.into_iter().filter_map(read).chain(machine).min()
}

#[cfg(test)]
mod tests {
    use crate::Telemetry;
    use prometheus_client::encoding::text::encode;

    #[test]
    fn the_process_is_measured_when_asked() {
        let telemetry = Telemetry::default();
        telemetry.health.ready_unless("never", || vec!["not yet"]);
        let mut text = String::new();
        encode(&mut text, &telemetry.registry()).unwrap();
        let value = |name: &str| -> f64 {
            let line = text
                .lines()
                .find(|line| line.starts_with(&format!("{name} ")));
            line.unwrap_or_else(|| panic!("{name} in\n{text}"))
                .rsplit(' ')
                .next()
                .unwrap()
                .parse()
                .unwrap()
        };
        assert_eq!(value("sightline_ready"), 0.0);
        let resident = value("process_resident_memory_bytes");
        assert!(resident > 1e6 && resident < value("sightline_memory_limit_bytes"));
        assert!(value("process_open_fds") >= 3.0);
        assert!(value("process_start_time_seconds") > 1.7e9);
        assert!(value("process_cpu_seconds_total") >= 0.0);
    }
}
