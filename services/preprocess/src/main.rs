use std::process::ExitCode;

fn main() -> ExitCode {
    sightline_preprocess::decode_if_asked()
        .unwrap_or_else(|| sightline_service::main(sightline_preprocess::run))
}
