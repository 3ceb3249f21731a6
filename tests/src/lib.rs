//! End-to-end suites; see `tests/`. The library is empty, the binary is `sightline` as the tests start and kill it.
