//! Lending an exchange, or a connection that has none yet, to an engine for the time of a hook, so that a handle that a
//! plugin keeps is safe: it finds nothing when the hook has ended, and never what is another client's.

use std::cell::{Cell, RefCell, RefMut};
use std::ops::{Deref, DerefMut};
use std::rc::Rc;

use crate::error::{Error, Result};
use crate::message::headers::Side;
use crate::{Connection, Exchange};

/// An exchange whose holder can lend it.
#[derive(Debug)]
pub struct Held(Option<Box<Exchange>>);

/// Where an exchange is while it is lent. All handles of one plugin to one exchange share a slot; a slot is never
/// used for another exchange. The same for a connection before its first exchange.
#[derive(Clone, Debug)]
pub struct Slot(Rc<Place>);

#[derive(Debug)]
struct Place {
    id: u64,
    lent: RefCell<Lent>,
    /// Whether the hook runs now. While it waits, others run on the same instance, and may have got at its handles.
    open: Cell<bool>,
    /// Whether the plugin lets the request's body pass, and the response's.
    passes: Cell<(bool, bool)>,
}

/// What is in a slot.
#[derive(Debug, Default)]
enum Lent {
    #[default]
    Nothing,
    Exchange(Box<Exchange>),
    Connection(Rc<Connection>),
}

impl Lent {
    fn exchange(&mut self) -> Option<&mut Exchange> {
        match self {
            Lent::Exchange(exchange) => Some(exchange),
            Lent::Nothing | Lent::Connection(_) => None,
        }
    }
}

/// While this lives, the exchange is in the slot. Dropping it takes the exchange back.
#[derive(Debug)]
pub struct Loan<'a> {
    held: &'a mut Held,
    slot: &'a Slot,
}

/// While this lives, the connection is in the slot.
#[derive(Debug)]
pub struct ConnectionLoan(Slot);

impl Held {
    /// Holds an exchange.
    pub fn new(exchange: Exchange) -> Self {
        Held(Some(Box::new(exchange)))
    }

    /// Takes the exchange to another holder; this one must not be used any more.
    pub fn take(&mut self) -> Held {
        Held(self.0.take())
    }
}

impl Deref for Held {
    type Target = Exchange;

    fn deref(&self) -> &Exchange {
        match &self.0 {
            Some(exchange) => exchange,
            // A loan borrows the holder for as long as it lives, so that nobody can look meanwhile.
            None => unreachable!("the exchange is lent or taken"),
        }
    }
}

impl DerefMut for Held {
    fn deref_mut(&mut self) -> &mut Exchange {
        match &mut self.0 {
            Some(exchange) => exchange,
            None => unreachable!("the exchange is lent or taken"),
        }
    }
}

impl Default for Slot {
    fn default() -> Self {
        thread_local!(static LAST: Cell<u64> = const { Cell::new(0) });
        let id = LAST.get() + 1;
        LAST.set(id);
        let (lent, open, passes) = (RefCell::default(), Cell::default(), Cell::default());
        Slot(Rc::new(Place { id, lent, open, passes }))
    }
}

impl Slot {
    /// A number that no other slot of this thread has or will have, from 1: a handle that is no more than this number
    /// can be told from those of other exchanges.
    pub fn id(&self) -> u64 {
        self.0.id
    }

    /// Lends an exchange until what is returned is dropped.
    pub fn lend<'a>(&'a self, held: &'a mut Held) -> Loan<'a> {
        *self.0.lent.borrow_mut() = held.0.take().map_or(Lent::Nothing, Lent::Exchange);
        Loan { held, slot: self }
    }

    /// Lends a connection that has no exchange until what is returned is dropped.
    pub fn lend_connection(&self, connection: Rc<Connection>) -> ConnectionLoan {
        *self.0.lent.borrow_mut() = Lent::Connection(connection);
        ConnectionLoan(self.clone())
    }

    /// Lets handles at the exchange while the hook runs, and no longer.
    pub fn open(&self, open: bool) {
        self.0.open.set(open);
    }

    /// The plugin does not want to see this body.
    pub fn pass(&self, side: Side) {
        let (request, response) = self.0.passes.get();
        self.0.passes.set(match side {
            Side::Request => (true, response),
            Side::Response => (request, true),
        });
    }

    /// Whether the plugin does not want to see this body.
    pub fn passes(&self, side: Side) -> bool {
        match side {
            Side::Request => self.0.passes.get().0,
            Side::Response => self.0.passes.get().1,
        }
    }

    /// Runs `f` on the exchange.
    ///
    /// # Errors
    /// [`Error::Expired`] with the handle's name where the exchange is not lent now, or its hook waits.
    pub fn with<T>(&self, handle: &'static str, f: impl FnOnce(&mut Exchange) -> T) -> Result<T> {
        self.borrow(handle).map(|mut exchange| f(&mut exchange))
    }

    /// The exchange, which nobody else gets at until what is returned is dropped.
    ///
    /// # Errors
    /// As [`Slot::with`].
    pub fn borrow(&self, handle: &'static str) -> Result<RefMut<'_, Exchange>> {
        if !self.0.open.get() {
            return Err(Error::Expired(handle));
        }
        RefMut::filter_map(self.0.lent.borrow_mut(), Lent::exchange).map_err(|_| Error::Expired(handle))
    }

    /// Runs `f` on the connection: the one that is lent, or that of the exchange.
    ///
    /// # Errors
    /// As [`Slot::with`].
    pub fn connection<T>(&self, handle: &'static str, f: impl FnOnce(&Connection) -> T) -> Result<T> {
        match &*self.0.lent.borrow() {
            Lent::Exchange(exchange) if self.0.open.get() => Ok(f(&exchange.connection)),
            Lent::Connection(connection) if self.0.open.get() => Ok(f(connection)),
            _ => Err(Error::Expired(handle)),
        }
    }

    /// Takes out what is lent; handles find nothing from then on.
    fn take_back(&self) -> Lent {
        self.open(false);
        self.0.lent.take()
    }
}

impl Drop for Loan<'_> {
    fn drop(&mut self) {
        if let Lent::Exchange(exchange) = self.slot.take_back() {
            self.held.0 = Some(exchange);
        }
    }
}

impl Drop for ConnectionLoan {
    fn drop(&mut self) {
        self.0.take_back();
    }
}
