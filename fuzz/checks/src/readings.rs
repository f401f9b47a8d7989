//! Arbitrary telegrams among the readings: no input panics, a row is answered alike alone and among others, as bytes and as
//! digits, and bytes are handed out for `ok` alone.

use crate::source::Source;
use itron_core::parallel::scratch::{Place, Scratch};
use itron_core::parallel::stop::Stop;
use itron_core::reading::code::ReadingCode;
use itron_core::reading::keys::{CHECK_VALUE, CopiedKeys, KeyColumn, Keys, LONGEST_KEY};
use itron_core::reading::{Call, Profile, Readings, Rows, open_many};
use std::ops::Range;

/// What is asked of one telegram.
#[derive(Clone)]
struct Question {
    telegram: Option<Vec<u8>>,
    keys: [Option<Vec<u8>>; 2],
    check_value: Option<[u8; CHECK_VALUE]>,
    title: Option<[u8; 8]>,
    floor: Option<i64>,
}

struct Column {
    questions: Vec<Question>,
    hexadecimal: bool,
}

impl Rows for Column {
    fn rows(&self) -> usize {
        self.questions.len()
    }

    fn bytes(&self, _most: usize) -> usize {
        let telegrams = self.questions.iter().filter_map(|question| question.telegram.as_ref());
        telegrams.map(Vec::len).sum::<usize>() * if self.hexadecimal { 2 } else { 1 }
    }

    fn telegram(&self, row: usize, most: usize, scratch: &mut Scratch) -> Result<Option<Place>, Stop> {
        let Some(telegram) = &self.questions[row].telegram else { return Ok(None) };
        if self.hexadecimal {
            let digits: String = telegram
                .iter()
                .flat_map(|byte| [byte >> 4, byte & 15])
                .map(|digit| char::from(b"0123456789abcdef"[usize::from(digit)]))
                .collect();
            return scratch.push(digits.as_bytes()).map(Some);
        }
        scratch.push(&telegram[..telegram.len().min(most)]).map(Some)
    }

    fn hexadecimal(&self) -> bool {
        self.hexadecimal
    }

    fn title(&self, row: usize) -> Option<[u8; 8]> {
        self.questions[row].title
    }

    fn floor(&self, row: usize, _device: [u8; 8]) -> Option<i64> {
        self.questions[row].floor
    }
}

impl KeyColumn for Column {
    fn keys(&self, rows: Range<usize>) -> Result<CopiedKeys, Stop> {
        CopiedKeys::of(rows, |row, room| copy(self.questions[row].keys[0].as_ref(), room))
    }

    fn authentication_keys(&self, rows: Range<usize>) -> Result<CopiedKeys, Stop> {
        CopiedKeys::of(rows, |row, room| copy(self.questions[row].keys[1].as_ref(), room))
    }

    fn check_value(&self, row: usize) -> Option<[u8; CHECK_VALUE]> {
        self.questions[row].check_value
    }
}

fn copy(key: Option<&Vec<u8>>, room: &mut [u8; LONGEST_KEY]) -> Option<usize> {
    let key = key?;
    let length = key.len().min(LONGEST_KEY);
    room[..length].copy_from_slice(&key[..length]);
    Some(key.len())
}

/// A row's answer: code, assurance, protection, device, counter, payload.
type Row = (i16, i16, Option<i16>, Option<[u8; 8]>, Option<i64>, Vec<u8>);

fn answers(column: &Column, profile: Profile, least: u16, plain: bool) -> Vec<Row> {
    let call = Call { profile, minimum_assurance: least, allow_plain: plain, keys: Keys::Column(column) };
    let Readings { columns, payloads, names } = open_many(column, &call, 1).expect("memory for an input");
    assert!(std::str::from_utf8(&names).is_ok(), "names are text");
    let mut rest = &payloads[..];
    let rows: Vec<Row> = (0..column.rows())
        .map(|row| {
            let (payload, after) = rest.split_at(columns.payload_length[row] as usize);
            rest = after;
            let code = columns.code[row];
            assert!(code != ReadingCode::Internal as i16, "a panic is an answer of nothing");
            let opened = code == ReadingCode::Ok as i16;
            assert_eq!(columns.opened.get(row), opened);
            assert!(opened || (payload.is_empty() && columns.assurance[row] == 0));
            assert!(columns.name_length[row] == 0 || columns.device_known.get(row));
            (
                code,
                columns.assurance[row],
                columns.protection_known.get(row).then(|| columns.protection[row]),
                columns.device_known.get(row).then(|| columns.device[row]),
                columns.counter_known.get(row).then(|| columns.counter[row]),
                payload.to_vec(),
            )
        })
        .collect();
    assert!(rest.is_empty(), "every byte is a row's");
    rows
}

/// As the module says, for one profile.
pub fn check(profile: Profile, data: &[u8]) {
    let mut source = Source::new(data);
    let key = |source: &mut Source<'_>| match source.byte() % 8 {
        0 => None,
        1 => Some(source.array::<32>().to_vec()),
        2 => Some(vec![7; source.below(70)]),
        _ => Some((0..16).collect()),
    };
    let (least, plain) = (source.choose(&[0, 16, 17, 64, 96, 128]), source.flag());
    let asked = Question {
        keys: [key(&mut source), key(&mut source)],
        check_value: source.once_in(4).then(|| source.array()),
        title: source.flag().then(|| source.array()),
        floor: source.once_in(4).then(|| source.number()),
        telegram: None,
    };
    // What is left is the telegram: as it is, and with a length that fits.
    let telegram = data.get(4..).unwrap_or_default().to_vec();
    let mut fitted = telegram.clone();
    if let Some(first) = fitted.first_mut() {
        *first = (telegram.len() - 1) as u8;
    }
    let ask = |telegram: Option<Vec<u8>>| Question { telegram, ..asked.clone() };
    let questions = vec![ask(Some(telegram)), ask(None), ask(Some(fitted)), ask(Some(Vec::new()))];
    let together = answers(&Column { questions: questions.clone(), hexadecimal: false }, profile, least, plain);
    for (question, answer) in questions.into_iter().zip(&together) {
        for hexadecimal in [false, true] {
            let alone = Column { questions: vec![question.clone()], hexadecimal };
            assert_eq!(answers(&alone, profile, least, plain), std::slice::from_ref(answer));
        }
    }
}
