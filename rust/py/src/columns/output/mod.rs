//! Out: [`Out`] is a column, [`OutTable`] a table; [`Column`] and the classes of `result_class!` hand them to Python and, as Arrow
//! capsules, to any engine.

mod column;
mod export;
pub mod kinds;
pub mod results;
pub mod state;
mod table;
mod wanted;

pub use column::{ByteRows, Column};
pub use export::Exported;
pub(crate) use results::result_class;
pub use results::{NamedResults, SessionResults, SignatureResults, TokenResults};
pub use table::{Out, OutTable, Valid};
pub use wanted::{Wanted, there};
