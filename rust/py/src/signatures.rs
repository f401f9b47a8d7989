//! `verify_signatures`: the bare primitive in bulk.

use crate::arguments::threads;
use crate::bulk;
use crate::columns::error::same_length;
use crate::columns::input::{AnyColumn, BinaryColumn, IntColumn};
use crate::columns::output::{Out, OutTable, SignatureResults};
use crate::errors::input;
use crate::keys::public_key::PublicKey;
use itron_core::code::Code;
use itron_core::crypto::public_key::PublicKey as Key;
use itron_core::crypto::signatures;
use itron_core::parallel::scratch::Scratch;
use itron_core::parallel::stop::Stop;
use pyo3::prelude::*;

/// Verifies each signature over its message. Column: code int16 (0, 1 no message or signature, 300, 301, 302).
#[pyfunction]
#[pyo3(signature = (public_key, messages, signatures, *, key_index=None, threads=None))]
pub fn verify_signatures(
    py: Python<'_>,
    public_key: &Bound<'_, PyAny>,
    messages: &Bound<'_, PyAny>,
    signatures: &Bound<'_, PyAny>,
    key_index: Option<&Bound<'_, PyAny>>,
    threads: Option<&Bound<'_, PyAny>>,
) -> PyResult<SignatureResults> {
    let threads = self::threads(threads)?;
    let messages = BinaryColumn::new(py, &AnyColumn::new(messages, "messages")?)?;
    let signatures = BinaryColumn::new(py, &AnyColumn::new(signatures, "signatures")?)?;
    let rows = same_length(&[("messages", messages.len()), ("signatures", signatures.len())])?;
    let keys = keys(public_key, key_index, rows)?;
    let fetch = |row: usize, scratch: &mut Scratch| -> Result<_, Stop> {
        // A longer signature is refused for its length, whatever follows.
        let signature = signatures.fetch(row, LONGEST_SIGNATURE + 1, scratch)?;
        let message = if signature.is_some() { messages.fetch(row, usize::MAX, scratch)? } else { None };
        Ok((keys.of(row), message, signature))
    };
    let codes = bulk::run(py, threads, |workers| {
        signatures::verify_many(rows, keys.expected(rows), workers, fetch, |&(key, message, signature), scratch| {
            let (Some(message), Some(signature)) = (message, signature) else { return Err(Code::NoToken) };
            Ok((key, scratch.get(signature), [scratch.get(message), &[], &[], &[]]))
        })
    })?;
    Ok(SignatureResults::new(OutTable::new(rows, vec![("code", Out::int16(codes))])))
}

/// No signature of any algorithm is longer.
const LONGEST_SIGNATURE: usize = 8_192;

/// One key for all rows, or each row's.
enum Keys {
    One(Key),
    Many(Vec<Key>, Vec<u32>),
}

impl Keys {
    /// How many of `rows` one key is likely to have.
    fn expected(&self, rows: usize) -> u64 {
        match self {
            Self::One(_) => rows as u64,
            Self::Many(keys, _) => (rows / keys.len().max(1)) as u64,
        }
    }

    fn of(&self, row: usize) -> &Key {
        match self {
            Self::One(key) => key,
            Self::Many(keys, index) => &keys[index[row] as usize],
        }
    }
}

fn keys(given: &Bound<'_, PyAny>, key_index: Option<&Bound<'_, PyAny>>, rows: usize) -> PyResult<Keys> {
    let py = given.py();
    let many = match given.cast::<PublicKey>() {
        Ok(one) if key_index.is_none() => return Ok(Keys::One(one.get().0.clone())),
        Ok(one) => vec![one.get().0.clone()],
        Err(_) => {
            let wanted =
                |_| input(format!("public_key: got {}, expected PublicKey or a sequence of them", given.get_type()));
            let key = |item: PyResult<Bound<'_, PyAny>>| {
                let item = item?;
                let key = item.cast::<PublicKey>().map(|key| key.get().0.clone());
                key.map_err(|_| {
                    input(format!("public_key: got a sequence with {}, expected PublicKey", item.get_type()))
                })
            };
            given.try_iter().map_err(wanted)?.map(key).collect::<PyResult<Vec<_>>>()?
        }
    };
    let wanted = || input("key_index: got None, expected the index of each row's key, as public_key is a sequence");
    let column = IntColumn::new(py, &AnyColumn::new(key_index.ok_or_else(wanted)?, "key_index")?)?;
    same_length(&[("messages", rows), ("key_index", column.len())])?;
    let count = many.len();
    let index = (0..rows).map(|row| {
        let index =
            column.get(row).and_then(|index| u32::try_from(index).ok()).filter(|&index| (index as usize) < count);
        let got = || column.get(row).map_or("null".to_owned(), |index| index.to_string());
        index.ok_or_else(|| input(format!("key_index: got {} in row {row}, expected 0..{count} (exclusive)", got())))
    });
    Ok(Keys::Many(many, index.collect::<PyResult<_>>()?))
}
