//! Which Arrow types are known, read from a schema.

use std::ffi::{CStr, c_char};
use std::fmt;

use itron_core::time::Unit;

use super::error::{InputError, Result};
use super::ffi::ArrowSchema;

/// A format string longer than this is not a type (a time zone's name is the longest part that is known).
const LONGEST_TEXT: usize = 4096;
/// More columns than this are no table.
const MOST_CHILDREN: i64 = 1 << 16;

/// Width and sign of an integer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum IntType {
    I8,
    U8,
    I16,
    U16,
    I32,
    U32,
    I64,
    U64,
}

impl IntType {
    /// Bytes a value.
    #[must_use]
    pub fn width(self) -> usize {
        match self {
            Self::I8 | Self::U8 => 1,
            Self::I16 | Self::U16 => 2,
            Self::I32 | Self::U32 => 4,
            Self::I64 | Self::U64 => 8,
        }
    }

    /// The type of a signed or unsigned integer of `width` bytes.
    #[must_use]
    pub fn of(signed: bool, width: usize) -> Option<Self> {
        Some(match (signed, width) {
            (true, 1) => Self::I8,
            (false, 1) => Self::U8,
            (true, 2) => Self::I16,
            (false, 2) => Self::U16,
            (true, 4) => Self::I32,
            (false, 4) => Self::U32,
            (true, 8) => Self::I64,
            (false, 8) => Self::U64,
            _ => return None,
        })
    }
}

/// The symbol of a unit.
#[must_use]
pub fn unit_name(unit: Unit) -> &'static str {
    match unit {
        Unit::Second => "s",
        Unit::Milli => "ms",
        Unit::Micro => "us",
        Unit::Nano => "ns",
    }
}

/// How variable or fixed bytes are laid out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Form {
    Small,
    Large,
    View,
    Fixed(usize),
}

/// The types that are read; the rest is `Other` and refused when a column of it is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Type {
    Null,
    Bool,
    Int(IntType),
    Bytes { text: bool, form: Form },
    Float64,
    Timestamp(Unit, Zone),
    Dictionary(IntType, Box<Type>),
    List { large: bool, item: Box<Type> },
    Struct(Vec<Field>),
    Other(String),
}

/// Whether a column of timestamps says of what zone they are: then its ticks are UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Zone {
    Said,
    Unsaid,
}

/// A column of a table.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Field {
    pub name: String,
    pub dtype: Type,
}

impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => f.write_str("null"),
            Self::Bool => f.write_str("bool"),
            Self::Int(int) => f.write_str(int_name(*int)),
            Self::Bytes { text, form } => f.write_str(&bytes_name(*text, *form)),
            Self::Float64 => f.write_str("double"),
            Self::Timestamp(unit, Zone::Said) => write!(f, "timestamp[{}] with a time zone", unit_name(*unit)),
            Self::Timestamp(unit, Zone::Unsaid) => write!(f, "timestamp[{}]", unit_name(*unit)),
            Self::Dictionary(index, values) => write!(f, "dictionary<{}, {values}>", int_name(*index)),
            Self::List { large: false, item } => write!(f, "list<{item}>"),
            Self::List { large: true, item } => write!(f, "large_list<{item}>"),
            Self::Struct(fields) => write!(f, "a table of {} columns", fields.len()),
            Self::Other(name) => f.write_str(name),
        }
    }
}

fn int_name(int: IntType) -> &'static str {
    match int {
        IntType::I8 => "int8",
        IntType::U8 => "uint8",
        IntType::I16 => "int16",
        IntType::U16 => "uint16",
        IntType::I32 => "int32",
        IntType::U32 => "uint32",
        IntType::I64 => "int64",
        IntType::U64 => "uint64",
    }
}

fn bytes_name(text: bool, form: Form) -> String {
    let base = if text { "string" } else { "binary" };
    match form {
        Form::Small => base.to_owned(),
        Form::Large => format!("large_{base}"),
        Form::View => format!("{base}_view"),
        Form::Fixed(width) => format!("fixed_size_binary[{width}]"),
    }
}

/// Where a type stands: nesting ends where no known type goes deeper.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Level {
    Top,
    Column,
    Item,
    Value,
}

impl Type {
    /// Reads the type of a column, or of a table.
    ///
    /// # Errors
    /// A schema that contradicts the interface. A type that is merely unknown is `Other`.
    ///
    /// # Safety
    /// The pointers of `schema` are null or those of a producer's live schema.
    pub unsafe fn read(schema: &ArrowSchema) -> Result<Self> {
        // SAFETY: the caller's promise.
        unsafe { read(schema, Level::Top) }
    }
}

