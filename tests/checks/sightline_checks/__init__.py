"""Checks of what is not Rust. 'tests/check --help' lists them."""
