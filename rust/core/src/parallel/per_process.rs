//! State of one process: a child that was forked while threads ran begins with its own, never with a lock that no thread holds any more.

use std::sync::OnceLock;

/// A list that only grows: one value per process.
pub(crate) struct PerProcess<T: 'static> {
    first: OnceLock<Box<Node<T>>>,
}

struct Node<T: 'static> {
    process: u32,
    value: T,
    next: PerProcess<T>,
}

impl<T: Default> PerProcess<T> {
    pub(crate) const fn new() -> Self {
        Self { first: OnceLock::new() }
    }

    /// This process's value, made at its first use.
    pub(crate) fn get(&self) -> &T {
        let process = std::process::id();
        let mut list = self;
        loop {
            let make = || Box::new(Node { process, value: T::default(), next: Self::new() });
            let node = list.first.get_or_init(make);
            if node.process == process {
                return &node.value;
            }
            list = &node.next;
        }
    }
}
