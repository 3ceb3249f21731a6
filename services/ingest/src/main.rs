use std::process::ExitCode;

fn main() -> ExitCode {
    sightline_service::main(sightline_ingest::run)
}
