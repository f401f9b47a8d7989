//! Where a waiting thread is woken: not on the core of the thread that wakes it.
//!
//! In a virtual machine an idle core may look taken: Linux asks whether the hypervisor runs it just now, and wakes the thread
//! on its waker's core instead. Both then share that core until the next tick, up to 4 ms, which is as long as most calls last.

use std::sync::atomic::{AtomicBool, Ordering};

static ON: AtomicBool = AtomicBool::new(true);

/// Leaves the affinities of threads alone: of all that are started from now on.
pub fn turn_off() {
    ON.store(false, Ordering::Relaxed);
}

#[cfg(target_os = "linux")]
mod linux {
    use rustix::thread::{CpuSet, Pid, gettid, sched_getaffinity, sched_getcpu, sched_setaffinity};
    use std::sync::atomic::Ordering;
    use std::sync::{Mutex, MutexGuard, PoisonError};

    /// The threads of a pool.
    pub(crate) struct Placement {
        on: bool,
        threads: Vec<Mutex<Thread>>,
    }

    #[derive(Default)]
    struct Thread {
        id: Option<Pid>,
        /// The cores that it may run on, while it is kept from one of them.
        usual: Option<CpuSet>,
    }

    impl Placement {
        pub(crate) fn new(threads: usize) -> Self {
            Self { on: super::ON.load(Ordering::Relaxed), threads: (0..threads).map(|_| Mutex::default()).collect() }
        }

        /// Thread `index` runs, and says so itself.
        pub(crate) fn started(&self, index: usize) {
            self.thread(index).id = Some(gettid());
        }

        /// The threads are to be woken elsewhere than on the caller's core, if there is one.
        pub(crate) fn keep_off(&self) {
            if !self.on {
                return;
            }
            let core = sched_getcpu();
            for index in 0..self.threads.len() {
                let mut thread = self.thread(index);
                if thread.usual.is_none() {
                    thread.usual = thread.id.and_then(|id| without(id, core));
                }
            }
        }

        /// Thread `index` is awake, and says so itself: it may run anywhere again.
        pub(crate) fn awake(&self, index: usize) {
            if let Some(usual) = self.thread(index).usual.take() {
                // A set that has ceased to be allowed leaves the thread where it is.
                let _ = sched_setaffinity(None, &usual);
            }
        }

        fn thread(&self, index: usize) -> MutexGuard<'_, Thread> {
            self.threads[index].lock().unwrap_or_else(PoisonError::into_inner)
        }
    }

    /// Keeps a thread from a core, and returns the cores that it had.
    fn without(id: Pid, core: usize) -> Option<CpuSet> {
        let usual = sched_getaffinity(Some(id)).ok()?;
        let mut others = usual;
        if core < CpuSet::MAX_CPU {
            others.unset(core);
        }
        (others.count() > 0 && others != usual && sched_setaffinity(Some(id), &others).is_ok()).then_some(usual)
    }

    #[cfg(test)]
    mod tests {
        use super::*;
        use std::sync::mpsc::channel;

        #[test]
        fn no_affinity_changes_when_placement_is_off() {
            let placement = Placement { on: false, ..Placement::new(1) };
            placement.started(0);
            let usual = sched_getaffinity(None).expect("a thread of this process");
            placement.keep_off();
            assert_eq!(sched_getaffinity(None).expect("a thread of this process"), usual);
        }

        #[test]
        fn a_thread_is_kept_off_until_it_is_awake_however_often_it_is_called() {
            let placement = Placement::new(1);
            placement.keep_off(); // of a thread that has not started nothing is asked
            let (wake, woken) = channel();
            std::thread::scope(|scope| {
                let (tell, told) = channel();
                let placement = &placement;
                scope.spawn(move || {
                    placement.started(0);
                    tell.send(gettid()).expect("the test listens");
                    woken.recv().expect("the test wakes");
                    placement.awake(0);
                    tell.send(gettid()).expect("the test listens");
                    // It is there until it has been looked at.
                    woken.recv().expect("the test has looked");
                });
                let id = told.recv().expect("the thread has started");
                let usual = sched_getaffinity(Some(id)).expect("a thread of this process");
                for _ in 0..3 {
                    placement.keep_off();
                }
                let meanwhile = sched_getaffinity(Some(id)).expect("a thread of this process");
                assert_eq!(meanwhile.count(), (usual.count() - 1).max(1), "one core less, if that leaves any");
                wake.send(()).expect("the thread waits");
                told.recv().expect("the thread is awake");
                assert_eq!(sched_getaffinity(Some(id)).expect("a thread of this process"), usual);
                wake.send(()).expect("the thread waits");
            });
        }
    }
}

#[cfg(target_os = "linux")]
pub(crate) use linux::Placement;

/// Elsewhere the system is left alone.
#[cfg(not(target_os = "linux"))]
pub(crate) struct Placement;

#[cfg(not(target_os = "linux"))]
impl Placement {
    pub(crate) fn new(_threads: usize) -> Self {
        Self
    }

    pub(crate) fn started(&self, _index: usize) {}

    pub(crate) fn keep_off(&self) {}

    pub(crate) fn awake(&self, _index: usize) {}
}
