//! Keeps an application running in exactly one of several Kubernetes clusters.
//!
//! The rooms and which may know which: [`cli`] calls [`controller`], which wires [`election`], [`peer`], [`payload`] and
//! [`observe`], which know [`api`] and [`cluster`] but not one another. [`witness`] wires a member without a cluster, and
//! [`mail`] is what both say to other members. [`clock`] and [`system`] are the leaves: what the machine is asked for.

pub mod api;
pub mod cli;
pub mod clock;
pub mod cluster;
pub mod controller;
pub mod election;
pub mod mail;
pub mod observe;
pub mod payload;
pub mod peer;
pub mod system;
pub mod witness;
