use std::rc::Rc;

use super::*;

/// A connection that is stale when told so.
#[derive(Clone, Debug)]
struct Fake(u32, Rc<Cell<bool>>);

impl Idle for Fake {
    fn is_stale(&mut self) -> bool {
        self.1.get()
    }
}

fn fake(number: u32) -> Fake {
    Fake(number, Rc::default())
}

fn list(max: usize) -> IdleList<Fake> {
    let mut list = IdleList::new();
    list.set_bounds(max, Duration::from_secs(60));
    list
}

fn numbers(list: &IdleList<Fake>) -> Vec<u32> {
    list.connections.iter().map(|(fake, _)| fake.0).collect()
}

#[test]
fn the_last_to_come_is_the_first_to_go() {
    let (mut list, now) = (list(8), Instant::now());
    (1..=3).for_each(|n| assert!(list.put(fake(n), now).is_none()));
    let order: Vec<u32> = std::iter::from_fn(|| list.take(|| now)).map(|f| f.0).collect();
    assert_eq!(order, [3, 2, 1]);
}

#[test]
fn one_too_many_costs_the_longest_idle() {
    let (mut list, now) = (list(2), Instant::now());
    assert!(list.put(fake(1), now).is_none());
    assert!(list.put(fake(2), now).is_none());
    assert_eq!(list.put(fake(3), now).map(|f| f.0), Some(1));
    assert_eq!(numbers(&list), [2, 3]);
    list.set_bounds(0, Duration::from_secs(60));
    assert_eq!(list.put(fake(4), now).map(|f| f.0), Some(4));
}

#[test]
fn stale_and_expired_ones_are_not_given_out() {
    let (mut list, now) = (list(8), Instant::now());
    let (old, stale) = (fake(1), fake(3));
    list.put(old, now);
    list.put(fake(2), now + Duration::from_secs(30));
    list.put(stale.clone(), now + Duration::from_secs(30));
    stale.1.set(true);
    assert_eq!(list.take(|| now + Duration::from_secs(70)).map(|f| f.0), Some(2));
    assert!(list.take(|| now + Duration::from_secs(70)).is_none(), "the last one is too old");
    assert!(list.connections.is_empty());
}

#[test]
fn a_sweep_closes_what_is_stale_or_expired_and_keeps_the_order() {
    let (mut list, now) = (list(8), Instant::now());
    let stale = fake(3);
    list.put(fake(1), now);
    list.put(fake(2), now + Duration::from_secs(30));
    list.put(stale.clone(), now + Duration::from_secs(30));
    list.put(fake(4), now + Duration::from_secs(30));
    stale.1.set(true);
    list.sweep(now + Duration::from_secs(60));
    assert_eq!(numbers(&list), [2, 4]);
    list.sweep(now + Duration::from_secs(90));
    assert!(list.connections.is_empty());
}