unsafe fn read(schema: &ArrowSchema, level: Level) -> Result<Type> {
    if schema.release.is_none() {
        return Err(InputError::new("got an Arrow schema that was released, expected a live one"));
    }
    // SAFETY: the format of a live schema is null or a C string.
    let format = unsafe { text(schema.format, "format") }?
        .ok_or_else(|| InputError::new("got an Arrow schema without a format, expected a format string"))?;
    // SAFETY: the caller's promise.
    let children = unsafe { children(schema) }?;
    if !schema.dictionary.is_null() {
        // SAFETY: not null, and of a live schema.
        return unsafe { dictionary(schema, format, level) };
    }
    match format {
        "+s" if level == Level::Top => {
            // SAFETY: children of a live schema.
            let fields = children.iter().map(|&child| unsafe { field(child) });
            Ok(Type::Struct(fields.collect::<Result<_>>()?))
        }
        // SAFETY: children of a live schema.
        "+l" | "+L" if level <= Level::Column => unsafe { list(format == "+L", children) },
        _ if format.starts_with('+') => Ok(Type::Other(other_name(format))),
        _ if !children.is_empty() => {
            Err(InputError::new(format!("got Arrow format {format:?} with {} children, expected none", children.len())))
        }
        _ => leaf(format),
    }
}

fn leaf(format: &str) -> Result<Type> {
    Ok(match format {
        "n" => Type::Null,
        "b" => Type::Bool,
        "c" => Type::Int(IntType::I8),
        "C" => Type::Int(IntType::U8),
        "s" => Type::Int(IntType::I16),
        "S" => Type::Int(IntType::U16),
        "i" => Type::Int(IntType::I32),
        "I" => Type::Int(IntType::U32),
        "l" => Type::Int(IntType::I64),
        "L" => Type::Int(IntType::U64),
        "z" => Type::Bytes { text: false, form: Form::Small },
        "Z" => Type::Bytes { text: false, form: Form::Large },
        "vz" => Type::Bytes { text: false, form: Form::View },
        "u" => Type::Bytes { text: true, form: Form::Small },
        "U" => Type::Bytes { text: true, form: Form::Large },
        "vu" => Type::Bytes { text: true, form: Form::View },
        _ if format.starts_with("w:") => Type::Bytes { text: false, form: Form::Fixed(fixed_width(format)?) },
        "g" => Type::Float64,
        _ => timestamp(format).unwrap_or_else(|| Type::Other(other_name(format))),
    })
}

fn timestamp(format: &str) -> Option<Type> {
    let (unit, zone) = format.strip_prefix("ts")?.split_once(':')?;
    let unit = match unit {
        "s" => Unit::Second,
        "m" => Unit::Milli,
        "u" => Unit::Micro,
        "n" => Unit::Nano,
        _ => return None,
    };
    Some(Type::Timestamp(unit, if zone.is_empty() { Zone::Unsaid } else { Zone::Said }))
}

/// The name of a type that is not read, as `pyarrow` writes it.
fn other_name(format: &str) -> String {
    let name = match format {
        "e" => "halffloat",
        "f" => "float",
        "tdD" => "date32[day]",
        "tdm" => "date64[ms]",
        "tts" => "time32[s]",
        "ttm" => "time32[ms]",
        "ttu" => "time64[us]",
        "ttn" => "time64[ns]",
        "tDs" => "duration[s]",
        "tDm" => "duration[ms]",
        "tDu" => "duration[us]",
        "tDn" => "duration[ns]",
        "tiM" => "month_interval",
        "tiD" => "day_time_interval",
        "tin" => "month_day_nano_interval",
        "+s" => "struct",
        "+m" => "map",
        "+r" => "run_end_encoded",
        "+l" => "list",
        "+L" => "large_list",
        "+vl" => "list_view",
        "+vL" => "large_list_view",
        _ if format.starts_with("+w:") => "fixed_size_list",
        _ if format.starts_with("+ud:") => "dense_union",
        _ if format.starts_with("+us:") => "sparse_union",
        _ => return decimal(format).unwrap_or_else(|| format!("a type of format {:?}", shortened(format))),
    };
    name.to_owned()
}

/// `d:precision,scale`, and a width where it is not 128 bits.
fn decimal(format: &str) -> Option<String> {
    let mut parts = format.strip_prefix("d:")?.splitn(3, ',').map(|part| part.parse::<i32>().ok());
    let (precision, scale) = (parts.next()??, parts.next()??);
    let width = parts.next().unwrap_or(Some(128))?;
    Some(if width == 128 {
        format!("decimal({precision}, {scale})")
    } else {
        format!("decimal{width}({precision}, {scale})")
    })
}

