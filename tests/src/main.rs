//! All programs in one, so that the tests can start and kill them. Under the name of a service it is that service, under any
//! other name it is the command `sightline`.

use sightline_service as service;
use std::{env, path::Path, process::ExitCode};

fn main() -> ExitCode {
    if let Some(status) = sightline_preprocess::decode_if_asked() {
        return status;
    }
    let called = env::args_os().next().unwrap_or_default();
    let name = Path::new(&called).file_name().unwrap_or_default();
    match name.to_str() {
        Some("ingest") => service::main(sightline_ingest::run),
        Some("preprocess") => service::main(sightline_preprocess::run),
        Some("infer") => service::main(sightline_infer::run),
        Some("postprocess") => service::main(sightline_postprocess::run),
        _ => sightline_cli::main(),
    }
}
