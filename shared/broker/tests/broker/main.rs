//! The broker through real clients: librdkafka, and raw requests where it has no call for something.
#![allow(clippy::unwrap_used)]

mod admin;
mod clients;
mod durability;
mod frames;
mod groups;
mod limits;
mod records;
mod transactions;
mod wire;
