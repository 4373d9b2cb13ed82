//! Options of a page as the runtime takes them.

use kinestream_command_line::PageArguments;
use kinestream_runtime::page::PageOptions;

pub(super) fn page_options(arguments: &PageArguments) -> PageOptions {
    PageOptions {
        host: arguments.host,
        port: arguments.port,
        token_file: arguments.token_file.clone(),
    }
}
