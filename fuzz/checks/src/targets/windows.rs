//! Windows of whole columns, lanes and portable, against plain integers that cannot wrap.

use crate::portable;
use crate::source::{Source, lengthened};
use itron_core::time::{Bounds, Unit};
use itron_core_kernels::windows;

const UNITS: [Unit; 4] = [Unit::Second, Unit::Milli, Unit::Micro, Unit::Nano];

/// As the module says.
pub fn check(data: &[u8]) {
    let data = lengthened(data, 2_048);
    let mut source = Source::new(&data);
    let (before_unit, after_unit) = (source.choose(&UNITS), source.choose(&UNITS));
    let now = source.choose(&UNITS).nanos(source.number());
    let skew = source.below(601) as u64;
    let near = source.flag();
    let mut number = |unit: Unit| {
        let tick = Unit::Second.nanos(1) / unit.per_second();
        let close = (now / tick).clamp(i64::MIN.into(), i64::MAX.into()) as i64;
        if near { close.saturating_add(i64::from(source.byte() as i8)) } else { source.number() }
    };
    let rows: Vec<_> = (0..40).map(|_| (number(before_unit), number(after_unit))).collect();
    let (before, after): (Vec<_>, Vec<_>) = rows.into_iter().unzip();
    let bounds = Bounds::new(now, skew, before_unit, after_unit);
    for length in [0, 1, 7, 8, 9, 40] {
        let (before, after) = (&before[..length], &after[..length]);
        let mut bits = vec![0xff; length.div_ceil(8)];
        bounds.contains_all(before, after, &mut bits);
        let skew = i128::from(skew) * 1_000_000_000;
        for at in 0..bits.len() * 8 {
            let inside = before.get(at).zip(after.get(at)).is_some_and(|(&before, &after)| {
                before_unit.nanos(before) - skew <= now && now < after_unit.nanos(after) + skew
            });
            assert_eq!(bits[at / 8] >> (at % 8) & 1 == 1, inside, "row {at}");
        }
    }
    check_twins(&before, &after, source.number(), source.number());
}

fn check_twins(low: &[i64], high: &[i64], most: i64, least: i64) {
    let (mut lanes, mut plain) = (vec![0xff; low.len().div_ceil(8)], vec![0; low.len().div_ceil(8)]);
    windows::inside(low, most, high, least, &mut lanes);
    portable::portable::windows::inside(low, most, high, least, &mut plain);
    assert_eq!(lanes, plain);
}
