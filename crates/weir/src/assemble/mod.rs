//! From a resolved configuration to a snapshot. The only module that names what plugs into the data plane: the
//! access log, the demo upstream, and in [`plugins`] the engines.

pub mod plugins;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use weir_core::Snapshot;
use weir_core::challenges::Challenges;
use weir_core::log::AccessLog;
use weir_core::shadow::Shadow;
use weir_core::spec::{EndpointAddress, EndpointSpec, Spec};

use crate::acme;
use crate::config::value::Share;
use crate::demo;
use crate::run::Plan;
use crate::telemetry::AccessLogger;

/// What plugs into the data plane. It outlives generations.
#[derive(Debug)]
pub struct Assembler {
    access_log: Option<Arc<dyn AccessLog>>,
    /// Where the demo upstream listens, once a configuration has named it.
    demo: Option<SocketAddr>,
    /// Challenges of authorities, which listeners answer.
    challenges: Arc<Challenges>,
}

/// Why a plan does not make a snapshot.
#[derive(Debug, thiserror::Error)]
pub enum AssembleError {
    /// The configuration asks for what cannot be.
    #[error(transparent)]
    Spec(#[from] weir_core::snapshot::AssembleError),
    /// The demo upstream does not start.
    #[error("cannot start the demo upstream: {0}")]
    Demo(io::Error),
}

impl Assembler {
    /// Records of exchanges go to this log.
    pub fn new(access_log: Option<&AccessLogger>) -> Self {
        let access_log = access_log.map(|log| Arc::new(log.clone()) as Arc<dyn AccessLog>);
        Assembler { access_log, demo: None, challenges: Arc::default() }
    }

    /// Where answers to challenges of authorities are put in.
    pub fn challenges(&self) -> Arc<Challenges> {
        self.challenges.clone()
    }

    /// Compiles a plan. Parts that did not change keep their identity with `previous`. Starts the demo upstream if
    /// the plan is the first to name it.
    ///
    /// # Errors
    /// See [`AssembleError`].
    pub fn assemble(
        &mut self,
        plan: &mut Plan,
        previous: Option<&Snapshot>,
    ) -> Result<Snapshot, AssembleError> {
        self.complete(plan)?;
        Ok(Snapshot::assemble(&plan.spec, self.access_log.clone(), previous)?)
    }

    /// Compiles a plan to be tried on this share of the requests of what serves, with plugins that have no effects.
    ///
    /// # Errors
    /// As [`Assembler::assemble`].
    pub fn shadow(
        &mut self,
        plan: &mut Plan,
        serving: &Snapshot,
        share: Share,
    ) -> Result<Shadow, AssembleError> {
        self.complete(plan)?;
        let services = plugins::services_apart(plan.kv_memory);
        Ok(Shadow::new(&plan.spec, serving, |plugin| plugin.lent(&services), share.hundredths())?)
    }

    /// Adds to a plan what is only known here.
    fn complete(&mut self, plan: &mut Plan) -> Result<(), AssembleError> {
        if !plan.demo.is_empty() {
            let address = match self.demo {
                Some(address) => address,
                None => *self.demo.insert(demo::start().map_err(AssembleError::Demo)?),
            };
            point_at_demo(&mut plan.spec, &plan.demo, address);
        }
        if let Some(settings) = &plan.acme {
            match settings.challenge {
                acme::Challenge::Http => plan.spec.challenges = Some(self.challenges.clone()),
                acme::Challenge::TlsAlpn => {
                    for tls in plan.spec.listeners.iter_mut().filter_map(|listener| listener.tls.as_mut()) {
                        tls.challenges = Some(self.challenges.clone());
                    }
                }
            }
        }
        Ok(())
    }
}

/// Makes the demo upstream at `address` the only endpoint of the groups of these names.
pub fn point_at_demo(spec: &mut Spec, groups: &[Arc<str>], address: SocketAddr) {
    for upstream in spec.upstreams.iter_mut().filter(|upstream| groups.contains(&upstream.name)) {
        upstream.endpoints = vec![EndpointSpec { address: EndpointAddress::Ip(address), weight: 1 }];
    }
}
