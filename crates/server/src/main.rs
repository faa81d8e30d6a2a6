//! The program `tertulia`: all of it is in the library beside it, where fuzzing finds it, too.

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> std::process::ExitCode {
    tertulia_server::run()
}
