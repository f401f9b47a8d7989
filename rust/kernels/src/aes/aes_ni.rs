//! By the AES instructions, eight rows at a time.

use super::ghash::{self, Input};
use super::lanes::{LANES, Lanes, load};
use super::{BLOCK, Block, Cbc, Cmac, Ctr, Gcm, Key, counter_block, padded};
use crate::verdict::equal;
use std::arch::x86_64::*;
use std::mem::transmute;
use zeroize::Zeroize;

/// Round keys: 11 of AES-128, 15 of AES-256.
const SHORT: usize = 11;
const LONG: usize = 15;

#[inline]
#[target_feature(enable = "avx,aes")]
fn store(vector: __m128i) -> Block {
    // SAFETY: a vector is 16 bytes.
    unsafe { transmute::<__m128i, Block>(vector) }
}

#[inline]
#[target_feature(enable = "avx,aes")]
fn add(a: &mut Lanes, b: &Lanes) {
    for lane in 0..LANES {
        a[lane] = _mm_xor_si128(a[lane], b[lane]);
    }
}

/// The round keys of eight rows, wiped when dropped.
struct Schedule<const KEYS: usize>([Lanes; KEYS]);

impl<const KEYS: usize> Drop for Schedule<KEYS> {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

/// Each word the sum of all words up to it, and `last` on top of each.
#[inline]
#[target_feature(enable = "avx,aes")]
fn next(key: __m128i, last: __m128i) -> __m128i {
    let key = _mm_xor_si128(key, _mm_slli_si128::<4>(key));
    _mm_xor_si128(_mm_xor_si128(key, _mm_slli_si128::<8>(key)), last)
}

/// The last word, rotated by a byte, in each word's place: rows of equal words are not shifted by a round.
#[inline]
#[target_feature(enable = "avx,aes")]
fn rotated(key: __m128i) -> __m128i {
    _mm_shuffle_epi8(key, _mm_set1_epi32(0x0c0f_0e0d))
}

impl Schedule<SHORT> {
    /// FIPS 197 section 5.2: a round without a key substitutes the bytes of each word.
    #[target_feature(enable = "avx,aes")]
    fn expand(&mut self, mut keys: Lanes) {
        self.0[0] = keys;
        let mut constant = 1;
        for round in 1..SHORT {
            for key in &mut keys {
                *key = next(*key, _mm_aesenclast_si128(rotated(*key), _mm_set1_epi32(constant)));
            }
            self.0[round] = keys;
            constant = (constant << 1) ^ ((constant >> 7) * 0x11b);
        }
    }

    /// The keys of the inverse cipher, in the order of its rounds: FIPS 197 section 5.3.5.
    #[target_feature(enable = "avx,aes")]
    fn invert(&mut self) {
        self.0.reverse();
        for keys in &mut self.0[1..SHORT - 1] {
            for key in keys {
                *key = _mm_aesimc_si128(*key);
            }
        }
    }

    /// Blocks of one row, decrypted; the block after them is what the next ones are added to.
    #[inline]
    #[target_feature(enable = "avx,aes")]
    fn decrypt<const N: usize>(&self, lane: usize, blocks: &mut [Block; N], before: __m128i) -> __m128i {
        let mut encrypted = [before; N];
        let mut states = encrypted;
        for at in 0..N {
            encrypted[at] = load(&blocks[at]);
            states[at] = _mm_xor_si128(encrypted[at], self.0[0][lane]);
        }
        for keys in &self.0[1..SHORT - 1] {
            for state in &mut states {
                *state = _mm_aesdec_si128(*state, keys[lane]);
            }
        }
        for at in 0..N {
            let plain = _mm_aesdeclast_si128(states[at], self.0[SHORT - 1][lane]);
            blocks[at] = store(_mm_xor_si128(plain, if at == 0 { before } else { encrypted[at - 1] }));
        }
        encrypted[N - 1]
    }
}

impl Schedule<LONG> {
    #[target_feature(enable = "avx,aes")]
    fn expand(&mut self, mut even: Lanes, mut odd: Lanes) {
        (self.0[0], self.0[1]) = (even, odd);
        let mut constant = 1;
        for round in (2..LONG).step_by(2) {
            for lane in 0..LANES {
                let last = _mm_aesenclast_si128(rotated(odd[lane]), _mm_set1_epi32(constant));
                even[lane] = next(even[lane], last);
            }
            self.0[round] = even;
            if round + 1 < LONG {
                for lane in 0..LANES {
                    let last = _mm_shuffle_epi32::<0xff>(even[lane]);
                    odd[lane] = next(odd[lane], _mm_aesenclast_si128(last, _mm_setzero_si128()));
                }
                self.0[round + 1] = odd;
            }
            constant <<= 1;
        }
    }
}

impl<const KEYS: usize> Schedule<KEYS> {
    #[target_feature(enable = "avx,aes")]
    fn new() -> Self {
        Self([[_mm_setzero_si128(); LANES]; KEYS])
    }

