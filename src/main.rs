//! The program. Everything is in the library, so that tests reach it.

use std::process::ExitCode;

/// Many small states that come and go on several threads: it fragments less than the system's, and is faster.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    adal::cli::run()
}
