"""A second reading of the pages: slow, plain, and without a line of the Rust core."""