    /// One block of each row, encrypted.
    #[inline]
    #[target_feature(enable = "avx,aes")]
    fn encrypt(&self, mut states: Lanes) -> Lanes {
        add(&mut states, &self.0[0]);
        for keys in &self.0[1..KEYS - 1] {
            for lane in 0..LANES {
                states[lane] = _mm_aesenc_si128(states[lane], keys[lane]);
            }
        }
        for (state, key) in states.iter_mut().zip(&self.0[KEYS - 1]) {
            *state = _mm_aesenclast_si128(*state, *key);
        }
        states
    }

    /// Blocks of the key stream of one row.
    #[inline]
    #[target_feature(enable = "avx,aes")]
    fn stream<const N: usize>(&self, lane: usize, counter: &Counter) -> [__m128i; N] {
        let mut states = [self.0[0][lane]; N];
        for (at, state) in states.iter_mut().enumerate() {
            *state = _mm_xor_si128(*state, counter.block(at as u32));
        }
        for keys in &self.0[1..KEYS - 1] {
            for state in &mut states {
                *state = _mm_aesenc_si128(*state, keys[lane]);
            }
        }
        for state in &mut states {
            *state = _mm_aesenclast_si128(*state, self.0[KEYS - 1][lane]);
        }
        states
    }

    /// Adds the key stream of one row.
    #[target_feature(enable = "avx,aes")]
    fn apply(&self, lane: usize, first: &Block, data: &mut [u8]) {
        let mut counter = Counter::new(first);
        let (blocks, rest) = data.as_chunks_mut::<BLOCK>();
        let (fours, ones) = blocks.as_chunks_mut::<4>();
        for four in fours {
            for (block, stream) in four.iter_mut().zip(self.stream::<4>(lane, &counter)) {
                *block = store(_mm_xor_si128(load(block), stream));
            }
            counter.skip(4);
        }
        for block in ones {
            let [stream] = self.stream(lane, &counter);
            *block = store(_mm_xor_si128(load(block), stream));
            counter.skip(1);
        }
        if !rest.is_empty() {
            let [stream] = self.stream(lane, &counter).map(|stream| store(stream));
            for (byte, stream) in rest.iter_mut().zip(stream) {
                *byte ^= stream;
            }
        }
    }
}

/// A counter block, of which the last 32 bits count.
struct Counter {
    block: __m128i,
    count: u32,
}

impl Counter {
    #[inline]
    #[target_feature(enable = "avx,aes")]
    fn new(block: &Block) -> Self {
        let [.., a, b, c, d] = *block;
        Self { block: load(block), count: u32::from_be_bytes([a, b, c, d]) }
    }

    #[inline]
    #[target_feature(enable = "avx,aes")]
    fn block(&self, further: u32) -> __m128i {
        _mm_insert_epi32::<3>(self.block, self.count.wrapping_add(further).swap_bytes() as i32)
    }

