//! The end-to-end suites are in `tests/`. This library is empty; the package's binary is the program that the tests start
//! and kill.
