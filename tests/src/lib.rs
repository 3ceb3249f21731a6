//! End-to-end suites; see `tests/`. The library is empty, the binary is `sightline` and the four services as the tests
//! start and kill them.