    fn skip(&mut self, blocks: u32) {
        self.count = self.count.wrapping_add(blocks);
    }
}

#[target_feature(enable = "avx,aes")]
pub(super) fn cbc_decrypt(rows: &mut [Cbc<'_>]) {
    let mut schedule = Schedule::<SHORT>::new();
    for rows in rows.chunks_mut(LANES) {
        schedule.expand(keys(rows.iter().map(|row| row.key)));
        schedule.invert();
        for (lane, row) in rows.iter_mut().enumerate() {
            let mut before = load(&row.iv);
            let (fours, rest) = row.data.as_chunks_mut::<BLOCK>().0.as_chunks_mut::<4>();
            for four in fours {
                before = schedule.decrypt(lane, four, before);
            }
            let (twos, ones) = rest.as_chunks_mut::<2>();
            for two in twos {
                before = schedule.decrypt(lane, two, before);
            }
            for one in ones.as_chunks_mut::<1>().0 {
                before = schedule.decrypt(lane, one, before);
            }
        }
    }
}

/// The keys of at most eight rows; zeros in the other lanes.
#[inline]
#[target_feature(enable = "avx,aes")]
fn keys<'a>(rows: impl Iterator<Item = &'a Block>) -> Lanes {
    let mut keys = [_mm_setzero_si128(); LANES];
    for (key, row) in keys.iter_mut().zip(rows) {
        *key = load(row);
    }
    keys
}

#[target_feature(enable = "avx,aes")]
pub(super) fn ctr_apply(rows: &mut [Ctr<'_>]) {
    let order = order(rows.len(), |row| (is_long(rows[row].key), 0));
    let (shorts, longs) = order.split_at(order.partition_point(|&row| !is_long(rows[row].key)));
    let mut schedule = Schedule::<SHORT>::new();
    for group in shorts.chunks(LANES) {
        schedule.expand(first_halves(group.iter().map(|&row| rows[row].key)));
        for (lane, &row) in group.iter().enumerate() {
            schedule.apply(lane, &rows[row].counter, rows[row].data);
        }
    }
    let mut schedule = Schedule::<LONG>::new();
    for group in longs.chunks(LANES) {
        let keys = || group.iter().map(|&row| rows[row].key);
        schedule.expand(first_halves(keys()), second_halves(keys()));
        for (lane, &row) in group.iter().enumerate() {
            schedule.apply(lane, &rows[row].counter, rows[row].data);
        }
    }
}

fn is_long(key: Key<'_>) -> bool {
    matches!(key, Key::Aes256(_))
}

/// The rows by length of key and by blocks, all of which are public: a group takes as long as the longest of its rows.
fn order(rows: usize, by: impl Fn(usize) -> (bool, usize)) -> Vec<usize> {
    let mut order: Vec<_> = (0..rows).collect();
    if !order.is_sorted_by_key(|&row| by(row)) {
        order.sort_by_key(|&row| by(row));
    }
    order
}

#[inline]
#[target_feature(enable = "avx,aes")]
fn first_halves<'a>(rows: impl Iterator<Item = Key<'a>>) -> Lanes {
    keys(rows.map(|key| match key {
        Key::Aes128(key) => key,
        Key::Aes256(key) => &key.as_chunks().0[0],
    }))
}

/// What AES-256 has beside.
#[inline]
#[target_feature(enable = "avx,aes")]
fn second_halves<'a>(rows: impl Iterator<Item = Key<'a>>) -> Lanes {
    keys(rows.map(|key| match key {
        Key::Aes128(key) => key,
        Key::Aes256(key) => &key.as_chunks().0[1],
    }))
}

/// Twice the elements of GF(2^128) of RFC 4493 section 2.3, without a branch on their secret top bits.
#[inline]
#[target_feature(enable = "avx,aes")]
fn doubled(mut lanes: Lanes) -> Lanes {
    for lane in &mut lanes {
        let value = u128::from_be_bytes(store(*lane));
        let reduction = 0x87 & 0_u128.wrapping_sub(value >> 127);
        *lane = load(&((value << 1) ^ reduction).to_be_bytes());
    }
    lanes
}

