# Daily commands. `just` lists them; https://just.systems has the program.

# List the commands.
default:
    @just --list

# Type-check the workspace and its tests.
check *ARGS:
    cargo check --workspace --all-targets {{ ARGS }}

# Run all tests that need no server, or those of one package: `just test -p sightline-stream`.
test *ARGS="--workspace":
    cargo test {{ ARGS }}

# Format the code.
fmt:
    cargo fmt --all

# Run clippy as CI does.
lint:
    cargo clippy --workspace --all-targets --features sightline-e2e/s3,sightline-telemetry/gpu -- -D warnings

# Build the documentation and open it.
doc:
    RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --open

# Check formatting, lints and tests: the part of CI that takes minutes and needs no server.
quick: lint test
    cargo fmt --all --check

# Everything that CI checks. Run it before a pull request.
ci:
    .ci/run

# Classify the samples, or other files: `just classify photo.jpg`.
classify *PATHS="tests/samples":
    cargo run --release -- classify {{ PATHS }}

# Run the whole pipeline on this machine until Ctrl-C.
up *ARGS:
    cargo run --release -- up {{ ARGS }}

# Print the results so far, one a line.
results KAFKA="127.0.0.1:9092":
    kcat -C -e -q -b {{ KAFKA }} -t results

# Run the suites on Apache Kafka.
test-kafka:
    tests/kafka run -- cargo test --workspace --test conformance --test exactly_once --test pipeline

# Measure a full-size model: `just bench-model --precision int8`.
bench-model *ARGS:
    cargo run --release -- bench model --random-weights {{ ARGS }}

# Measure the exactly-once loop on Apache Kafka.
bench-hops *ARGS="--rate 20":
    cargo build --release
    tests/kafka run -- bash -c '"${CARGO_TARGET_DIR:-target}/release/sightline" bench hops {{ ARGS }} --bootstrap "$SIGHTLINE_TEST_BOOTSTRAP"'

# Start the containers and wait until they are healthy.
compose-up *ARGS:
    docker compose up --build --wait {{ ARGS }}

# Stop the containers; the volumes stay.
compose-down *ARGS:
    docker compose down {{ ARGS }}