fn fixed_width(format: &str) -> Result<usize> {
    let digits = &format[2..];
    let width = digits.parse::<i32>().ok().filter(|_| digits.bytes().all(|byte| byte.is_ascii_digit()));
    width.map(|width| width as usize).ok_or_else(|| {
        InputError::new(format!(
            "got Arrow format {:?}, expected w: and a width of at most 2147483647",
            shortened(format)
        ))
    })
}

unsafe fn dictionary(schema: &ArrowSchema, format: &str, level: Level) -> Result<Type> {
    // SAFETY: the caller saw that it is not null.
    let values = unsafe { reference(schema.dictionary, "dictionary") }?;
    if level == Level::Value {
        return Ok(Type::Other("a dictionary of dictionaries".to_owned()));
    }
    // SAFETY: the dictionary of a live schema.
    let values = unsafe { read(values, Level::Value) }?;
    match (leaf(format)?, values) {
        (Type::Int(index), values @ (Type::Bytes { .. } | Type::Null)) => Ok(Type::Dictionary(index, Box::new(values))),
        (Type::Int(_), values) => Ok(Type::Other(format!("a dictionary of {values}"))),
        (index, _) => Err(InputError::new(format!("got an Arrow dictionary indexed by {index}, expected an integer"))),
    }
}

unsafe fn list(large: bool, children: &[*mut ArrowSchema]) -> Result<Type> {
    let &[item] = children else {
        return Err(InputError::new(format!("got an Arrow list of {} children, expected one", children.len())));
    };
    // SAFETY: a child of a live schema, null or valid.
    let item = unsafe { read(reference(item, "child")?, Level::Item) }?;
    Ok(match item {
        Type::Bytes { .. } | Type::Dictionary(..) | Type::Null => Type::List { large, item: Box::new(item) },
        other => Type::Other(format!("a list of {other}")),
    })
}

unsafe fn field(child: *mut ArrowSchema) -> Result<Field> {
    // SAFETY: a child of a live schema, null or valid.
    let child = unsafe { reference(child, "child") }?;
    // SAFETY: the name of a live schema is null or a C string.
    let name = unsafe { text(child.name, "name") }?.unwrap_or_default().to_owned();
    // SAFETY: as above.
    let dtype =
        unsafe { read(child, Level::Column) }.map_err(|error| InputError::new(format!("column {name:?}: {error}")))?;
    Ok(Field { name, dtype })
}

unsafe fn children(schema: &ArrowSchema) -> Result<&[*mut ArrowSchema]> {
    let count = schema.n_children;
    if !(0..=MOST_CHILDREN).contains(&count) {
        return Err(InputError::new(format!("got an Arrow schema of {count} children, expected 0 to {MOST_CHILDREN}")));
    }
    if count == 0 {
        return Ok(&[]);
    }
    if schema.children.is_null() || !schema.children.is_aligned() {
        return Err(InputError::new(format!("got an Arrow schema of {count} children without a list of them")));
    }
    // SAFETY: not null, aligned, and as long as the producer says.
    Ok(unsafe { std::slice::from_raw_parts(schema.children, count as usize) })
}

unsafe fn reference<'a>(schema: *mut ArrowSchema, what: &str) -> Result<&'a ArrowSchema> {
    if schema.is_null() || !schema.is_aligned() {
        return Err(InputError::new(format!("got an Arrow schema whose {what} is a null or misaligned pointer")));
    }
    // SAFETY: not null, aligned, and a producer's live schema by the caller's promise.
    Ok(unsafe { &*schema })
}

unsafe fn text<'a>(pointer: *const c_char, what: &str) -> Result<Option<&'a str>> {
    if pointer.is_null() {
        return Ok(None);
    }
    // SAFETY: a C string of the producer's; no byte after its end is read.
    let length = (0..LONGEST_TEXT).find(|&at| unsafe { *pointer.add(at) } == 0);
    let length = length.ok_or_else(|| InputError::new(format!("got an Arrow {what} of over {LONGEST_TEXT} bytes")))?;
    // SAFETY: the bytes up to and with the first zero were just read.
    let bytes = unsafe { std::slice::from_raw_parts(pointer.cast::<u8>(), length + 1) };
    let text = CStr::from_bytes_until_nul(bytes).ok().and_then(|text| text.to_str().ok());
    text.map(Some).ok_or_else(|| InputError::new(format!("got an Arrow {what} that is not UTF-8")))
}

fn shortened(format: &str) -> String {
    format.chars().take(40).collect()
}
