//! `now` against windows and sessions: half-open, exact in any unit, and without arithmetic that could wrap.

/// Ticks of a time column in one second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Unit {
    /// Seconds.
    Second = 1,
    /// Milliseconds.
    Milli = 1_000,
    /// Microseconds.
    Micro = 1_000_000,
    /// Nanoseconds.
    Nano = 1_000_000_000,
}

/// A moment in nanoseconds since 1970: no column's unit and no caller's clock is finer, and nothing overflows.
pub type Nanos = i128;
/// A moment in microseconds since 1970, as results carry it.
pub type Micros = i64;

impl Unit {
    /// How many ticks make one second.
    #[must_use]
    pub const fn per_second(self) -> i128 {
        self as u32 as i128
    }

    /// The moment of `value` ticks.
    #[must_use]
    pub const fn nanos(self, value: i64) -> Nanos {
        value as i128 * (Self::Nano.per_second() / self.per_second())
    }
}

/// What a session is at a moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i8)]
pub enum SessionState {
    /// From its opening to its end.
    Open = 0,
    /// It opens later.
    NotStarted = 1,
    /// Its time is over.
    Expired = 2,
    /// It was closed.
    Closed = 3,
    /// There is no session.
    None = 4,
}

/// One row of [`session`].
#[derive(Clone, Copy, Debug)]
pub struct Session {
    /// When it opened, in ticks.
    pub opened_at: Option<i64>,
    /// How long it lasts, in seconds.
    pub seconds: Option<i64>,
    /// When it was closed, in ticks.
    pub closed_at: Option<i64>,
}

/// The state of a session at `now`, and its remaining whole seconds, rounded up, 0 unless open.
///
/// Checked in the order none, not started, closed, expired, open.
#[must_use]
pub fn session(row: Session, opened_unit: Unit, closed_unit: Unit, now: Nanos) -> (SessionState, i32) {
    let (Some(opened_at), Some(seconds)) = (row.opened_at, row.seconds) else { return (SessionState::None, 0) };
    let opened_at = opened_unit.nanos(opened_at);
    let ends_at = opened_at + Unit::Second.nanos(seconds);
    if now < opened_at {
        (SessionState::NotStarted, 0)
    } else if row.closed_at.is_some_and(|closed_at| closed_unit.nanos(closed_at) <= now) {
        (SessionState::Closed, 0)
    } else if now >= ends_at {
        (SessionState::Expired, 0)
    } else {
        let second = Unit::Second.nanos(1);
        let remaining = (ends_at - now + second - 1) / second;
        (SessionState::Open, remaining.min(i32::MAX.into()) as i32)
    }
}

/// When an open session ends, in microseconds since 1970, held at the end of the range.
#[must_use]
pub fn session_end(opened_at: i64, unit: Unit, seconds: i64) -> Micros {
    let micros = (unit.nanos(opened_at) + Unit::Second.nanos(seconds)).div_euclid(1_000);
    micros.clamp(i64::MIN.into(), i64::MAX.into()) as i64
}

/// `not_before - skew <= now < not_after + skew`, turned into one comparison of whole ticks per side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// The largest `not_before` that has begun; `None` when none has.
    latest_begun: Option<i64>,
    /// The smallest `not_after` that is not over; `None` when all are.
    earliest_lasting: Option<i64>,
}

impl Bounds {
    /// For columns of these units; `skew` in seconds.
    #[must_use]
    pub fn new(now: Nanos, skew: u64, before: Unit, after: Unit) -> Self {
        let skew = skew as i128 * Unit::Nano.per_second();
        let tick = |unit: Unit| Unit::Nano.per_second() / unit.per_second();
        // not_before <= now + skew, cut to a tick; not_after > now - skew, so at least the next tick.
        let latest = (now + skew).div_euclid(tick(before));
        let earliest = (now - skew).div_euclid(tick(after)) + 1;
        Self {
            latest_begun: (latest >= i64::MIN.into()).then(|| latest.min(i64::MAX.into()) as i64),
            earliest_lasting: (earliest <= i64::MAX.into()).then(|| earliest.max(i64::MIN.into()) as i64),
        }
    }

    /// One row.
    #[must_use]
    #[inline]
    pub fn contains(&self, not_before: i64, not_after: i64) -> bool {
        self.latest_begun.is_some_and(|latest| not_before <= latest)
            && self.earliest_lasting.is_some_and(|earliest| not_after >= earliest)
    }

    /// Whole columns in one pass: bit `i % 8` of byte `i / 8` is the answer for row `i`.
    pub fn contains_all(&self, not_before: &[i64], not_after: &[i64], bits: &mut [u8]) {
        let (Some(latest), Some(earliest)) = (self.latest_begun, self.earliest_lasting) else {
            bits.fill(0);
            return;
        };
        itron_core_kernels::windows::inside(not_before, latest, not_after, earliest, bits);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const T: i64 = 1_811_851_200; // 2027-06-01 12:00:00 UTC

    fn at(now: i64) -> (SessionState, i32) {
        let row = Session { opened_at: Some(T), seconds: Some(3_600), closed_at: None };
        session(row, Unit::Second, Unit::Second, Unit::Second.nanos(now))
    }

    #[test]
    fn scenario_9_a_session_is_half_open() {
        assert_eq!(at(T + 3_599), (SessionState::Open, 1));
        assert_eq!(at(T + 3_600), (SessionState::Expired, 0));
        assert_eq!(at(T - 1), (SessionState::NotStarted, 0));
    }

    #[test]
    fn nothing_wraps_at_the_ends_of_int64() {
        for opened_at in [i64::MIN, -1, 0, i64::MAX] {
            for seconds in [i64::MIN, -1, 0, i64::MAX] {
                for now in [0, Unit::Second.nanos(T), Unit::Second.nanos(i64::MAX)] {
                    let row = Session { opened_at: Some(opened_at), seconds: Some(seconds), closed_at: Some(i64::MAX) };
                    let (state, remaining) = session(row, Unit::Second, Unit::Nano, now);
                    assert_eq!(state == SessionState::Open, remaining > 0);
                }
            }
        }
        let bounds = Bounds::new(i64::MAX.into(), u64::MAX >> 1, Unit::Nano, Unit::Nano);
        assert!(bounds.contains(i64::MAX, i64::MIN));
        assert!(!Bounds::new(0, 0, Unit::Second, Unit::Second).contains(i64::MAX, i64::MAX));
    }

    #[test]
    fn ticks_are_compared_exactly() {
        let bounds = Bounds::new(1_500_000_000, 0, Unit::Milli, Unit::Nano);
        assert!(bounds.contains(1_500, 1_500_000_001) && !bounds.contains(1_501, i64::MAX));
        assert!(!bounds.contains(0, 1_500_000_000));
        let seconds = Bounds::new(1_500_000_000, 0, Unit::Second, Unit::Second);
        assert!(seconds.contains(1, 2) && !seconds.contains(2, 3) && !seconds.contains(0, 1));
    }

    #[test]
    fn whole_columns_equal_single_rows() {
        let bounds = Bounds::new(5_000_000_000, 1, Unit::Second, Unit::Second);
        let before: Vec<i64> = (0..21).map(|i| i % 9).collect();
        let after: Vec<i64> = (0..21).map(|i| i % 7).collect();
        let mut bits = [0xff; 3];
        bounds.contains_all(&before, &after, &mut bits);
        for i in 0..21 {
            assert_eq!(bits[i / 8] >> (i % 8) & 1 == 1, bounds.contains(before[i], after[i]), "{i}");
        }
    }
}
