//! Results column by column, which many threads fill in pieces.

/// Defines a struct of columns, each a `Vec` that begins as nothing but refusals, and the struct of slices that they are filled through.
macro_rules! columns {
    (
        $(#[$doc:meta])*
        pub struct $columns:ident / $slices:ident {
            $($(#[$field_doc:meta])* $field:ident: $type:ty = $initial:expr,)*
        }
    ) => {
        $(#[$doc])*
        #[derive(Debug)]
        pub struct $columns { $($(#[$field_doc])* pub $field: Vec<$type>,)* }

        impl $columns {
            /// Columns of `rows` rows that were not answered yet.
            #[must_use]
            pub fn new(rows: usize) -> Self {
                Self { $($field: vec![$initial; rows],)* }
            }

            fn slices(&mut self) -> $slices<'_> {
                $slices { $($field: &mut self.$field,)* }
            }
        }

        /// Consecutive rows of the columns.
        #[derive(Debug)]
        struct $slices<'a> { $($field: &'a mut [$type],)* }

        impl crate::work::Split for $slices<'_> {
            fn rows(&self) -> usize {
                let lengths = [$(self.$field.len(),)*];
                lengths[0]
            }

            fn split(self, at: usize) -> (Self, Self) {
                $(let $field = self.$field.split_at_mut(at);)*
                ($slices { $($field: $field.0,)* }, $slices { $($field: $field.1,)* })
            }
        }
    };
}

pub(crate) use columns;
