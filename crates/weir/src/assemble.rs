//! From a resolved configuration to a snapshot. The only module that names what plugs into the data plane: the
//! access log and the demo upstream today, the engines of plugins when there are any.

use std::net::SocketAddr;
use std::sync::Arc;

use weir_core::Snapshot;
use weir_core::log::AccessLog;
use weir_core::snapshot::AssembleError;
use weir_core::spec::{EndpointAddress, EndpointSpec, Spec};

use crate::telemetry::AccessLogger;

/// Compiles a spec. Parts that did not change keep their identity with `previous`.
///
/// # Errors
/// What in the spec cannot be.
pub fn assemble(
    spec: &Spec,
    access_log: Option<&AccessLogger>,
    previous: Option<&Snapshot>,
) -> Result<Snapshot, AssembleError> {
    let access_log = access_log.map(|log| Arc::new(log.clone()) as Arc<dyn AccessLog>);
    Snapshot::assemble(spec, access_log, previous)
}

/// Makes the demo upstream at `address` the only endpoint of the groups of these names.
pub fn point_at_demo(spec: &mut Spec, groups: &[Arc<str>], address: SocketAddr) {
    for upstream in spec.upstreams.iter_mut().filter(|upstream| groups.contains(&upstream.name)) {
        upstream.endpoints = vec![EndpointSpec { address: EndpointAddress::Ip(address), weight: 1 }];
    }
}
