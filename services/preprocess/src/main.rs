use std::process::ExitCode;

fn main() -> ExitCode {
    sightline_telemetry::service::main(sightline_preprocess::run)
}
