//! The engine, which all plugins of the process share: how components are compiled, and where their instances live.

use std::hash::{Hash, Hasher};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use sha2::{Digest, Sha256};
use wasmtime::component::Linker;
use wasmtime::{Config, Engine, InstanceAllocationStrategy, OptLevel, PoolingAllocationConfig};

use crate::bindings::imported;
use crate::host::Data;
use crate::limits::{MOST_ELEMENTS, MOST_INSTANCES, MOST_MEMORIES};
use crate::ticker;

/// Room for so many instances of plugins is in every process: for each of them addresses of its memory are set apart, and
/// nothing else.
const LEAST: u32 = 1000;
/// There is never room for more, whatever is configured: the system has only so many addresses, and pieces of them.
const UTMOST: u32 = 10_000;
/// Of these, what only plugins get that are tried: a new configuration can always be proved.
const RESERVED: u32 = 32;
/// Bytes of stack that a guest may have.
const STACK: usize = 512 << 10;
/// Bytes of stack of a call, with the host's functions on it.
const CALL_STACK: usize = 1 << 20;

/// The engine, and what every guest can import.
pub(crate) struct Shared {
    pub(crate) engine: Engine,
    pub(crate) linker: Linker<Data>,
    /// The most instances in the process.
    most: u32,
}

/// Room for so many instances was asked for.
static WANTED: AtomicU32 = AtomicU32::new(LEAST);
static SHARED: OnceLock<Result<Shared, String>> = OnceLock::new();

/// Has the process have room for so many instances of plugins, if it can: 10,000 at most. Of no effect once there is a
/// component, whose engine has the room that was asked for until then.
pub fn make_room(instances: usize) {
    if SHARED.get().is_none() {
        WANTED.store(u32::try_from(instances).unwrap_or(UTMOST).clamp(LEAST, UTMOST), Ordering::Relaxed);
    }
}

/// The engine of the process, made on first use.
///
/// # Errors
/// When the machine has not what it needs.
pub(crate) fn shared() -> Result<&'static Shared, String> {
    let made = SHARED.get_or_init(|| {
        let most = WANTED.load(Ordering::Relaxed);
        let shared = make(most).map_err(|error| format!("WebAssembly cannot run here: {error:#}"))?;
        match ticker::start(&shared.engine) {
            true => Ok(shared),
            false => Err("WebAssembly cannot run here: there is no thread to watch it".to_owned()),
        }
    });
    made.as_ref().map_err(String::clone)
}

/// A place among the instances of the process, until it is dropped.
#[derive(Debug)]
pub(crate) struct Place(());

static TAKEN: AtomicU32 = AtomicU32::new(0);

fn most() -> u32 {
    SHARED.get().and_then(|shared| shared.as_ref().ok()).map_or(LEAST, |shared| shared.most)
}

impl Place {
    /// Whether there is one for an exchange.
    pub(crate) fn is_there() -> bool {
        TAKEN.load(Ordering::Relaxed) < most() - RESERVED
    }

    /// Takes one: of all for a plugin that is tried.
    ///
    /// # Errors
    /// Where there is none.
    pub(crate) fn take(is_tried: bool) -> Result<Place, String> {
        let most = if is_tried { most() } else { most() - RESERVED };
        let take = |taken| (taken < most).then(|| taken + 1);
        match TAKEN.try_update(Ordering::Relaxed, Ordering::Relaxed, take) {
            Ok(_) => Ok(Place(())),
            Err(_) => Err(format!(
                "there are {most} instances of plugins already, of all together: `limits.instances` of some may be less"
            )),
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        TAKEN.fetch_sub(1, Ordering::Relaxed);
    }
}

fn make(most: u32) -> wasmtime::Result<Shared> {
    let engine = match Engine::new(&config(Some(most))) {
        Ok(engine) => engine,
        Err(error) => {
            tracing::warn!("no pool for instances of WebAssembly, which start slower without: {error:#}");
            Engine::new(&config(None))?
        }
    };
    let linker = linker(&engine)?;
    Ok(Shared { engine, linker, most })
}

/// With a pool for so many instances.
fn config(pool_of: Option<u32>) -> Config {
    let mut config = Config::new();
    config
        .epoch_interruption(true)
        .concurrency_support(false)
        .max_wasm_stack(STACK)
        .async_stack_size(CALL_STACK)
        .memory_init_cow(true)
        .cranelift_opt_level(OptLevel::Speed);
    if let Some(most) = pool_of {
        let mut pool = PoolingAllocationConfig::new();
        pool.total_component_instances(most)
            .total_core_instances(most * 10)
            .total_memories(most)
            .total_tables(most * 2)
            .total_stacks(most)
            .max_core_instances_per_component(MOST_INSTANCES)
            .max_memories_per_component(MOST_MEMORIES)
            .max_tables_per_component(MOST_MEMORIES)
            .max_tables_per_module(MOST_MEMORIES)
            .table_elements(MOST_ELEMENTS);
        config.allocation_strategy(InstanceAllocationStrategy::Pooling(pool));
    }
    config
}

fn linker(engine: &Engine) -> wasmtime::Result<Linker<Data>> {
    let mut linker = Linker::new(engine);
    wasmtime_wasi::p2::add_to_linker_async(&mut linker)?;
    let l = &mut linker;
    imported::types::add_to_linker::<Data, Data>(l, |data| data)?;
    imported::message::add_to_linker::<Data, Data>(l, |data| data)?;
    imported::websocket::add_to_linker::<Data, Data>(l, |data| data)?;
    imported::log::add_to_linker::<Data, Data>(l, |data| data)?;
    imported::kv::add_to_linker::<Data, Data>(l, |data| data)?;
    imported::secrets::add_to_linker::<Data, Data>(l, |data| data)?;
    imported::codec::add_to_linker::<Data, Data>(l, |data| data)?;
    imported::crypto::add_to_linker::<Data, Data>(l, |data| data)?;
    imported::password::add_to_linker::<Data, Data>(l, |data| data)?;
    imported::jwt::add_to_linker::<Data, Data>(l, |data| data)?;
    imported::metrics::add_to_linker::<Data, Data>(l, |data| data)?;
    imported::regex::add_to_linker::<Data, Data>(l, |data| data)?;
    imported::ip::add_to_linker::<Data, Data>(l, |data| data)?;
    imported::time::add_to_linker::<Data, Data>(l, |data| data)?;
    imported::http::add_to_linker::<Data, Data>(l, |data| data)?;
    imported::timer::add_to_linker::<Data, Data>(l, |data| data)?;
    Ok(linker)
}

/// What a compiled component is good for: these bytes, this engine.
pub(crate) fn key(engine: &Engine, component: &[u8]) -> String {
    struct Into<'a>(&'a mut Sha256);

    impl Hasher for Into<'_> {
        fn finish(&self) -> u64 {
            0
        }

        fn write(&mut self, bytes: &[u8]) {
            self.0.update(bytes);
        }
    }

    let mut digest = Sha256::new();
    digest.update(component);
    // Of wasmtime's version, the processor, and the configuration.
    engine.precompile_compatibility_hash().hash(&mut Into(&mut digest));
    digest.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}
