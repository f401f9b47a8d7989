//! `windows`: sizes of tables, with the kernels that `ITRON_CORE_KERNELS` allows.

fn main() {
    itron_core_peers::windows::print();
}
