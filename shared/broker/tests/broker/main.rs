//! The broker through librdkafka, and through raw requests for what librdkafka does not send.
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
