//! A second reader of whole CBOR documents, by recursion, which writes what it reads.

use itron_core::code::{Check, Code};
use itron_core::format::cbor::{Key, MAX_DEPTH, Major, Pairs, Reader, Writer};

/// Reads one item that stands inside `depth` containers and writes it again.
///
/// # Errors
/// As `Reader::skip`.
pub fn copy(reader: &mut Reader<'_>, depth: usize, writer: &mut Writer) -> Check<()> {
    let start = reader.position();
    let head = reader.head()?;
    if head.major == Major::Simple && head.argument == u64::MAX {
        // A float, or a simple value of two bytes: the head has no more to say of it.
        writer.raw(reader.since(start));
        return Ok(());
    }
    writer.head(head.major, head.argument);
    let items = match head.major {
        Major::Unsigned | Major::Negative | Major::Simple => return Ok(()),
        Major::Bytes => return reader.take(head.argument).map(|bytes| _ = writer.raw(bytes)),
        Major::Text => return reader.take_text(head.argument).map(|text| _ = writer.raw(text.as_bytes())),
        Major::Array | Major::Map => head.argument,
        Major::Tag => 1,
    };
    if depth >= MAX_DEPTH {
        return Err(Code::CborDepth);
    }
    let mut previous: &[u8] = &[];
    for _ in 0..items {
        let start = reader.position();
        copy(reader, depth + 1, writer)?;
        if head.major == Major::Map {
            let key = reader.since(start);
            match previous.cmp(key) {
                std::cmp::Ordering::Less => previous = key,
                std::cmp::Ordering::Equal => return Err(Code::CborDuplicateKey),
                std::cmp::Ordering::Greater => return Err(Code::CborNotDeterministic),
            }
            copy(reader, depth + 1, writer)?;
        }
    }
    Ok(())
}

/// The recursive reader and `Reader::skip` agree, and what both read is written again as it was.
pub fn check(bytes: &[u8], depth: usize) {
    let (mut by_copy, mut by_skip, mut writer) = (Reader::new(bytes), Reader::new(bytes), Writer::default());
    let copied = copy(&mut by_copy, depth, &mut writer);
    assert_eq!(by_skip.skip(depth), copied);
    if copied.is_ok() {
        assert_eq!(by_skip.position(), by_copy.position());
        assert_eq!(writer.into_bytes(), by_skip.since(0));
        assert_eq!(by_skip.finish().is_ok(), by_skip.position() == bytes.len());
    }
}

/// The pairs of a map, read one by one, are those of the whole map.
pub fn check_pairs(bytes: &[u8]) {
    let mut reader = Reader::new(bytes);
    let Ok(head) = reader.head() else { return };
    if head.major == Major::Map {
        let read = read_pairs(&mut reader, head.argument);
        assert_eq!(read, Reader::new(bytes).skip(0));
    }
}

fn read_pairs(reader: &mut Reader<'_>, count: u64) -> Check<()> {
    let mut pairs = Pairs::new(count, 1);
    let mut start = reader.position();
    while let Some(key) = pairs.next_key(reader)? {
        let mut writer = Writer::default();
        if let Key::Integer(key) = key {
            writer.integer(key);
            assert_eq!(writer.into_bytes(), reader.since(start));
        }
        reader.skip(1)?;
        start = reader.position();
    }
    Ok(())
}
