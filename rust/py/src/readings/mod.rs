//! Protected readings in bulk: opened and made, and where their keys come from.

mod keys;
mod open;
mod protect;
mod results;

pub use keys::{KeySource, ReadingKeys};
pub use open::open_readings;
pub use protect::protect_readings;
pub use results::{ReadingColumns, ReadingDevices, reading_names};
