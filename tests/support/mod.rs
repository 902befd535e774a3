//! What the tests share: a client, a control plane, the service. Each test program uses a part.

#![allow(dead_code)]

pub mod artifacts;
pub mod broken;
pub mod cel;
pub mod flux;
pub mod http;
pub mod inprocess;
pub mod kubelet;
pub mod plane;
pub mod rules;
pub mod service;
