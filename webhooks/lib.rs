//! The rules: pure functions over borrowed bytes, one folder each. This crate cannot do I/O.
//!
//! ```text
//! src/dispatch --Request--> <folder>::WEBHOOK { declaration, validate, mutate, convert, companions }
//!                                |
//!                           Verdict, Edits, converted object, children
//! ```
//!
//! A new rule is one folder, its cases under `testcases/`, and one line in [`REGISTRY`].

#![cfg_attr(
    test,
    allow(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::indexing_slicing
    )
)]

pub mod application_definition;
pub mod application_values;
pub mod cel;
pub mod charts;
pub mod contract;
pub mod cozystack_resource_definition;
pub mod crds;
pub mod helm_release_shard;
pub mod kinds;
pub mod machines;
pub mod migration;
pub mod package;
pub mod package_policy;
pub mod package_source;
pub mod packages;
pub mod platform;
pub mod policies;
pub mod policy;
pub mod schema;
pub mod settings;
pub mod tenant_egress;
pub mod tenant_namespace;
pub mod tenants;
#[cfg(test)]
mod testing;
pub mod virtual_machine_service;
pub mod virtual_machine_values;
pub mod yaml;

use contract::Webhook;

/// Every rule of the service.
pub static REGISTRY: &[&Webhook] = &[
    &application_definition::WEBHOOK,
    &application_values::WEBHOOK,
    &cozystack_resource_definition::WEBHOOK,
    &helm_release_shard::WEBHOOK,
    &package::WEBHOOK,
    &package_policy::WEBHOOK,
    &package_source::WEBHOOK,
    &policies::WEBHOOK,
    &settings::WEBHOOK,
    &tenant_egress::WEBHOOK,
    &tenant_namespace::WEBHOOK,
    &virtual_machine_service::WEBHOOK,
    &virtual_machine_values::WEBHOOK,
];