#[target_feature(enable = "avx,aes")]
pub(super) fn cmac(rows: &[Cmac<'_>], macs: &mut [Block]) {
    let blocks = |row: usize| rows[row].message.len().div_ceil(BLOCK).max(1);
    let order = order(rows.len(), |row| (false, blocks(row)));
    let mut schedule = Schedule::<SHORT>::new();
    // The subkeys for a last block that is full, and for one that is padded.
    let mut subkeys = [[_mm_setzero_si128(); LANES]; 2];
    let mut states = [_mm_setzero_si128(); LANES];
    for group in order.chunks(LANES) {
        schedule.expand(keys(group.iter().map(|&row| rows[row].key)));
        subkeys[0] = doubled(schedule.encrypt([_mm_setzero_si128(); LANES]));
        subkeys[1] = doubled(subkeys[0]);
        states = [_mm_setzero_si128(); LANES];
        let most = group.last().map_or(0, |&row| blocks(row));
        for step in 0..most {
            for (lane, &row) in group.iter().enumerate() {
                let message = rows[row].message;
                let at = (step * BLOCK).min(message.len());
                let mut block = padded(message, at);
                if step + 1 == blocks(row) {
                    let is_padded = message.len() - at < BLOCK;
                    if is_padded {
                        block[message.len() - at] = 0x80;
                    }
                    states[lane] = _mm_xor_si128(states[lane], subkeys[usize::from(is_padded)][lane]);
                }
                states[lane] = _mm_xor_si128(states[lane], load(&block));
            }
            states = schedule.encrypt(states);
            for (lane, &row) in group.iter().enumerate() {
                if step + 1 == blocks(row) {
                    macs[row] = store(states[lane]);
                }
            }
        }
    }
    subkeys.zeroize();
    states.zeroize();
}

#[target_feature(enable = "avx,aes")]
pub(super) fn cmac_of_two(keys: &[&Block], messages: &mut [[Block; 2]]) {
    let mut schedule = Schedule::<SHORT>::new();
    for (keys, messages) in keys.chunks(LANES).zip(messages.chunks_mut(LANES)) {
        schedule.expand(self::keys(keys.iter().copied()));
        let subkeys = doubled(schedule.encrypt([_mm_setzero_si128(); LANES]));
        for which in 0..2 {
            let mut states = self::keys(messages.iter().map(|messages| &messages[which]));
            add(&mut states, &subkeys);
            for (message, mac) in messages.iter_mut().zip(schedule.encrypt(states)) {
                message[which] = store(mac);
            }
        }
    }
}

#[target_feature(enable = "avx,aes,pclmulqdq")]
pub(super) fn gcm_open(rows: &mut [Gcm<'_>], genuine: &mut [bool]) {
    let order = order(rows.len(), |row| {
        let Gcm { key, aad, ref data, .. } = rows[row];
        (is_long(key), Input { aad, data }.blocks())
    });
    let (shorts, longs) = order.split_at(order.partition_point(|&row| !is_long(rows[row].key)));
    let mut schedule = Schedule::<SHORT>::new();
    for group in shorts.chunks(LANES) {
        schedule.expand(first_halves(group.iter().map(|&row| rows[row].key)));
        open_group(&schedule, group, rows, genuine);
    }
    let mut schedule = Schedule::<LONG>::new();
    for group in longs.chunks(LANES) {
        let keys = || group.iter().map(|&row| rows[row].key);
        schedule.expand(first_halves(keys()), second_halves(keys()));
        open_group(&schedule, group, rows, genuine);
    }
}

#[inline]
#[target_feature(enable = "avx,aes,pclmulqdq")]
fn open_group<const KEYS: usize>(
    schedule: &Schedule<KEYS>,
    group: &[usize],
    rows: &mut [Gcm<'_>],
    genuine: &mut [bool],
) {
    let mut first = [_mm_setzero_si128(); LANES];
    let mut inputs = [Input::default(); LANES];
    for (lane, &row) in group.iter().enumerate() {
        let row = &rows[row];
        first[lane] = load(&counter_block(&row.nonce, 1));
        inputs[lane] = Input { aad: row.aad, data: row.data };
    }
    let mut key = schedule.encrypt([_mm_setzero_si128(); LANES]);
    let mut tags = ghash::sums(&key, &inputs);
    key.zeroize();
    add(&mut tags, &schedule.encrypt(first));
    for (lane, &at) in group.iter().enumerate() {
        let row = &mut rows[at];
        let mut tag = store(tags[lane]);
        genuine[at] = equal(&tag[..row.tag.len()], row.tag);
        tag.zeroize();
        if genuine[at] {
            schedule.apply(lane, &counter_block(&row.nonce, 2), row.data);
        }
    }
    tags.zeroize();
}
