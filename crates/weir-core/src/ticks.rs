//! The ticks of plugins: on one worker only.

use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::task::{JoinHandle, spawn_local};
use weir_plugin::Plugin;

use crate::worker::{Stage, Worker};

/// How often it is looked whether a tick is due.
const LOOK: Duration = Duration::from_secs(1);

/// Has plugins tick that want it, for as long as the worker serves. A plugin ticks as soon as it is there, and not
/// again before it is done.
pub(crate) async fn run(worker: Rc<Worker>) {
    let mut stage = worker.follow_stage();
    let mut begun: HashMap<*const (), (Instant, JoinHandle<()>)> = HashMap::new();
    loop {
        // An address is of the same plugin as long as the snapshot has it.
        let snapshot = worker.snapshot();
        let plugins: HashMap<_, _> = snapshot.plugins().map(|plugin| (address(plugin), plugin)).collect();
        begun.retain(|address, _| plugins.contains_key(address));
        for (address, plugin) in plugins {
            let Some(every) = plugin.hooks().tick else { continue };
            let is_due =
                |(since, last): &(Instant, JoinHandle<()>)| since.elapsed() >= every && last.is_finished();
            if begun.get(&address).is_none_or(is_due) {
                let tick = spawn_local(tick(worker.clone(), plugin.clone()));
                begun.insert(address, (Instant::now(), tick));
            }
        }
        drop(snapshot);
        tokio::select! {
            () = tokio::time::sleep(LOOK) => {}
            // Not while another process serves already: relays that stay here may need it.
            _ = stage.wait_for(|stage| *stage >= Stage::Draining) => return,
        }
    }
}

async fn tick(worker: Rc<Worker>, plugin: Arc<dyn Plugin>) {
    // Where it does not start, that is told by whoever starts it.
    if let Ok(running) = worker.instances.get(&plugin).await {
        running.beside("on_tick", running.instance.on_tick()).await;
    }
}

fn address(plugin: &Arc<dyn Plugin>) -> *const () {
    Arc::as_ptr(plugin).cast()
}
