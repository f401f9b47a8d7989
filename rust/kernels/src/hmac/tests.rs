use super::{Key, Template, portable};
use crate::sha256::digest_many;

/// Bytes without a pattern: SHA-256 of a counter.
fn noise(seed: u32, length: usize) -> Vec<u8> {
    let counters: Vec<[u8; 8]> = (0..length.div_ceil(32) as u32)
        .map(|counter| (u64::from(seed) << 32 | u64::from(counter)).to_be_bytes())
        .collect();
    let messages: Vec<crate::Message<'_>> = counters.iter().map(|counter| [&counter[..], &[], &[], &[]]).collect();
    let mut digests = vec![[0; 32]; messages.len()];
    digest_many(&messages, &mut digests);
    digests.as_flattened()[..length].to_vec()
}

#[cfg(target_arch = "x86_64")]
#[test]
fn sha_instructions_agree_with_the_portable_rounds() {
    use super::sha_ni;
    if !crate::features::detected().sha_ni {
        return;
    }
    let ids: Vec<[u8; 8]> = noise(1, 800).as_chunks().0.to_vec();
    for case in 0..2_000_u32 {
        let shape = noise(case + 2, 4).into_iter().map(usize::from).collect::<Vec<_>>();
        let (length, width, count) = (8 + shape[0], 1 + shape[2] % 32, shape[3] % (ids.len() + 1));
        let at = shape[1] % (length - 7);
        let (key, message) = (Key::new(&noise(case, shape[2])), noise(!case, length));
        let ids = &ids[..count];
        let mut template = Template::new(key.inner, &message, at);
        let (mut lanes, mut alone) = (vec![0; count * width], vec![0; count * width]);
        // SAFETY: the processor has them, as asked above.
        unsafe { sha_ni::derive(&template, &key.outer, ids, width, &mut lanes) };
        portable::derive(&mut template, &key.outer, ids, width, &mut alone);
        assert_eq!(lanes, alone, "case {case}: {count} ids at {at} of {length} bytes, {width} of each MAC");
    }
}
